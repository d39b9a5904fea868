"""Unit tests of rule files (`remediator test`): read them, play them in a scenario, and compare."""

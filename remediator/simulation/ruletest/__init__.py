"""Unit tests of rule files (`remediator test`): reading them, playing them, and comparing what came of it."""

"""`remediator check`: the command, what Prometheus and promtool say of the rules, and the formats of its report."""

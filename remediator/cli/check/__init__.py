"""`remediator check`: the command, its questions to Prometheus and promtool, and the formats of its report."""

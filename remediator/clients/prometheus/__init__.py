"""The Prometheus client: `client` asks queries, `session` and `transport` send them, `answer` decodes the responses."""

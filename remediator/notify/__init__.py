"""Tells the outside what the journal says (log, metrics, Grafana), and keeps pages and silences in Alertmanager true."""

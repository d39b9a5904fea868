"""One class per external system (Prometheus, Alertmanager, Grafana): a request within its time, or a named reason why not.

Clients know no rules and no incidents.
"""

"""The demo: real Prometheus, real Alertmanager, seven small services of its own, and the faults that break them.

`service` is one replica, a process that serves metrics; `fleet` holds the processes of all services; `control` is the
command that rules use to restart, scale and roll them back, and `switchboard` the end that obeys it; `neighbours`
starts Prometheus, Alertmanager and remediator; `faults` is the script of what breaks; `show` runs it and follows
remediator's API; `screen` is what people see. Nothing but the command line imports it.
"""

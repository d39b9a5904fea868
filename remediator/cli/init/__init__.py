"""`remediator init`: a first config and rule file from what a running Prometheus and Alertmanager already know.

One direction: `conventions` is a table of what widely used metrics mean. `questions` makes expressions of it for the
metrics that are there. `survey` asks Prometheus and Alertmanager, and returns `findings`. `inventory` makes services of
what was seen. `draft` writes them as YAML, with comments that say where each thing came from. Only `survey` talks to
anybody, and only `command` writes files. The drafted rules observe: a person reads them before anything is run.
"""

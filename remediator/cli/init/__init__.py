"""`remediator init`: drafts a config and a rule file from what a running Prometheus and Alertmanager know.

`conventions` is a table of what widely used metrics mean. `questions` makes expressions of it for the metrics that
exist. `survey` asks Prometheus and Alertmanager, and returns a `survey_result`. `inventory` makes services of the
series. `draft` writes them as YAML, with comments that name their sources. `alertmanager_route` reads and extends
Alertmanager's route. Only `survey` sends requests, and only `command` writes files.
The drafted rules only observe: a person reads them before anything runs.
"""

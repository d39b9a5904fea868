"""The demo: real Prometheus, real Alertmanager, seven small services of its own, and the faults that break them.

`service` is one replica, a process that serves metrics. `processes` manages the processes of all services.
`control_client` is the command that rules run to restart, scale and roll back; `control_server` executes it.
`servers` starts Prometheus, Alertmanager and remediator. `faults` lists what breaks and when. `director` injects the
faults, follows remediator's API and approves. `screen` prints what happens. Only the command line imports the demo.

The rules are `web.yml` of the rule library, and rules of the demo's own for cases that the library has no rule for.
`pace` shortens the times of both. files/web.yml is a link to the library's file; in a wheel it is a file.
"""

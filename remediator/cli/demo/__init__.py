"""The demo: real Prometheus, real Alertmanager, seven small services of its own, and the faults that break them.

`service` is one replica, a process that serves metrics; `fleet` holds the processes of all services; `control` is the
command that rules use to restart, scale and roll them back, and `switchboard` the end that obeys it; `neighbours`
starts Prometheus, Alertmanager and remediator; `faults` is the script of what breaks; `show` runs it, follows
remediator's API and approves what asks; `screen` is what people see. Nothing but the command line imports it.

The rules are `web.yml` of the rule library, and the demo's own for what that has nothing for; `pace` shortens the times
of both. files/web.yml is a link to the library's, and a file in a wheel.
"""

"""Prometheus-driven alert remediator: judges services by PromQL and heals them by rule.

The packages, from the top down. Each imports only those below it; packages on one line do not know each other. The
docstring of each says what may live there, and ARCHITECTURE.md follows one alert through them.

    cli                        the commands
    app, runtime, replica      the daemon: what it is made of, reloads, and the part that leads or follows
    simulation                 the same engine on virtual time: rule tests and backtests
    web | notify               HTTP in | announcements and pages out
    engine                     the loops: evaluate, take alerts in, decide, write, start steps
    store                      what is remembered, and which process leads
    decision | actions | rules what to do, purely | running it | rule files and PromQL text
    config                     from YAML text to checked values
    clients                    Prometheus, Alertmanager, Grafana
    model                      immutable data that every package speaks of
    template                   text with untrusted values

`watched_files` finds changed files, `metrics` holds remediator's own, and `problem` and `errors` what is said of faults.
"""

__version__ = "0.1.0"

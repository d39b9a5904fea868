"""The real engine on virtual time: rule tests and backtests.

Nothing here decides anything. A simulation runs the daemon's own store, evaluator, gates and engine in other
surroundings: the event loop makes time (`virtual_loop`), Prometheus and the commands are a script (`scripted`), and the
store is in memory. `process` puts remediator together; `scenario` tells its stories: values over time, alerts,
operators, crashes. There are no threads, no sleeps and no chance: the same story ends with the same journal.

`ruletest` runs the tests of rule files, `backtest` replays what Prometheus remembers.
"""

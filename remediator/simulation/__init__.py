"""Rehearsal: the real store, evaluator, gates and engine in a world of its own, where time costs nothing.

Nothing here decides anything. A rehearsal gives the parts that `app` gives the daemon other neighbours: the event loop's
time leaps from one thing to the next (`loop`), Prometheus and the hands are a script (`stage`), the store is in memory.
So what is seen here is what would happen. `process` puts remediator together, in that one place; `world` is what stories
are told with: values over time, alerts, operators, crashes. No threads, no sleeping, no chance: the same story has the
same end, to the last entry of the journal.

`ruletest` plays the tests of rule files that `testfile` reads.
"""

"""A process to be killed: it writes to the store from many tasks, and prints each number once it is acknowledged.

Usage: acknowledging.py DATABASE FIRST. Lines are `alert N` (a batch of three alerts of that number), `incident ID` and
`run ID`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys

from store.makers import T0, make_alert, new_incident, settlement

from remediator.model.incident import Disposition
from remediator.store.sql_store import SqlStore
from remediator.store.sqlite import open_sqlite


def acknowledge(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def work(store: SqlStore, numbers: itertools.count[int]) -> None:
    for number in numbers:
        alerts = [make_alert(f"s{number}", part=part) for part in "abc"]
        await store.put_alerts(alerts, T0)
        acknowledge(f"alert {number}")
        opened = await store.open_incident(
            new_incident(f"s{number}"), [settlement(one, Disposition.JOINED) for one in alerts]
        )
        acknowledge(f"incident {opened.id}")
        run = await store.begin_step(opened.id, 0, 1, "restart", "runs restart", "", T0, T0 + 1)
        acknowledge(f"run {run.id}")


async def main(database: str, first: int) -> None:
    store = await open_sqlite(database)
    # One counter for all tasks.
    numbers = itertools.count(first)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(work(store, numbers))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))

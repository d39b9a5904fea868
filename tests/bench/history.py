"""Benchmark of a year of history at 1,000 incidents a day beside a single day of it, in the same run.

    .venv/bin/python tests/bench/history.py [--days 365]

Prints the size of the file, and what the queries of the pages and of the engine take on both.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

# In place of this folder, whose store.py would be taken for the package.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from store.makers import SUCCEEDED, T0, make_alert, new_incident, settlement

from remediator.model.health import Health
from remediator.model.incident import Disposition, Verdict
from remediator.store.interface import Store
from remediator.store.sqlite import open_sqlite

A_DAY = 1000
SERVICES = 200
TABLES = ("alerts", "incidents", "step_runs", "journal")


async def one_day(path: str) -> None:
    """A day of incidents, as the engine writes them."""
    store = await open_sqlite(path)
    for n in range(A_DAY):
        at, service = T0 + n * 86.0, f"s{n % SERVICES}"
        alert = make_alert(service, starts_at=at)
        await store.put_alerts([alert], at)
        opened = await store.open_incident(new_incident(service, at=at), [settlement(alert, Disposition.OPENED)])
        for step in range(2):
            run = await store.begin_step(opened.id, step, 1, "restart", "runs restart", "restart", at, at + 60)
            await store.end_step(run.id, SUCCEEDED, at + 5)
        await store.close_incident(opened.id, Verdict.RECOVERED, "recovered", Health.HEALTHY, at + 60)
        over = make_alert(service, starts_at=at, ends_at=at + 60)
        await store.put_alerts([over], at + 60)
    await store.close()


def multiply(path: str, days: int) -> None:
    """Copy the first day to each further one, with the times and numbers of that day."""
    db = sqlite3.connect(path)
    columns = {table: [str(row[1]) for row in db.execute(f"PRAGMA table_info({table})")] for table in TABLES}
    last = {table: db.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] for table in TABLES}
    numbers = {
        "alerts": {"seq": "alerts", "incident": "incidents"},
        "incidents": {"id": "incidents"},
        "step_runs": {"id": "step_runs", "incident": "incidents"},
        "journal": {"id": "journal", "incident": "incidents", "run": "step_runs"},
    }
    for day in range(1, days):
        for table in TABLES:
            changed = []
            for column in columns[table]:
                if column in numbers[table]:
                    changed.append(f"{column} + {day * last[numbers[table][column]]}")
                elif column == "key":
                    changed.append(f"key || {day}")
                elif column == "at" or column.endswith("_at") or column == "deadline":
                    changed.append(f"{column} + {day * 86400.0}")
                else:
                    changed.append(column)
            db.execute(f"INSERT INTO {table} SELECT {', '.join(changed)} FROM {table} WHERE rowid <= ?", (last[table],))
    db.execute("UPDATE counters SET value = (SELECT max(seq) FROM alerts)")
    db.commit()
    db.close()


async def measured(path: str, end: float) -> dict[str, float]:
    """Milliseconds of each query, the median of several."""
    store: Store = await open_sqlite(path)
    newest = (await store.incidents(limit=1))[0].id
    queries: dict[str, Callable[[], Awaitable[object]]] = {
        "the newest incidents": lambda: store.incidents(limit=50),
        "a page in the middle": lambda: store.incidents(before=newest // 2, limit=50),
        "incidents of one service": lambda: store.incidents(service="s7", limit=50),
        "open incidents": store.open_incidents,
        "alerts of one service": lambda: store.alerts(service="s7", limit=50),
        "the newest of the journal": lambda: store.recent_journal(limit=50),
        "the journal of one service": lambda: store.recent_journal(service="s7", limit=50),
        "the journal of one incident": lambda: store.journal(incident=newest // 2),
        "runs of the last day": lambda: store.runs_since(end - 86400.0),
        "alerts changed lately": lambda: store.alerts_since(newest * 2 - 10),
        "the summary of everything": store.summary,
    }
    found = {}
    for name, query in queries.items():
        times = []
        for _ in range(15):
            began = time.perf_counter()
            await query()
            times.append((time.perf_counter() - began) * 1000)
        found[name] = statistics.median(times)
    await store.close()
    return found


async def main(days: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        day, year = f"{folder}/day.db", f"{folder}/year.db"
        for path in (day, year):
            await one_day(path)
        multiply(year, days)
        table = Table("query", "a day", f"{days} days", "ratio")
        short, long = await measured(day, T0 + 86400.0), await measured(year, T0 + days * 86400.0)
        for name, took in short.items():
            table.add_row(name, f"{took:.2f} ms", f"{long[name]:.2f} ms", f"{long[name] / took:.1f}x")
        sizes = [os.path.getsize(path) / 1e6 for path in (day, year)]
        table.add_row("size of the file", f"{sizes[0]:.0f} MB", f"{sizes[1]:.0f} MB", f"{sizes[1] / sizes[0]:.0f}x")
        Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=365)
    asyncio.run(main(parser.parse_args().days))

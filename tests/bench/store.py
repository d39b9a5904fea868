"""What the store costs, beside the bare cost of the same machine in the same run.

    python tests/bench/store.py [--no-gc] [FOLDER]

The database is made in FOLDER (a temporary one unless given), so name one on the disk that matters. `loop stall` is the
longest time for which the event loop did not come round while the store worked. Python's garbage collection is a good
part of it: `--no-gc` shows how much.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from remediator.model.action import Outcome, Result
from remediator.model.alert import Alert
from remediator.model.health import Health
from remediator.model.incident import Disposition, Settlement, Verdict
from remediator.model.rules import Limits, Plan, Rate, Runbook, Service, Step, Target, TargetRef
from remediator.store.interface import NewIncident
from remediator.store.sql_store import SqlStore
from remediator.store.sqlite import open_database, open_sqlite

SIZE = 10_000
NOW = 1_763_942_400.25
RUNBOOK = Runbook(
    "web",
    (Step("restart", "restart"), Step("scale", "scale", args={"by": 1, "max": 6}), Step("rollback", "rollback")),
    limits=Limits(600.0, (Rate(3, 3600.0), Rate(7, 86400.0))),
)
TARGET = Target("systemd", {"unit": "{{ service.name }}.service"})
ALERTS = [
    Alert(
        f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}",
        NOW + n / 7,
        None,
        {"alertname": "ErrorRatioHigh", "service": f"svc-{n}", "severity": "critical", "instance": f"10.0.0.1:{n}"},
        {"summary": "the ratio of errors is above a tenth", "runbook_url": "https://runbooks.example/errors"},
    )
    for n in range(SIZE)
]


def new_incident(n: int, part: str = "") -> NewIncident:
    name = f"svc-{n}{part}"
    service = Service(name, {"service": name, "tier": "web"}, target=TargetRef("systemd", {"unit": name}))
    alert = ALERTS[n % SIZE]
    plan = Plan(service, RUNBOOK, TARGET)
    return NewIncident(
        name, "web", NOW, Health.FAILED, "0.2 > 0.1 for 15s", plan, alert.labels, alert.annotations, thresholds=("e",)
    )


class Stall:
    """Watches how long the event loop is away at most."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.worst, self._last = 0.0, time.perf_counter()

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[None]:
        watcher = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        self.restart()
        yield
        watcher.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.worst, self._last = max(self.worst, now - self._last - 0.001), now


async def timed(work: Awaitable[object]) -> float:
    start = time.perf_counter()
    await work
    return time.perf_counter() - start


def per_call_commits(folder: str, calls: int) -> list[float]:
    """The bare cost: one row and one commit by each call, from the one thread."""
    connection = open_database(os.path.join(folder, "bare.db"))
    took = []
    for n in range(calls):
        start = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO cursors (name, entry) VALUES (?, ?)", (f"bare {n}", n))
        connection.execute("COMMIT")
        took.append(time.perf_counter() - start)
    connection.close()
    return took


def flushes(folder: str, calls: int) -> list[float]:
    """The cost beneath: 4 KiB appended to a file and flushed to the disk."""
    took = []
    with open(os.path.join(folder, "flush"), "wb", buffering=0) as file:
        for _ in range(calls):
            start = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - start)
    return took


async def heal(store: SqlStore, n: int, part: str) -> None:
    """The six writes of one incident."""
    opened = await store.open_incident(new_incident(n, part))
    for attempt in (1, 2):
        run = await store.begin_step(opened.id, 0, attempt, "restart", "runs restart", "systemctl", NOW, NOW + 90)
        await store.end_step(run.id, Result(Outcome.SUCCEEDED, "restart succeeded", 0, "done"), NOW + 1)
    await store.close_incident(opened.id, Verdict.RECOVERED, "recovered", Health.HEALTHY, NOW + 60)


async def heals_by(store: SqlStore, callers: int, count: int, heal_one: Callable[[int, str], Awaitable[None]]) -> float:
    """Incidents a second from open to close, by so many callers at once."""
    numbers = itertools.count()

    async def caller() -> None:
        while (n := next(numbers)) < count:
            await heal_one(n, f"-{callers}")

    return count / await timed(asyncio.gather(*(caller() for _ in range(callers))))


T = TypeVar("T")


class PerCall:
    """The same writes, each committed by itself in the same thread: what group commit is compared with."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._turn = asyncio.Lock()

    async def heal(self, n: int, part: str) -> None:
        opened = await self._alone(self._store.open_incident(new_incident(n, part)))
        for attempt in (1, 2):
            run = await self._alone(
                self._store.begin_step(opened.id, 0, attempt, "restart", "runs restart", "systemctl", NOW, NOW + 90)
            )
            result = Result(Outcome.SUCCEEDED, "restart succeeded", 0, "done")
            await self._alone(self._store.end_step(run.id, result, NOW + 1))
        await self._alone(
            self._store.close_incident(opened.id, Verdict.RECOVERED, "recovered", Health.HEALTHY, NOW + 60)
        )

    async def _alone(self, write: Awaitable[T]) -> T:
        # With one write in the store at a time, each has a commit of its own.
        async with self._turn:
            return await write


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


async def measure(folder: str) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    stall = Stall()
    flush, bare = statistics.median(flushes(folder, 500)), statistics.median(per_call_commits(folder, 500))
    rows.append(("flush of 4 KiB to the disk, median", milliseconds(flush), "bare"))
    rows.append(("one bare row and commit, median", milliseconds(bare), "bare"))

    store = await open_sqlite(os.path.join(folder, "remediator.db"))
    put = 0.0
    async with stall.watch():
        for start in range(0, SIZE, 1000):
            put += await timed(store.put_alerts(ALERTS[start : start + 1000], NOW))
    rows.append((f"{SIZE} alerts in 10 calls", f"{put:.3f} s", f"loop stall {milliseconds(stall.worst)}"))

    incidents = [new_incident(n) for n in range(SIZE)]
    settlements = [[Settlement(alert.key, Disposition.OPENED, "opened", alert.labels["service"])] for alert in ALERTS]
    opens = [store.open_incident(*pair) for pair in zip(incidents, settlements, strict=True)]
    async with stall.watch():
        start_time = time.perf_counter()
        tasks = [asyncio.ensure_future(one) for one in opens]
        await asyncio.sleep(0)
        submitted = time.perf_counter() - start_time
        stall.restart()
        await asyncio.gather(*tasks)
        opened = time.perf_counter() - start_time
    rows.append(
        (
            f"{SIZE} open_incident at once",
            f"{opened:.3f} s",
            f"{milliseconds(submitted)} to create the tasks, then loop stall {milliseconds(stall.worst)}",
        )
    )
    rows.append(("both together", f"{put + opened:.3f} s", ""))

    for name, read in (
        ("read 10000 open incidents", store.open_incidents),
        ("read 10000 firing alerts", store.firing_alerts),
    ):
        async with stall.watch():
            took = await timed(read())
        rows.append((name, f"{took:.3f} s", f"loop stall {milliseconds(stall.worst)}"))

    lone = [await timed(store.put_alerts(ALERTS[n : n + 1], NOW)) for n in range(500)]
    alone = statistics.median(lone)
    rows.append(("a lone put_alerts, median", milliseconds(alone), f"{milliseconds(alone - flush)} beyond the flush"))
    reads = [await timed(store.journal_end()) for _ in range(500)]
    rows.append(("a lone read, median", milliseconds(statistics.median(reads)), ""))

    per_call = PerCall(store)
    for callers, count in ((1, 200), (16, 800), (64, 1600)):
        grouped = await heals_by(store, callers, count, lambda n, part: heal(store, n, f"{part}-group"))
        single = await heals_by(store, callers, count // 4, lambda n, part: per_call.heal(n, f"{part}-single"))
        rows.append(
            (
                f"incidents of six writes, {callers} callers",
                f"{grouped:,.0f}/s",
                f"with a commit per call {single:,.0f}/s: {grouped / single:.1f} times",
            )
        )
    await store.close()
    return rows


def show(rows: Sequence[tuple[str, str, str]]) -> None:
    table = Table("what", "measured", "beside it", title=f"The store on SQLite {sqlite3.sqlite_version}")
    table.columns[1].justify = "right"
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measures the store beside the bare cost of what it does.")
    arguments.add_argument("folder", nargs="?", help="where the database is made")
    arguments.add_argument("--no-gc", action="store_true", help="without Python's garbage collection")
    given = arguments.parse_args()
    if given.no_gc:
        gc.disable()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        show(asyncio.run(measure(folder)))


if __name__ == "__main__":
    main()

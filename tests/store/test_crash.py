"""kill -9 in the middle of commits: what was acknowledged is there, and what is there is whole."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from pathlib import Path

import pytest
from store.makers import T0

from remediator.model.incident import Disposition
from remediator.store.sqlite import open_sqlite

CHILD = Path(__file__).with_name("acknowledging.py")


async def run_until_killed(database: str, first: int, lines: int) -> list[tuple[str, int]]:
    """What a child acknowledged before it was killed, after about so many lines."""
    environment = {**os.environ, "PYTHONPATH": str(CHILD.parent.parent)}
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(CHILD), database, str(first), stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert child.stdout is not None
    seen = [await child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    seen += (await child.stdout.read()).splitlines(keepends=True)
    assert await child.wait() == -signal.SIGKILL
    # A write of a line this short to a pipe is whole or not there at all.
    return [(what, int(number)) for what, number in (line.decode().split() for line in seen)]


@pytest.mark.parametrize("seed", range(3))
async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, seed: int) -> None:
    database = str(tmp_path / "remediator.db")
    kills = random.Random(seed)
    acknowledged: dict[str, set[int]] = {"alert": set(), "incident": set(), "run": set()}
    for round_number in range(4):
        # Each round has services of its own, as the incidents of the last are still open.
        for what, number in await run_until_killed(database, round_number * 1_000_000, kills.randint(1, 400)):
            acknowledged[what].add(number)

        store = await open_sqlite(database)
        alerts = await store.alerts_since(0, limit=1_000_000)
        incidents = await store.open_incidents()
        runs = await store.runs_since(T0)
        entries = await store.journal(limit=1_000_000)
        await store.close()

        of_service: dict[int, int] = {}
        for stored in alerts:
            number = int(stored.alert.labels["service"].removeprefix("s"))
            of_service[number] = of_service.get(number, 0) + 1
        assert acknowledged["alert"] <= set(of_service)
        assert acknowledged["incident"] <= {incident.id for incident in incidents}
        assert acknowledged["run"] <= {run.id for run in runs}

        assert set(of_service.values()) == {3}
        assert len(entries) == len(incidents) + len(runs)
        joined = [stored.incident for stored in alerts if stored.disposition is Disposition.JOINED]
        assert sorted(joined) == sorted(3 * [incident.id for incident in incidents])
        connection = sqlite3.connect(database)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()

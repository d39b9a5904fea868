"""The receiver's worst day, on the real daemon: everything at once, and the engine goes on healing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from real.prometheus import Exposition, RealPrometheus, in_thread, until
from real.remediator import RealRemediator

RULES = """
services:
  - name: shop
    target: {{command: {{restart: [sh, -c, 'echo restart >> {folder}/ran']}}}}
thresholds:
  - {{name: error_ratio, expr: shop_error_ratio, failed: '> 0.10'}}
runbooks:
  - {{name: shop, steps: [restart], verify: {{healthy_for: 1s, within: 10m}}}}
"""
HANGS = 600.0
"""Seconds after which it hangs: what it is given here takes a busy machine minutes."""
MOST_MEMORY = 400 * 1024 * 1024
"""Bytes that the daemon may have taken at its worst: it takes 100 MB at rest."""


@contextlib.asynccontextmanager
async def daemon(tmp_path: Path) -> AsyncIterator[tuple[RealRemediator, Exposition, aiohttp.ClientSession]]:
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        Exposition('shop_error_ratio{service="shop"} 0') as shop,
        RealPrometheus(tmp_path, targets=[shop.address]) as prometheus,
        RealRemediator(tmp_path / "remediator", prometheus=prometheus.url, rules=RULES.format(folder=tmp_path)) as real,
        aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(600)) as session,
    ):
        await until(in_thread(lambda: prometheus.query("shop_error_ratio")))
        yield real, shop, session


def group(names: list[str], *, resolved: bool = False) -> dict[str, Any]:
    """A notification of these alerts, every other of which is over where some are."""
    alerts = [
        {
            "status": "resolved" if resolved and number % 2 else "firing",
            "labels": {"alertname": "Down", "instance": name},
            "annotations": {"summary": f"{name} is down"},
            "startsAt": "2026-11-25T10:00:00Z",
            "endsAt": "2026-11-25T10:05:00Z" if resolved and number % 2 else "0001-01-01T00:00:00Z",
        }
        for number, name in enumerate(names)
    ]
    return {"version": "4", "status": "firing", "groupKey": "{}", "truncatedAlerts": 3, "alerts": alerts}


async def post(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> int:
    """Post as Alertmanager does: again after a while when it was not taken. How often it was refused."""
    for refused in itertools.count():
        async with session.post(url, json=body) as response:
            if response.status == 200:
                return refused
            assert response.status == 503, await response.text()
        await asyncio.sleep(0.5)
    raise AssertionError


async def slow(port: int) -> asyncio.StreamWriter:
    """A client that sends the beginning of a body, and no more."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b'POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{"alerts": [')
    await writer.drain()
    return writer


async def test_everything_at_once_is_taken_in_and_the_engine_goes_on(tmp_path: Path) -> None:
    async with daemon(tmp_path) as (remediator, shop, session), contextlib.AsyncExitStack() as stack:
        rng = random.Random(4)
        for _ in range(100):
            stack.callback((await slow(remediator.port)).close)
        for _ in range(50):
            (await slow(remediator.port)).close()
        names = [f"i{number}" for number in range(10_000)]
        groups = [group(names[at : at + 50], resolved=at % 100 == 0) for at in range(0, len(names), 50)]
        assert len(groups) == 200
        # Both of an HA pair tell of everything, in an order of their own, and some of it again.
        storm = [*groups, *rng.sample(groups, len(groups)), *rng.sample(groups, 50)]
        tasks = [asyncio.create_task(post(session, remediator.webhook, body)) for body in storm]
        shop.text = 'shop_error_ratio{service="shop"} 0.5'
        await until((tmp_path / "ran").exists, within=HANGS)
        shop.text = 'shop_error_ratio{service="shop"} 0'
        await asyncio.gather(*tasks)
        (incident,) = await until(in_thread(remediator.closed), within=HANGS)
        assert incident["verdict"] == "recovered"
        assert (tmp_path / "ran").read_text() == "restart\n"
        async with session.get(f"{remediator.url}/-/ready") as response:
            assert response.status == 200
        assert worst_memory(remediator) < MOST_MEMORY
    assert stored(remediator) == {name: int(not (at // 50 % 2 == 0 and at % 2)) for at, name in enumerate(names)}


async def test_what_cannot_be_stored_now_is_refused_and_taken_in_when_it_can(tmp_path: Path) -> None:
    async with daemon(tmp_path) as (remediator, _, session):
        other = sqlite3.connect(remediator.folder / "remediator.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        bodies = [group([f"g{number}-{n}" for n in range(1000)]) for number in range(60)]
        tasks = [asyncio.create_task(post(session, remediator.webhook, body)) for body in bodies]
        # More than may wait: what is beyond is told so at once, and nothing is told that it was stored.
        await until(
            lambda: "too much is waiting" in remediator.log or "bytes of notifications are in hand" in remediator.log,
            within=HANGS,
        )
        assert not any(task.done() for task in tasks)
        other.execute("ROLLBACK")
        other.close()
        refused = await asyncio.gather(*tasks)
        assert sum(refused) > 0
        assert worst_memory(remediator) < MOST_MEMORY
    assert len(stored(remediator)) == 60_000


def worst_memory(remediator: RealRemediator) -> int:
    """The most bytes of memory the daemon has had."""
    assert remediator.process is not None
    status = Path(f"/proc/{remediator.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def stored(remediator: RealRemediator) -> dict[str, int]:
    """Which alerts are stored, by instance, and whether they fire."""
    db = sqlite3.connect(remediator.folder / "remediator.db")
    try:
        question = "SELECT json_extract(alert, '$.labels.instance'), firing FROM alerts WHERE json_extract(alert, '$.labels.alertname') = 'Down'"
        return dict(db.execute(question))
    finally:
        db.close()

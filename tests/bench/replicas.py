"""Benchmark of PostgreSQL with leader election beside SQLite, in the same run: the webhook's latency, and taking over.

    .venv/bin/python tests/bench/replicas.py [--rounds 400]

Two daemons share a PostgreSQL that flushes to the disk, a third has an SQLite file; each notification goes to all in turn.
Then the leader is killed, and later told to end, and the time is taken until another says that it leads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from real.postgresql import RealPostgresql
from real.remediator import RealRemediator

TTL = 15.0
RULES = "services: [{name: shop}]\n"


def notification(number: int) -> bytes:
    alert = {
        "status": "firing",
        "labels": {"alertname": f"Bench{number}", "instance": "x"},
        "annotations": {},
        "startsAt": "2026-11-25T10:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
    }
    return json.dumps({"version": "4", "status": "firing", "groupKey": "g", "alerts": [alert]}).encode()


async def latencies(daemons: dict[str, RealRemediator], rounds: int, at_once: int) -> dict[str, list[float]]:
    """Milliseconds until a notification was answered, so many to each daemon at once, one daemon after the other."""
    found: dict[str, list[float]] = {name: [] for name in daemons}
    async with aiohttp.ClientSession() as session:

        async def one(name: str, number: int) -> None:
            began = time.perf_counter()
            async with session.post(daemons[name].webhook, data=notification(number)) as response:
                assert response.status == 200, await response.text()
            found[name].append((time.perf_counter() - began) * 1000)

        for number in range(rounds):
            for name in daemons:
                await asyncio.gather(*(one(name, at_once * 1_000_000 + number * at_once + n) for n in range(at_once)))
    return found


async def taken_over(other: RealRemediator, began: float) -> float:
    """Seconds until this one says that it leads."""
    while True:
        health = await asyncio.to_thread(other.request, "/api/v1/health")
        if health["leads"]:
            return time.perf_counter() - began
        await asyncio.sleep(0.01)


async def main(rounds: int) -> None:
    table = Table("what", "SQLite", "PostgreSQL, leader", "PostgreSQL, follower", "ratios")
    with tempfile.TemporaryDirectory() as name, RealPostgresql(durable=True) as server:
        folder, url = Path(name), server.create("heal")
        stores = {
            "sqlite": {"url": "sqlite:///remediator.db"},
            "leader": {"url": url, "lease_ttl": f"{TTL:g}s"},
            "follower": {"url": url, "lease_ttl": f"{TTL:g}s"},
        }
        daemons = {
            name: RealRemediator(
                folder / name, prometheus="http://127.0.0.1:9", rules=RULES, config={"storage": storage}
            )
            for name, storage in stores.items()
        }
        try:
            for daemon in daemons.values():
                await asyncio.to_thread(daemon.start)
            for at_once in (1, 16):
                await latencies(daemons, 20, at_once)
                measured = await latencies(daemons, rounds // at_once, at_once)
                for what, figure in (("median", statistics.median), ("99th percentile", hundredth)):
                    figures = {name: figure(times) for name, times in measured.items()}
                    ratios = [figures[name] / figures["sqlite"] for name in ("leader", "follower")]
                    table.add_row(
                        f"webhook, {at_once} at once, {what}",
                        *(f"{value:.2f} ms" for value in figures.values()),
                        " and ".join(f"{ratio:.1f}x" for ratio in ratios),
                    )
            leader, follower = daemons["leader"], daemons["follower"]
            assert leader.process is not None
            await asyncio.to_thread(leader.kill)
            killed = await taken_over(follower, time.perf_counter())
            await asyncio.to_thread(leader.start)
            assert follower.process is not None
            follower.process.terminate()
            ended = await taken_over(leader, time.perf_counter())
            table.add_row(f"taken over after kill -9 (lease of {TTL:g} s)", "", "", f"{killed:.1f} s", "")
            table.add_row("taken over after SIGTERM", "", "", f"{ended:.2f} s", "")
        finally:
            for daemon in daemons.values():
                daemon.kill()
    Console().print(table)


def hundredth(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=400)
    asyncio.run(main(parser.parse_args().rounds))

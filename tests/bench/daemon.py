"""Benchmark of the whole daemon beside the bare cost of the same work, measured in the same run.

    .venv/bin/python tests/bench/daemon.py

Prints a table: alert to command, the receiver's rate, 10,000 alerts of 10,000 services, memory and start.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from real.prometheus import Exposition, RealPrometheus, free_port
from real.remediator import RealRemediator

ROUNDS = 30
MANY = 10_000


def notification(*alerts: tuple[str, str, float]) -> bytes:
    """A webhook body of firing alerts: (alertname, service, starts_at)."""
    listed = [
        {
            "status": "firing",
            "labels": {"alertname": name, "service": service, "severity": "critical"},
            "annotations": {},
            "startsAt": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06d}Z",
            "endsAt": "0001-01-01T00:00:00Z",
        }
        for name, service, at in alerts
    ]
    return json.dumps({"version": "4", "status": "firing", "alerts": listed, "groupKey": "g"}).encode()


class Witness:
    """A FIFO that commands write to with their first instruction."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "witness"
        self.seen: asyncio.Queue[float] = asyncio.Queue()

    async def start(self) -> None:
        import os

        os.mkfifo(self.path)
        descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

        def readable() -> None:
            for _ in os.read(descriptor, 4096).split():
                self.seen.put_nowait(time.perf_counter())

        asyncio.get_running_loop().add_reader(descriptor, readable)


@contextlib.asynccontextmanager
async def bare(folder: Path, witness: Witness, *, spawn: bool) -> AsyncIterator[str]:
    """A bare aiohttp handler: a commit per request, and for `spawn` a second one and a process."""
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE IF NOT EXISTS rows (body TEXT)")
    command = ["sh", "-c", f"echo x > {witness.path}"]

    async def handle(request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        db.execute("INSERT INTO rows VALUES (?)", (json.dumps(body),))
        if spawn:
            db.execute("INSERT INTO rows VALUES ('step')")
            process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
            tasks.add(asyncio.ensure_future(process.wait()))
        return web.json_response({})

    tasks: set[asyncio.Future[Any]] = set()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/webhook", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/webhook"
    finally:
        await asyncio.gather(*tasks)
        await runner.cleanup()
        db.close()


async def latencies(
    url: str, witness: Witness, services: list[str], breaks: Callable[[str], Awaitable[None]] | None = None
) -> list[float]:
    """Milliseconds from POST to the command's first instruction, one after another; `breaks` makes each bad first."""
    found = []
    async with aiohttp.ClientSession() as session:
        for service in services:
            if breaks is not None:
                await breaks(service)
            body = notification(("Bench", service, time.time()))
            began = time.perf_counter()
            async with session.post(url, data=body) as response:
                await response.read()
            async with asyncio.timeout(20):
                found.append(((await witness.seen.get()) - began) * 1000)
            await asyncio.sleep(0.02)
    return found


async def rate(url: str, connections: int = 32, each: int = 100) -> float:
    """Requests per second of one alert each, over so many connections."""

    async def client(number: int) -> None:
        for count in range(each):
            body = notification((f"Rate{number}x{count}", "nobody", time.time()))
            async with session.post(url, data=body) as response:
                assert response.status == 200, response.status
                await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
        began = time.perf_counter()
        await asyncio.gather(*(client(number) for number in range(connections)))
        return connections * each / (time.perf_counter() - began)


def rules(names: list[str], witness: Path, threshold: bool) -> str:
    services = "\n".join(
        f"  - {{name: {name}, target: {{command: {{restart: [sh, -c, 'echo x > {witness}']}}}}}}" for name in names
    )
    judged = "thresholds: [{name: bad, expr: bench_bad, failed: '> 0'}]\n" if threshold else ""
    book = "runbooks: [{name: web, steps: [restart], limits: {cooldown: 0s}, verify: {healthy_for: 0s}}]\n"
    return f"services:\n{services}\n{judged}{book}"


LIMITS = {
    "limits": {"concurrent": 10_000, "rate": ["1000000/1h"], "panic": "100%"},
    "global": {"evaluation_interval": "0s", "settle": "0s"},
}


async def main() -> None:
    table: list[tuple[str, str, str, str]] = []
    names = [f"s{number}" for number in range(ROUNDS)]
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        witness = Witness(folder)
        await witness.start()
        with Exposition("\n".join(f'bench_bad{{service="{name}"}} 1' for name in names)) as exposition:
            async with RealPrometheus(folder, targets=[exposition.address]) as prometheus:
                while not await asyncio.to_thread(prometheus.query, "bench_bad"):
                    await asyncio.sleep(0.1)

                async def shows(bad: list[str]) -> None:
                    exposition.text = "\n".join(f'bench_bad{{service="{name}"}} {int(name in bad)}' for name in names)
                    while [
                        series["metric"]["service"]
                        for series in await asyncio.to_thread(prometheus.query, "bench_bad > 0")
                    ] != bad:
                        await asyncio.sleep(0.05)

                async def breaks(service: str) -> None:
                    """Only this one is bad, and nobody looks at it before its alert comes: the heal before is over."""
                    await shows([])
                    while await asyncio.to_thread(remediator.request, "/api/v1/incidents?open=true"):
                        await asyncio.sleep(0.1)
                    await shows([service])

                async with bare(folder, witness, spawn=True) as url:
                    base = statistics.median(await latencies(url, witness, names))
                bare_query = []
                for _ in range(ROUNDS):
                    began = time.perf_counter()
                    await asyncio.to_thread(prometheus.query, "bench_bad")
                    bare_query.append((time.perf_counter() - began) * 1000)
                query = statistics.median(bare_query)
                for title, threshold, cost in (("", False, base), (", one threshold", True, base + query)):
                    await shows([])
                    async with RealRemediator(
                        folder / f"latency{threshold}",
                        prometheus=prometheus.url,
                        rules=rules(names, witness.path, threshold),
                        config=LIMITS,
                    ) as remediator:
                        few = names[: ROUNDS // 3] if threshold else names
                        ours = statistics.median(
                            await latencies(remediator.webhook, witness, few, breaks if threshold else None)
                        )
                        table.append(
                            (f"alert to command{title}", f"{cost:.1f} ms", f"{ours:.1f} ms", f"{ours / cost:.2f}")
                        )

                async with bare(folder, witness, spawn=False) as url:
                    base = await rate(url)
                async with RealRemediator(
                    folder / "rate", prometheus=prometheus.url, rules=rules(names, witness.path, False), config=LIMITS
                ) as remediator:
                    ours = await rate(remediator.webhook)
                table.append(("receiver, 32 connections", f"{base:.0f}/s", f"{ours:.0f}/s", f"{ours / base:.2f}"))
                table += await many(folder, prometheus.url, witness)
    widths = [max(len(row[column]) for row in [("", "bare", "ours", "ratio"), *table]) for column in range(4)]
    for row in [("", "bare", "ours", "ratio"), *table]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


async def many(folder: Path, prometheus: str, witness: Witness) -> list[tuple[str, str, str, str]]:
    """10,000 alerts of 10,000 services in 10 notifications, all of them held by the concurrency gate but four."""
    names = [f"m{number}" for number in range(MANY)]
    remediator = RealRemediator(
        folder / "many",
        prometheus=prometheus,
        rules=rules(names, witness.path, False),
        config={"global": {"evaluation_interval": "0s", "auto_heal": False}},
    )
    began = time.perf_counter()
    await asyncio.to_thread(remediator.start)
    started = time.perf_counter() - began
    assert remediator.process is not None
    slowest = 0.0
    ended = asyncio.Event()
    async with aiohttp.ClientSession() as session:

        async def knock() -> None:
            nonlocal slowest
            while not ended.is_set():
                begun = time.perf_counter()
                async with session.get(f"{remediator.url}/-/ready") as response:
                    await response.read()
                slowest = max(slowest, time.perf_counter() - begun)
                await asyncio.sleep(0.01)

        knocking = asyncio.ensure_future(knock())
        now = time.time()
        began = time.perf_counter()
        for page in range(10):
            body = notification(*(("Many", name, now) for name in names[page * 1000 : (page + 1) * 1000]))
            async with session.post(remediator.webhook, data=body) as response:
                assert response.status == 200
        db = sqlite3.connect(f"file:{remediator.folder}/remediator.db?mode=ro", uri=True)
        settled = 0
        while settled < MANY:
            (settled,) = db.execute("SELECT count(*) FROM alerts WHERE disposition IS NOT NULL").fetchone()
            await asyncio.sleep(0.02)
        took = time.perf_counter() - began
        db.close()
        ended.set()
        await knocking
    status = Path(f"/proc/{remediator.process.pid}/status").read_text()
    memory = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
    await asyncio.to_thread(remediator.kill)
    return [
        ("10,000 alerts, each with its disposition", "", f"{took:.2f} s", ""),
        ("slowest /-/ready meanwhile", "", f"{slowest * 1000:.0f} ms", ""),
        ("memory with 10,000 services and incidents", "", f"{memory:.0f} MB", ""),
        ("start to ready with 10,000 services", "", f"{started:.2f} s", ""),
    ]


if __name__ == "__main__":
    asyncio.run(main())

"""The least that a durable webhook receiver in Python can do, to measure remediator against: one file, nothing hidden.

    python tests/bench/bare_receiver.py PORT FILE

aiohttp takes the request, msgspec decodes it, and one thread inserts its alerts into SQLite and commits together what
waits together (WAL, synchronous=FULL). The answer waits for the commit. It checks nothing and remembers nothing else.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import sys
import threading
from typing import Any

import msgspec
from aiohttp import web


class Alert(msgspec.Struct):
    """One alert, as far as it is stored."""

    labels: dict[str, str]
    startsAt: str  # noqa: N815
    status: str


class Notification(msgspec.Struct):
    """One request."""

    alerts: list[Alert]


def write(path: str, waiting: queue.SimpleQueue[tuple[list[Alert], asyncio.Future[None]]]) -> None:
    """Insert and commit, until the process ends."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE alerts (key TEXT PRIMARY KEY, status TEXT, labels TEXT) STRICT")
    while True:
        batch = [waiting.get()]
        while not waiting.empty():
            batch.append(waiting.get())
        database.execute("BEGIN IMMEDIATE")
        for alerts, _ in batch:
            for alert in alerts:
                labels = msgspec.json.encode(sorted(alert.labels.items())).decode()
                database.execute(
                    "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?)", (labels + alert.startsAt, alert.status, labels)
                )
        database.execute("COMMIT")
        loop = batch[0][1].get_loop()
        loop.call_soon_threadsafe(lambda done=batch: [future.set_result(None) for _, future in done])


def main() -> None:
    """Serve until killed."""
    decoder = msgspec.json.Decoder(Notification)
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=write, args=(sys.argv[2], waiting), daemon=True).start()

    async def receive(request: web.Request) -> web.Response:
        notification = decoder.decode(await request.read())
        committed = asyncio.get_running_loop().create_future()
        waiting.put((notification.alerts, committed))
        await committed
        return web.json_response({"status": "success"})

    app = web.Application()
    app.router.add_post("/webhook", receive)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()

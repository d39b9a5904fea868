"""The whole web on a free loopback port: the real application, server and store, with a stand-in for the engine."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from doubles.system import FakeSystem

from remediator.errors import StoreError
from remediator.metrics import Metrics
from remediator.model.alert import Notification
from remediator.store.interface import Accepted
from remediator.store.sql_store import SqlStore
from remediator.store.sqlite import open_sqlite
from remediator.web.application import RUNNER_OPTIONS, Security, WebContext, make_app
from remediator.web.connections import BoundedServer

NOW = 1_800_000_000.0


class SetClock:
    """A clock that shows what it is set to."""

    def __init__(self, at: float = NOW) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    async def wait(self, event: asyncio.Event, timeout: float) -> None:
        raise AssertionError("the web waits for nobody")


@dataclass
class Site:
    """A running web. `taken_in` lists the notifications handed on; `store_trouble` makes taking in fail."""

    store: SqlStore
    system: FakeSystem
    clock: SetClock
    metrics: Metrics
    taken_in: list[Notification]
    session: aiohttp.ClientSession
    url: str = ""
    port: int = 0
    store_trouble: str = ""
    parts: WebContext | None = None
    app: web.Application | None = None

    async def intake(self, notification: Notification) -> Accepted:
        if self.store_trouble:
            raise StoreError(self.store_trouble)
        accepted = await self.store.put_alerts(notification.alerts, self.clock.now())
        self.taken_in.append(notification)
        return accepted

    async def ask(self, method: str, path: str, **given: Any) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        async with self.session.request(method, self.url + path, **given) as response:
            return response.status, await response.json()

    async def text(self, method: str, path: str, **given: Any) -> tuple[int, str]:
        """Status and text of an answer."""
        async with self.session.request(method, self.url + path, **given) as response:
            return response.status, await response.text()

    def counted(self, result: str) -> float:
        """How many webhook requests ended so."""
        return self.metrics.registry.get_sample_value("remediator_notifications_total", {"result": result}) or 0.0


@contextlib.asynccontextmanager
async def serving(
    folder: Path, *, security: Security | None = None, host: str = "127.0.0.1", runner: Mapping[str, Any] = {}, **parts: Any
) -> AsyncIterator[Site]:  # fmt: skip
    """A site for as long as the block runs; `parts` replaces fields of `Parts`, `runner` options of the server."""
    clock, metrics = SetClock(), Metrics()
    store = await open_sqlite(str(folder / "remediator.db"))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)))
        site = Site(store, FakeSystem(store, clock), clock, metrics, [], session)
        site.parts = WebContext(
            **{
                "store": store,
                "metrics": metrics,
                "clock": clock,
                "intake": site.intake,
                "system": site.system,
                "security": security or Security(),
                "started_at": NOW - 60,
                **parts,
            }
        )
        site.app = make_app(site.parts)
        server = web.AppRunner(site.app, **{**RUNNER_OPTIONS, "access_log": None, **runner})
        await server.setup()
        stack.push_async_callback(server.cleanup)
        context = site.parts.security.ssl_context()
        assert server.server is not None
        listening = await BoundedServer(server.server, 2000).listen(host, 0, context)
        stack.callback(listening.close)
        site.port = listening.sockets[0].getsockname()[1]
        site.url = f"{'https' if context else 'http'}://localhost:{site.port}"
        yield site


def basic(name: str, password: str) -> dict[str, str]:
    """The header that names a user."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


async def send_raw(port: int, *pieces: bytes) -> bytes:
    """What comes back, until the server ends it, for bytes put on a connection as they are."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def trusting(certificate: Path) -> ssl.SSLContext:
    """A client's side of TLS that trusts one certificate."""
    return ssl.create_default_context(cafile=str(certificate))

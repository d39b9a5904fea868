"""What the web needs of the rest of the program, and what its modules share: no request is handled here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from aiohttp import web

from remediator.decision.case import ServiceView, Why
from remediator.metrics import Metrics
from remediator.model.alert import Notification
from remediator.model.clock import Clock
from remediator.model.incident import StoredAlert
from remediator.model.paging import PageAlert
from remediator.store.interface import Accepted, Store
from remediator.web.auth import Security
from remediator.web.request_body import Room


class Broadcast:
    """Rung after commits. Whoever listens takes `next` before looking at the journal, so that no ring is missed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake everyone who listens."""
        self._event.set()
        self._event = asyncio.Event()

    def next(self) -> asyncio.Event:
        """The event that the next ring sets."""
        return self._event


class Leader(msgspec.Struct, frozen=True):
    """Who leads among the processes that share the store; `me` says that it is this one. Without a name nobody does, as
    far as is known."""

    name: str
    url: str
    since: float
    epoch: int
    me: bool


class System(Protocol):
    """The running program as the web sees it. Every act records who asked for it, and why."""

    def services(self) -> list[ServiceView]:
        """Every service, by name."""
        ...

    def service(self, name: str) -> ServiceView | None:
        """One service, or None when there is none of this name."""
        ...

    async def why(self, name: str) -> Why | None:
        """The account of one service, or None when there is none of this name."""
        ...

    def pages(self) -> Sequence[PageAlert]:
        """What people are being told through Alertmanager."""
        ...

    async def heal(self, name: str, author: str, comment: str, force: bool) -> StoredAlert | None:
        """Ask for a heal, as an operator's alert; None when there is no such service. ConflictError when one is under
        way. `force` sets cooldown and mode aside."""
        ...

    def not_ready(self) -> list[str]:
        """Why it is not ready, as sentences; empty when it is."""
        ...

    def leader(self) -> Leader | None:
        """Who leads; None where no other process can."""
        ...

    async def reload(self) -> None:
        """Load config and rules anew. ConfigError when they cannot be used; then the old ones stay."""

    def rules(self) -> Mapping[str, Any]:
        """The rules in use: lists of JSON-able mappings by noun."""
        ...

    async def add_service(self, document: Mapping[str, Any], author: str) -> object:
        """Remember a service given as in a rule file. ConfigError when it is wrong, ConflictError when its name is
        taken."""
        ...

    async def remove_service(self, name: str, author: str) -> object:
        """Forget a service added at run time. ConflictError when a rule file names it."""
        ...

    def woken(self) -> object:
        """Something was stored that decisions depend on: look now."""
        ...


@dataclass(frozen=True)
class WebContext:
    """Everything the web is put together from. `external_url` is how people reach it, when that is not how it
    listens; `started_at` is seconds since the epoch. `body_limit` is in bytes, `body_timeout` in seconds."""

    store: Store
    metrics: Metrics
    clock: Clock
    intake: Callable[[Notification], Awaitable[Accepted]]
    system: System
    security: Security = field(default_factory=Security)
    broadcast: Broadcast = field(default_factory=Broadcast)
    external_url: str = ""
    started_at: float = 0.0
    body_limit: int = 10 * 1024 * 1024
    body_timeout: float = 30.0
    room: Room = field(default_factory=lambda: Room(32 * 1024 * 1024))
    """For the bodies of notifications, of all connections together."""


CONTEXT: web.AppKey[WebContext] = web.AppKey("parts", WebContext)
CLOSING: web.AppKey[asyncio.Event] = web.AppKey("closing", asyncio.Event)
STREAMS: web.AppKey[set[object]] = web.AppKey("streams", set)
"""The event streams under way."""
USER = web.RequestKey("user", str)
"""The operator who was let in, or the empty string where nobody has to say who they are."""

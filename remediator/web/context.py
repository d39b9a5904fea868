"""What the web needs of the rest of the program, and what its modules share: no request is handled here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from aiohttp import web

from remediator.decision.case import ServiceView, Why
from remediator.engine.broadcast import Broadcast
from remediator.metrics import Metrics
from remediator.model.alert import Notification
from remediator.model.clock import Clock
from remediator.model.incident import StoredAlert
from remediator.model.paging import PageAlert
from remediator.store.interface import Accepted, Store
from remediator.web.auth import Security
from remediator.web.paths import WebPaths
from remediator.web.permissions import Principal
from remediator.web.request_body import ByteBudget


class Leader(msgspec.Struct, frozen=True):
    """Which of the processes that share the store leads. `me`: this one does. An empty name: no known leader."""

    name: str
    url: str
    since: float
    epoch: int
    me: bool


class System(Protocol):
    """The running program as the web sees it. Every operation records its author and comment."""

    def services(self) -> list[ServiceView]:
        """Every service, by name."""
        ...

    def service(self, name: str) -> ServiceView | None:
        """One service, or None when there is none of this name."""
        ...

    async def why(self, name: str) -> Why | None:
        """The account of one service, or None when there is none of this name."""
        ...

    def page_alerts(self) -> Sequence[PageAlert]:
        """The page alerts that fire at Alertmanager."""
        ...

    def unpaged_alerts(self) -> Sequence[str]:
        """Names of the firing alerts that no receiver of Alertmanager but remediator's gets."""
        ...

    async def heal(self, name: str, author: str, comment: str, force: bool) -> StoredAlert | None:
        """Ask for a heal, as an operator's alert; None when there is no such service. ConflictError when one is under
        way. `force` sets cooldown and mode aside."""
        ...

    def warnings(self) -> Sequence[str]:
        """What is wrong with its files or its neighbours' settings, as sentences; it goes on nevertheless."""
        ...

    def not_ready(self) -> list[str]:
        """Why it is not ready, as sentences; empty when it is."""
        ...

    def undecided(self) -> int:
        """How many alerts have been undecided for longer than a minute, as far as a leader knows."""
        ...

    def leader(self) -> Leader | None:
        """Who leads; None where no other process can."""
        ...

    async def reload(self) -> None:
        """Reload config and rules. ConfigError when they are wrong; the old ones stay in use."""

    def rules(self) -> Mapping[str, Any]:
        """The rules in use, by noun; `rule_text` shows them."""
        ...

    async def add_service(self, document: Mapping[str, Any], author: str) -> object:
        """Remember a service given as in a rule file. ConfigError when it is wrong, ConflictError when its name is
        taken."""
        ...

    async def remove_service(self, name: str, author: str) -> object:
        """Forget a service added at run time. ConflictError when a rule file names it."""
        ...

    def on_operator_action(self) -> object:
        """An operator's change was stored that decisions depend on: run a cycle now."""
        ...


@dataclass(frozen=True)
class WebContext:
    """What the web needs of the program. `external_url` is the address people use, where it differs from the listen
    address; `started_at` is seconds since the epoch. `body_limit` is in bytes, `body_timeout` in seconds."""

    store: Store
    metrics: Metrics
    clock: Clock
    intake: Callable[[Notification], Awaitable[Accepted]]
    system: System
    security: Security = field(default_factory=Security)
    committed: Broadcast = field(default_factory=Broadcast)
    external_url: str = ""
    paths: WebPaths = field(default_factory=WebPaths)
    started_at: float = 0.0
    body_limit: int = 10 * 1024 * 1024
    body_timeout: float = 30.0
    body_budget: ByteBudget = field(default_factory=lambda: ByteBudget(32 * 1024 * 1024))
    """Bytes of notification bodies in memory, over all connections."""


CONTEXT: web.AppKey[WebContext] = web.AppKey("context", WebContext)
CLOSING: web.AppKey[asyncio.Event] = web.AppKey("closing", asyncio.Event)
STREAMS: web.AppKey[set[object]] = web.AppKey("streams", set)
"""Open event streams."""
PRINCIPAL = web.RequestKey("principal", Principal)
"""Who asks."""

"""What the web needs of the rest of the program, and what its modules share. No request is handled here."""

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
    """The process that leads among those that share the store. `me` says that it is this one. The name is empty if no
    leader is known."""

    name: str
    url: str
    since: float
    epoch: int
    me: bool


class System(Protocol):
    """The running program for the web. Every operation records its author and comment."""

    def services(self) -> list[ServiceView]:
        """Every service, by name."""
        ...

    def service(self, name: str) -> ServiceView | None:
        """One service. None if there is none of this name."""
        ...

    async def why(self, name: str) -> Why | None:
        """The account of one service. None if there is none of this name."""
        ...

    def page_alerts(self) -> Sequence[PageAlert]:
        """The page alerts that fire in Alertmanager."""
        ...

    def unpaged_alerts(self) -> Sequence[str]:
        """Names of the firing alerts that only remediator's receiver of Alertmanager gets."""
        ...

    async def heal(self, name: str, author: str, comment: str, force: bool) -> StoredAlert | None:
        """Ask for a heal, by an operator's alert. None if there is no such service.

        ConflictError if a heal is under way. `force` overrides cooldown and mode.
        """
        ...

    def warnings(self) -> Sequence[str]:
        """The problems with its files or with the settings of other programs, as sentences. It works nevertheless."""
        ...

    def not_ready(self) -> list[str]:
        """The reasons why it is not ready, as sentences. Empty if it is ready."""
        ...

    def undecided(self) -> int:
        """How many alerts have been undecided for longer than a minute. Only a leader knows them."""
        ...

    def leader(self) -> Leader | None:
        """The process that leads. None if no other process can lead."""
        ...

    async def reload(self) -> None:
        """Reload config and rules. ConfigError if they are wrong; the old ones then stay in use."""

    def rules(self) -> Mapping[str, Any]:
        """The rules in use, by noun. `rule_text` shows them."""
        ...

    async def add_service(self, document: Mapping[str, Any], author: str) -> object:
        """Remember a service in the form of a rule file. ConfigError if it is wrong, ConflictError if its name is
        taken."""
        ...

    async def remove_service(self, name: str, author: str) -> object:
        """Forget a service added at run time. ConflictError if a rule file names it."""
        ...

    def on_operator_action(self) -> object:
        """Run a cycle now, because an operator's change was stored that decisions depend on."""
        ...


@dataclass(frozen=True)
class WebContext:
    """What the web needs of the program.

    `external_url` is the address for people, if it differs from the listen address. `started_at` is in seconds since
    the epoch, `body_limit` in bytes, `body_timeout` in seconds.
    """

    store: Store
    metrics: Metrics
    clock: Clock
    intake: Callable[[Notification], Awaitable[Accepted]]
    system: System
    security: Security = field(default_factory=Security)
    committed: Broadcast = field(default_factory=Broadcast)
    external_url: str = ""
    listen_hosts: frozenset[str] = frozenset()
    """The hosts of the listen addresses, if each has one."""
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
"""The sender of the request."""

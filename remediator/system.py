"""The running program as the web sees it: what it shows, what it is asked for, and reloading it as a whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from remediator.case import ServiceView, Why
from remediator.clock import Clock
from remediator.config import Config, load_config
from remediator.docket import Docket
from remediator.engine import Engine
from remediator.errors import ConflictError, RemediatorError
from remediator.evaluator import Evaluator
from remediator.incident import StoredAlert
from remediator.metrics import Metrics
from remediator.page import Page
from remediator.policy import policy_of
from remediator.rulebook import Rulebook, Service
from remediator.rulefile import load_rules, service_from_document
from remediator.store import Store
from remediator.web.auth import Security

log = logging.getLogger(__name__)


class Loaded(msgspec.Struct, frozen=True):
    """Config and rules as one: a reload swaps the whole, or nothing."""

    config: Config
    files: Rulebook
    """The rules of the rule files alone, without services added at run time."""


def load(config_file: Path) -> Loaded:
    """Read config and rule files. ConfigError with every problem; warnings are logged."""
    config = load_config(config_file)
    rulebook, warnings = load_rules(config.rule_paths(), service_label=config.global_.service_label)
    for problem in warnings:
        log.warning("%s", problem.render())
    return Loaded(config, rulebook)


class System:
    """The running program as the web sees it."""

    def __init__(
        self,
        config_file: Path,
        loaded: Loaded,
        store: Store,
        docket: Docket,
        engine: Engine,
        evaluator: Evaluator,
        metrics: Metrics,
        clock: Clock,
        security: Security,
    ) -> None:
        self._security = security
        self._config_file = config_file
        self._loaded = loaded
        self._store = store
        self._docket = docket
        self._engine = engine
        self._evaluator = evaluator
        self._metrics = metrics
        self._clock = clock
        self._reloading = asyncio.Lock()
        self.store_trouble = ""
        self.loaded_engine = False

    def services(self) -> list[ServiceView]:
        now = self._clock.now()
        views = (self._docket.view(name, now) for name in self._docket.names())
        return [view for view in views if view is not None]

    def service(self, name: str) -> ServiceView | None:
        return self._docket.view(name, self._clock.now())

    async def why(self, name: str) -> Why | None:
        return await self._engine.why(name)

    def pages(self) -> Sequence[Page]:
        return self._engine.pages()

    async def heal(self, name: str, author: str, comment: str, force: bool) -> StoredAlert | None:
        return await self._engine.heal(name, author, comment, force)

    def not_ready(self) -> list[str]:
        reasons = []
        if not self.loaded_engine:
            reasons.append("the store is still being read")
        if self.store_trouble:
            reasons.append(self.store_trouble)
        return reasons

    def rules(self) -> Mapping[str, Any]:
        book = self._docket.rulebook
        nouns = {
            "services": book.services,
            "thresholds": book.thresholds,
            "runbooks": book.runbooks,
            "targets": tuple(book.targets.values()),
        }
        return {name: msgspec.to_builtins(rules) for name, rules in nouns.items()}

    def woken(self) -> None:
        self._engine.answered()

    async def reload(self) -> None:
        """Swap config and rules for what the files say now. ConfigError, and nothing changed, when they are wrong."""
        async with self._reloading:
            try:
                loaded = await asyncio.to_thread(load, self._config_file)
                await asyncio.to_thread(self._security.reload)
            except RemediatorError:
                self._metrics.reload_successful.set(0)
                raise
            await self._use(loaded)
            log.info("reloaded %s", self._config_file)

    async def add_service(self, document: Mapping[str, Any], author: str) -> Service:
        async with self._reloading:
            service = await asyncio.to_thread(service_from_document, document, self._loaded.files)
            if service.name in self._loaded.files.named:
                raise ConflictError(f"cannot add {service.name}: a rule file has a service of this name")
            await self._store.add_service(service, author, self._clock.now())
            await self._use(self._loaded)
            return service

    async def remove_service(self, name: str, author: str) -> None:
        async with self._reloading:
            await self._store.remove_service(name, author, self._clock.now())
            await self._use(self._loaded)

    async def _use(self, loaded: Loaded) -> None:
        rulebook = loaded.files.with_services(await self._store.added_services())
        self._loaded = loaded
        self._evaluator.swap(rulebook)
        await self._engine.reload(rulebook, policy_of(loaded.config))
        mark_loaded(self._metrics, self._clock.now())


def mark_loaded(metrics: Metrics, now: float) -> None:
    """Say in the metrics that config and rules were loaded."""
    metrics.reload_successful.set(1)
    metrics.reload_timestamp.set(now)

"""The running program as the web sees it: what it shows, what it is asked for, and reloading it as a whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from remediator.config.policy import policy_of
from remediator.config.settings import Config, load_config
from remediator.decision.case import ServiceView, Why
from remediator.errors import ConflictError, RemediatorError
from remediator.metrics import Metrics
from remediator.model.incident import StoredAlert, Verdict
from remediator.model.paging import PageAlert
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Service
from remediator.replica import ProcessResources, Replica
from remediator.rules.added_services import refusal
from remediator.rules.loader import load_rules, service_from_document
from remediator.web.auth import Security
from remediator.web.context import Leader

log = logging.getLogger(__name__)

_MOST_RECEIVERS = 20
"""Receivers are the sender's words: bounded, as everything that comes from outside."""


class Loaded(msgspec.Struct, frozen=True):
    """Config and rules as one: a reload swaps the whole, or nothing."""

    config: Config
    files: Rulebook
    """The rules of the rule files alone, without services added at run time."""


def load(config_file: Path, external_url: str = "") -> Loaded:
    """Read config and rule files. `external_url`, that of the command line, takes the place of the config's. ConfigError
    with every problem; warnings are logged."""
    config = load_config(config_file)
    if external_url.startswith(("http://", "https://")):
        config = replace(config, global_=replace(config.global_, external_url=external_url))
    rulebook, warnings = load_rules(
        config.rule_paths(),
        service_label=config.global_.service_label,
        evaluation_interval=config.global_.evaluation_interval,
        prometheis=config.source_names,
    )
    for problem in warnings:
        log.warning("%s", problem.render())
    return Loaded(config, rulebook)


class Runtime:
    """The running program as the web sees it."""

    def __init__(
        self,
        config_file: Path,
        loaded: Loaded,
        resources: ProcessResources,
        security: Security,
        external_url: str = "",
    ) -> None:
        self._external_url = external_url
        self._security = security
        self._config_file = config_file
        self._loaded = loaded
        self._resources = resources
        self._reloading = asyncio.Lock()
        self._reload_failure = ""
        self._truncated: dict[str, str] = {}
        self._added: list[Service] = []
        self._refused: list[Service] = []
        self.replica: Replica
        """What this process does now; there is one from the first `begin_term` on."""

    async def begin_term(self, *, leads: bool) -> None:
        """Make a term of leading, or of following, by the config and the rules in use; it is yet to be run."""
        async with self._reloading:
            rulebook = await self._with_added(self._loaded)
            if leads:
                await self._close_refused(rulebook)
            self.replica = Replica(self._resources, self._loaded.config, rulebook, leads=leads)
            metrics = self._resources.metrics
            metrics.leads.set(leads)
            metrics.terms.inc(leads)

    def services(self) -> list[ServiceView]:
        now = self._resources.clock.now()
        views = (self.replica.observer.view(name, now) for name in self.replica.state.names())
        return [view for view in views if view is not None]

    def service(self, name: str) -> ServiceView | None:
        return self.replica.observer.view(name, self._resources.clock.now())

    async def why(self, name: str) -> Why | None:
        return await self.replica.engine.why(name)

    def page_alerts(self) -> Sequence[PageAlert]:
        return self.replica.engine.pages()

    def unpaged_alerts(self) -> Sequence[str]:
        return self.replica.unpaged_alerts

    async def heal(self, name: str, author: str, comment: str, force: bool) -> StoredAlert | None:
        return await self.replica.engine.heal(name, author, comment, force)

    def not_ready(self) -> list[str]:
        reasons = []
        if not self.replica.loaded:
            reasons.append("the store is still being read")
        return reasons

    def warnings(self) -> Sequence[str]:
        return [*filter(None, [self._reload_failure]), *self._truncated.values()]

    def on_truncated(self, receiver: str) -> None:
        """A notification of this receiver of the sender's left alerts out: ask for them, or say that nobody can be
        asked."""
        if self._resources.alertmanagers is not None:
            self.replica.compare()
        elif receiver not in self._truncated and len(self._truncated) < _MOST_RECEIVERS:
            self._truncated[receiver] = text = (
                f"notifications to the receiver {receiver[:200]!r} left alerts out (truncatedAlerts), and without"
                " alertmanagers: in the config nobody can be asked for them: give it, or take max_alerts from that"
                " receiver"
            )
            log.warning("%s", text)

    def undecided(self) -> int:
        return self.replica.state.undecided

    def leader(self) -> Leader | None:
        lease = self._resources.leadership.leader
        if lease is None:
            return None
        return Leader(lease.holder, lease.url, lease.since, lease.epoch, self._resources.leadership.leads)

    def rules(self) -> Mapping[str, Any]:
        book = self.replica.state.rulebook
        return {
            "services": book.services,
            "thresholds": book.thresholds,
            "runbooks": book.runbooks,
            "targets": tuple(book.targets.values()),
        }

    def on_operator_action(self) -> None:
        self.replica.engine.on_operator_action()

    async def reload(self) -> None:
        """Swap config and rules for what the files say now. ConfigError, and nothing changed, when they are wrong."""
        async with self._reloading:
            try:
                loaded = await asyncio.to_thread(load, self._config_file, self._external_url)
                await asyncio.to_thread(self._security.reload)
                await self._use(loaded)
            except RemediatorError as error:
                self._resources.metrics.reload_successful.set(0)
                self._reload_failure = f"cannot reload, goes on with what it has: {str(error).splitlines()[0]}"
                log.error("cannot reload, goes on with what it has:\n%s", error)
                raise
            self._reload_failure = ""
            mark_loaded(self._resources.metrics, self._resources.clock.now())
            log.info("reloaded %s", self._config_file)

    async def add_service(self, document: Mapping[str, Any], author: str) -> Service:
        async with self._reloading:
            service = await asyncio.to_thread(service_from_document, document, self._loaded.files)
            if service.name in self._loaded.files.named:
                raise ConflictError(f"cannot add {service.name}: a rule file has a service of this name")
            await self._resources.store.add_service(service, author, self._resources.clock.now())
            await self._use(self._loaded)
            return service

    async def remove_service(self, name: str, author: str) -> None:
        async with self._reloading:
            await self._resources.store.remove_service(name, author, self._resources.clock.now())
            await self._use(self._loaded)

    async def refresh(self) -> None:
        """Take up the services that were added or removed by another process."""
        async with self._reloading:
            if await self._resources.store.added_services() != self._added:
                await self._use(self._loaded)

    async def _use(self, loaded: Loaded) -> None:
        rulebook = await self._with_added(loaded)
        self._loaded = loaded
        self.replica.evaluator.swap(rulebook)
        await self.replica.engine.reload(rulebook, policy_of(loaded.config))

    async def _with_added(self, loaded: Loaded) -> Rulebook:
        """The rules with the services added at run time; one that may not be used is left out and logged."""
        self._added = await self._resources.store.added_services()
        used: list[Service] = []
        self._refused = []
        for service in self._added:
            if reason := refusal(service, loaded.files):
                self._refused.append(service)
                log.error("%s", reason)
            else:
                used.append(service)
        return loaded.files.with_services(used)

    async def _close_refused(self, rulebook: Rulebook) -> None:
        """Close open incidents of services that may not be used: their plans hold the commands."""
        refused = [service.target for service in self._refused]
        if not refused:
            return
        store, now = self._resources.store, self._resources.clock.now()
        for incident in await store.open_incidents():
            own = incident.plan.service
            if own.target in refused and rulebook.named.get(own.name) is None:
                text = f"is given up: {refusal(own, self._loaded.files)}"
                await store.close_incident(incident.id, Verdict.SUPERSEDED, text, incident.health, now)


def mark_loaded(metrics: Metrics, now: float) -> None:
    """Say in the metrics that config and rules were loaded."""
    metrics.reload_successful.set(1)
    metrics.reload_timestamp.set(now)

"""A term: what a process runs while it leads, or while it follows another that does, from its first look to its last.

Each term begins anew from the store, as the first one after a start does, so that nothing of an earlier one lingers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from remediator.actions.render import describe
from remediator.clients.alertmanager import Alertmanagers
from remediator.clients.grafana import Grafana
from remediator.clients.prometheus.client import Prometheus
from remediator.config.policy import policy_of
from remediator.config.settings import Config
from remediator.engine.evaluator import Evaluator
from remediator.engine.intake import Intake
from remediator.engine.loop import Engine
from remediator.engine.reconcile import Reconciler
from remediator.engine.state import EngineState
from remediator.errors import StoreError
from remediator.metrics import Metrics
from remediator.model.action import Run
from remediator.model.alert import Source
from remediator.model.clock import Clock
from remediator.model.rulebook import Rulebook
from remediator.notify.alertmanager import Pager
from remediator.notify.follower import Announcer, Follower
from remediator.notify.grafana import GrafanaAnnouncer
from remediator.notify.log import LogAnnouncer
from remediator.notify.metrics import MetricsAnnouncer, follow_health
from remediator.store.interface import Store
from remediator.store.leadership import Leadership
from remediator.web.context import Broadcast

log = logging.getLogger(__name__)

_RETENTION_INTERVAL = 3600.0


@dataclass(frozen=True)
class ProcessResources:
    """What stands as long as the process does, whoever leads. `database` names the store for people; `failed` is called
    when a part of the program ended by itself."""

    store: Store
    leadership: Leadership
    clock: Clock
    metrics: Metrics
    prometheus: Prometheus
    run: Run
    intake: Intake
    broadcast: Broadcast
    alertmanagers: Alertmanagers | None
    grafana: Grafana | None
    database: str
    shared: bool
    failed: Callable[[BaseException], None]


class Replica:
    """One term. `leads` says whether it is one of leading."""

    def __init__(self, resources: ProcessResources, config: Config, rulebook: Rulebook, *, leads: bool) -> None:
        self.leads = leads
        self.loaded = False
        self._resources = resources
        self._config = config
        self._followers: list[Follower] = []
        self._pager: Pager | None = None
        self._reconciler: Reconciler | None = None
        clock, metrics = resources.clock, resources.metrics
        self.evaluator = evaluator = Evaluator(
            rulebook,
            resources.prometheus.query_blocking,
            clock=clock,
            metrics=metrics,
            interval=config.global_.evaluation_interval,
            stale_after=config.global_.stale_after,
            intake=resources.intake if leads else _leave_to_the_leader,
            changed=lambda names, asked: self.engine.changed(names, asked),
        )
        self.state = EngineState(
            rulebook,
            policy_of(config),
            judgement=evaluator.judgement,
            round_started=lambda: evaluator.round_started_at,
            prometheus_status=lambda: evaluator.prometheus_status,
            describe=describe,
            known=lambda: evaluator.known,
        )
        self.engine = Engine(
            store=resources.store,
            state=self.state,
            clock=clock,
            metrics=metrics,
            run=resources.run,
            query=resources.prometheus.query,
            look=evaluator.look,
            told=self._told,
            leads=leads,
            shared=resources.shared,
        )

    @property
    def unpaged_alerts(self) -> tuple[str, ...]:
        """Names of the firing alerts that no receiver but remediator's gets. The leader knows them."""
        return self._reconciler.unpaged if self._reconciler is not None else ()

    def compare(self) -> None:
        """A notification left alerts out: have them compared with Alertmanager's."""
        if self._reconciler is not None:
            self._reconciler.wake()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs for as long as it is entered. StoreError when it cannot begin.

        When it ends, what it does is stopped before the lease is given back, and its running steps are waited for after
        that: whoever leads next knows of them, and waits for them as well.
        """
        resources, engine, evaluator = self._resources, self.engine, self.evaluator
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(evaluator.close)
            follow_health(resources.metrics, lambda: self.state.healths(resources.clock.now()))
            if self.leads:
                stack.push_async_callback(self._hand_over)
                for follower in self._announce():
                    await stack.enter_async_context(running(follower.run(), resources.failed))
            await engine.load()
            firing = [stored.alert for stored in await resources.store.firing_alerts()]
            await evaluator.restore([alert for alert in firing if alert.source is Source.THRESHOLD])
            self.loaded = True
            works: list[Awaitable[object]] = [evaluator.run(), engine.run()]
            if self.leads:
                works += self._lead()
                if not resources.shared:
                    # Nobody waits to lead, so that the ends of steps can be told as well.
                    stack.push_async_callback(engine.stop)
            for work in works:
                await stack.enter_async_context(running(work, resources.failed))
            yield

    async def _hand_over(self) -> None:
        leadership = self._resources.leadership
        if leadership.leads:
            await leadership.hand_over()
            await self.engine.stop()
        else:
            # The lease is lost: what still runs has to end before another leads.
            await self.engine.stop(grace=0.0)
            await leadership.hand_over()
        # What is the leader's to know is not this one's to show any more.
        self._resources.metrics.announcer_lag.clear()
        self._resources.metrics.pages_firing.set(0)
        self._resources.metrics.unpaged_alerts.set(0)

    def _announce(self) -> list[Follower]:
        resources = self._resources
        announcers: list[Announcer] = [LogAnnouncer(), MetricsAnnouncer(resources.metrics)]
        external_url = self._config.global_.external_url
        if resources.grafana is not None:
            announcers.append(GrafanaAnnouncer(resources.grafana, resources.store, external_url=external_url))
        self._followers += [
            Follower(announcer, resources.store, clock=resources.clock, metrics=resources.metrics)
            for announcer in announcers
        ]
        return self._followers

    def _lead(self) -> list[Awaitable[object]]:
        """What only the leader does besides deciding."""
        resources, engine = self._resources, self.engine
        works: list[Awaitable[object]] = [_retain(resources.store, self._config.storage.retention, resources.clock)]
        if resources.alertmanagers is not None:
            self.state.reconciled = False
            self._reconciler = Reconciler(
                resources.alertmanagers,
                resources.store,
                clock=resources.clock,
                metrics=resources.metrics,
                intake=resources.intake,
                silenced=engine.silenced,
                compared=engine.compared,
            )
            self._pager = Pager(
                resources.alertmanagers,
                pages=engine.pages,
                heal_silences=engine.heal_silences,
                clock=resources.clock,
                metrics=resources.metrics,
                mark=self._mark(),
                external_url=self._config.global_.external_url,
            )
            works += [self._reconciler.run(), self._pager.run()]
        return works

    def _mark(self) -> str:
        """What tells this remediator, after a restart or a change of leader too, from others at the same Alertmanager."""
        database = self._resources.database
        return self._config.global_.external_url or (
            database if self._resources.shared else f"{socket.gethostname()}:{os.path.abspath(database)}"
        )

    def _told(self) -> None:
        self._resources.broadcast.ring()
        for follower in self._followers:
            follower.wake()
        if self._pager is not None:
            self._pager.wake()


@contextlib.asynccontextmanager
async def running(work: Awaitable[object], failed: Callable[[BaseException], None]) -> AsyncIterator[None]:
    """A task for as long as this is entered. Should it end by itself, `failed` is told: better that the program ends, and
    is started again by its supervisor, than a healer that only seems alive."""
    task = asyncio.ensure_future(work)

    def ended(task: asyncio.Future[object]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            failed(error)

    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _leave_to_the_leader(_: object) -> None:
    """The leader sees the same breaches."""


async def _retain(store: Store, retention: float, clock: Clock) -> None:
    """Forget what ended longer ago than `retention` seconds, hour by hour."""
    while True:
        try:
            gone = await store.forget(clock.now() - retention)
            if gone:
                log.info("forgot %d rows older than the retention", gone)
        except StoreError as error:
            log.error("cannot forget what is old: %s", error)
        await clock.wait(asyncio.Event(), _RETENTION_INTERVAL)

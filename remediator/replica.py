"""A replica: what a process runs while it leads, or while it follows another that does.

Each time one of both begins, everything is loaded from the store, as it is after a start, so that nothing of before stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from remediator.clients.alertmanager import Alertmanagers
from remediator.clients.grafana import Grafana
from remediator.clients.prometheus.client import Prometheus
from remediator.config.policy import policy_of
from remediator.config.settings import Config
from remediator.engine.assembly import make_engine
from remediator.engine.broadcast import Broadcast
from remediator.engine.evaluator import Evaluator
from remediator.engine.intake import Intake
from remediator.engine.reconcile import Reconciler
from remediator.engine.unrepeated import UnrepeatedAlerts
from remediator.errors import StoreError
from remediator.metrics import Metrics
from remediator.model.action import Run
from remediator.model.clock import Clock
from remediator.model.rulebook import Rulebook
from remediator.notify.alertmanager import Pager
from remediator.notify.follower import Announcer, Follower
from remediator.notify.grafana import GrafanaAnnouncer
from remediator.notify.log import LogAnnouncer
from remediator.notify.metrics import MetricsAnnouncer, follow_health
from remediator.store.interface import Store
from remediator.store.leadership import Leadership

log = logging.getLogger(__name__)

_RETENTION_INTERVAL = 3600.0


@dataclass(frozen=True)
class ProcessResources:
    """What stays for as long as the process runs, whether it leads or not. `sources` are the Prometheis by name, the default one first; `database` names the store for people;
    `on_failure` is called when a part of the program ended by itself."""

    store: Store
    leadership: Leadership
    clock: Clock
    metrics: Metrics
    sources: Mapping[str, Prometheus]
    run: Run
    intake: Intake
    alerts_stored: Broadcast
    committed: Broadcast
    alertmanagers: Alertmanagers | None
    grafana: Grafana | None
    database: str
    shared: bool
    on_failure: Callable[[BaseException], None]


class Replica:
    """What runs until another process leads, or this one does. `leads` says whether this one does."""

    def __init__(self, resources: ProcessResources, config: Config, rulebook: Rulebook, *, leads: bool) -> None:
        self.leads = leads
        self.loaded = False
        self._deciding = False
        self._resources = resources
        self._config = config
        self._reconciler: Reconciler | None = None
        default = next(iter(resources.sources.values()))
        evaluator = Evaluator(
            rulebook,
            default.query_blocking,
            clock=resources.clock,
            metrics=resources.metrics,
            interval=config.global_.evaluation_interval,
            stale_after=config.global_.stale_after,
            intake=resources.intake if leads else _leave_to_the_leader,
            sources={name: source.query_blocking for name, source in resources.sources.items()},
        )
        self._parts = parts = make_engine(
            rulebook,
            policy_of(config),
            evaluator,
            store=resources.store,
            clock=resources.clock,
            metrics=resources.metrics,
            run=resources.run,
            query=default.query,
            queries={name: source.query for name, source in resources.sources.items()},
            alerts_stored=resources.alerts_stored,
            committed=resources.committed,
            leads=leads,
            shared=resources.shared,
            reconciled=not leads or resources.alertmanagers is None,
        )
        self.evaluator, self.state, self.observer, self.engine = (
            parts.evaluator,
            parts.state,
            parts.observer,
            parts.engine,
        )

    @property
    def turned_at(self) -> float:
        """When the loop that decides last turned, on the machine's own clock; now, while no loop is meant to run."""
        return self.engine.turned_at if self._deciding else time.monotonic()

    @property
    def unpaged_alerts(self) -> tuple[str, ...]:
        """Names of the firing alerts that no receiver but remediator's gets. The leader knows them."""
        return self._reconciler.unpaged if self._reconciler is not None else ()

    def compare(self) -> None:
        """A notification left alerts out: compare them with Alertmanager's."""
        if self._reconciler is not None:
            self._reconciler.wake()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs for as long as it is entered. StoreError when it cannot begin.

        When it ends, its work is stopped before the lease is given back, and its running steps are waited for after that:
        the next leader knows of them, and waits for them as well.
        """
        resources, engine, evaluator = self._resources, self.engine, self.evaluator
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(evaluator.close)
            follow_health(resources.metrics, lambda: self.observer.healths(resources.clock.now()))
            if self.leads:
                stack.push_async_callback(self._hand_over)
                for follower in self._announce():
                    await stack.enter_async_context(running(follower.run(), resources.on_failure))
            await self._parts.load()
            self.loaded = True
            works: list[Awaitable[object]] = [evaluator.run(), engine.run()]
            if self.leads:
                works += self._lead()
                if not resources.shared:
                    # Nobody waits to lead, so that the ends of steps can be told as well.
                    stack.push_async_callback(engine.stop)
            for work in works:
                await stack.enter_async_context(running(work, resources.on_failure))
            self._deciding = True
            try:
                yield
            finally:
                self._deciding = False

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
        self._resources.metrics.undecided.set(0)
        self._resources.metrics.unpaged_alerts.set(0)

    def _announce(self) -> list[Follower]:
        resources = self._resources
        announcers: list[Announcer] = [LogAnnouncer(), MetricsAnnouncer(resources.metrics)]
        external_url = self._config.global_.external_url
        if resources.grafana is not None:
            announcers.append(GrafanaAnnouncer(resources.grafana, resources.store, external_url=external_url))
        return [
            Follower(
                announcer,
                resources.store,
                clock=resources.clock,
                metrics=resources.metrics,
                committed=resources.committed,
            )
            for announcer in announcers
        ]

    def _lead(self) -> list[Awaitable[object]]:
        """What only the leader does besides deciding."""
        resources, engine = self._resources, self.engine
        works: list[Awaitable[object]] = [_retain(resources.store, self._config.storage.retention, resources.clock)]
        if self._config.global_.repeat_within:
            unrepeated = UnrepeatedAlerts(
                resources.store,
                clock=resources.clock,
                intake=resources.intake,
                within=self._config.global_.repeat_within,
                compared=resources.alertmanagers is not None,
            )
            works.append(unrepeated.run())
        if resources.alertmanagers is not None:
            self._reconciler = Reconciler(
                resources.alertmanagers,
                resources.store,
                clock=resources.clock,
                metrics=resources.metrics,
                intake=resources.intake,
                on_silences=engine.on_silences,
                on_suppressed=engine.on_suppressed,
                on_compared=engine.on_compared,
            )
            pager = Pager(
                resources.alertmanagers,
                pages=engine.pages,
                heal_silences=engine.heal_silences,
                clock=resources.clock,
                metrics=resources.metrics,
                mark=self._mark(),
                committed=resources.committed,
                external_url=self._config.global_.external_url,
            )
            works += [self._reconciler.run(), pager.run()]
        return works

    def _mark(self) -> str:
        """What tells this remediator, after a restart or a change of leader too, from others at the same Alertmanager."""
        database = self._resources.database
        return self._config.global_.external_url or (
            database if self._resources.shared else f"{socket.gethostname()}:{os.path.abspath(database)}"
        )


@contextlib.asynccontextmanager
async def running(work: Awaitable[object], on_failure: Callable[[BaseException], None]) -> AsyncIterator[None]:
    """A task for as long as this is entered. If it ends by an error, `on_failure` is called: it is better that the program
    ends and is started again by its supervisor than that it only seems alive."""
    task = asyncio.ensure_future(work)

    def ended(task: asyncio.Future[object]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            on_failure(error)

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

"""One remediator in a rehearsal, from its start to its end: the parts that `app` joins, joined here for the stage.

This is the only place that makes an engine here. What a process remembers is the store's, which outlives it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from typing import Any

from remediator.actions.render import describe
from remediator.clients.grafana import Grafana
from remediator.config.policy import Policy
from remediator.engine.evaluator import Evaluator
from remediator.engine.intake import Intake
from remediator.engine.loop import Engine
from remediator.engine.state import EngineState
from remediator.metrics import Metrics
from remediator.model.alert import Source
from remediator.model.rulebook import Rulebook
from remediator.notify.follower import Follower
from remediator.notify.grafana import GrafanaAnnouncer
from remediator.notify.metrics import MetricsAnnouncer, follow_health
from remediator.simulation.fast_forward import FastForwardClock, FastForwardSchedule, Foresight
from remediator.simulation.scripted import ScriptedEnvironment
from remediator.simulation.virtual_loop import VirtualClock, VirtualLoop
from remediator.store.interface import Store


class Process:
    """The parts of a running remediator, for whoever looks on. `interval` is the seconds between two evaluations; with
    `leap` those that would see nothing new are left out. `seen` is told which services are judged otherwise, `told` that
    something was written to the journal. `evaluator` makes the evaluator."""

    def __init__(
        self,
        rulebook: Rulebook,
        policy: Policy,
        interval: float,
        environment: ScriptedEnvironment,
        grafana: Grafana,
        store: Store,
        loop: VirtualLoop,
        leap: bool,
        *,
        seen: Callable[[Collection[str]], None] = lambda _: None,
        told: Callable[[], None] = lambda: None,
        evaluator: Callable[..., Evaluator] = Evaluator,
    ) -> None:
        self._seen = seen
        self._interval = interval
        self._windows = (policy, -math.inf)
        """The policy, and when the next of its maintenance windows may open or close."""
        clock = VirtualClock()
        self._foresight = Foresight(environment, lambda: self.evaluator)
        dozing = FastForwardClock(
            loop, interval, lambda: self.evaluator, self._foresight, lambda: self.engine.stirred()
        )
        self.store = store
        self.metrics = Metrics()
        self.intake = Intake(store, clock, self.metrics, wake=lambda: self.engine.wake())
        self.evaluator = evaluator(
            rulebook,
            environment.answer,
            clock=dozing if leap else clock,
            metrics=self.metrics,
            interval=interval,
            stale_after=policy.stale_after,
            intake=self.intake,
            changed=self._changed,
        )
        self.state = EngineState(
            rulebook,
            policy,
            judgement=self.evaluator.judgement,
            round_started=lambda: self.evaluator.round_started_at,
            prometheus_status=lambda: self.evaluator.prometheus_status,
            describe=describe,
            known=lambda: self.evaluator.known,
        )
        self.engine = Engine(
            store=store,
            state=self.state,
            clock=clock,
            metrics=self.metrics,
            run=environment.run,
            query=environment.query,
            look=self.evaluator.look,
            # There is no other process that could write to this store.
            poll=math.inf,
            told=told,
            schedule=FastForwardSchedule(self._steady_until) if leap else None,
        )
        environment.watch = self.engine.stirred
        follow_health(self.metrics, lambda: self.state.healths(clock.now()))
        self._counting = Follower(MetricsAnnouncer(self.metrics), store, clock=clock, metrics=self.metrics)
        self._annotating = Follower(GrafanaAnnouncer(grafana, store), store, clock=clock, metrics=self.metrics)
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        """Take up what the store remembers, and run."""
        await self._counting.begin()
        await self._annotating.begin()
        await self.engine.load()
        firing = [stored.alert for stored in await self.store.firing_alerts()]
        await self.evaluator.restore([alert for alert in firing if alert.source is Source.THRESHOLD])
        self._tasks = [asyncio.create_task(self.evaluator.run()), asyncio.create_task(self.engine.run())]

    async def stop(self) -> None:
        """End as on SIGTERM: running steps are given their time."""
        await self._end(self._tasks)
        await self.engine.stop()

    async def kill(self) -> None:
        """End as by kill -9: nothing is told and nothing written down; commands end with their owner."""
        await self._end(self._tasks)
        await self.engine.stop(grace=0)

    async def count(self) -> None:
        """Bring the metrics up to date with the journal. Nothing follows it in between: a look at it costs time."""
        await self._counting.catch_up()

    async def annotate(self) -> None:
        """Tell Grafana what the journal says, in the same way."""
        await self._annotating.catch_up()

    def _changed(self, names: Collection[str], asked: Collection[str]) -> None:
        self._seen(names)
        self.engine.changed(names, asked)

    def _steady_until(self, now: float) -> float:
        """Until when nothing changes by itself: what a look would see, and which maintenance windows are open. What was
        seen grows stale with time alone where no look refreshes it."""
        policy, known = self.state.policy, self._windows
        if not 0 < self._interval < policy.stale_after:
            return -math.inf
        if policy is not known[0] or now >= known[1]:
            self._windows = policy, min((window.next_change(now) for window in policy.maintenance), default=math.inf)
        stale_at = self.evaluator.seen_at + policy.stale_after
        refreshed = self.evaluator.prometheus_status.answers or now > stale_at
        return min(self._foresight.until(), self._windows[1], math.inf if refreshed else stale_at)

    async def _end(self, tasks: list[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            # What ended by an error of its own would otherwise look as if it had nothing to do.
            if isinstance(result, Exception):
                raise result

"""One remediator in a simulation, from its start to its end: the parts that `app` joins, joined here for the stage.

This is the only place in the simulation that makes an engine. What a process remembers is the store's, which outlives it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from remediator.clients.grafana import Grafana
from remediator.config.policy import Policy
from remediator.engine.assembly import make_engine
from remediator.engine.broadcast import Broadcast
from remediator.engine.evaluator import Evaluator
from remediator.engine.intake import Intake
from remediator.metrics import Metrics
from remediator.model.rulebook import Rulebook
from remediator.notify.follower import Follower
from remediator.notify.grafana import GrafanaAnnouncer
from remediator.notify.metrics import MetricsAnnouncer, follow_health
from remediator.simulation.fast_forward import FastForwardClock, FastForwardSchedule, Foresight
from remediator.simulation.scripted import ScriptedEnvironment
from remediator.simulation.virtual_loop import VirtualClock, VirtualLoop
from remediator.store.interface import Store


class Process:
    """The parts of a running remediator. `interval` is the seconds between two evaluations; with `leap` those that would
    see nothing new are left out. `evaluator` makes the evaluator."""

    def __init__(
        self,
        rulebook: Rulebook,
        policy: Policy,
        interval: float,
        stage: ScriptedEnvironment,
        grafana: Grafana,
        store: Store,
        loop: VirtualLoop,
        leap: bool,
        *,
        evaluator: Callable[..., Evaluator] = Evaluator,
    ) -> None:
        self._interval = interval
        self._windows = (policy, -math.inf)
        """The policy, and when the next of its maintenance windows may open or close."""
        clock = VirtualClock()
        self._foresight = Foresight(stage, lambda: self.evaluator)
        self.store = store
        self.metrics = Metrics()
        self.committed = Broadcast()
        alerts_stored = Broadcast()
        self.intake = Intake(store, clock, self.metrics, alerts_stored)
        dozing = FastForwardClock(
            loop, interval, lambda: self.evaluator, self._foresight, lambda: leaping.on_prometheus_changed()
        )
        self.evaluator = evaluator(
            rulebook,
            stage.answer,
            clock=dozing if leap else clock,
            metrics=self.metrics,
            interval=interval,
            stale_after=policy.stale_after,
            intake=self.intake,
        )
        leaping = FastForwardSchedule(clock, self.evaluator, self._steady_until)
        self._parts = make_engine(
            rulebook,
            policy,
            self.evaluator,
            store=store,
            clock=clock,
            metrics=self.metrics,
            run=stage.run,
            query=stage.query,
            alerts_stored=alerts_stored,
            committed=self.committed,
            # There is no other process that could write to this store.
            poll=math.inf,
            schedule=leaping if leap else None,
        )
        self.state, self.observer, self.engine = self._parts.state, self._parts.observer, self._parts.engine
        leaping.watch(self.engine, self.state.fleet)
        stage.watch = leaping.on_prometheus_changed
        follow_health(self.metrics, lambda: self.observer.healths(clock.now()))
        self._counting = Follower(MetricsAnnouncer(self.metrics), store, clock=clock, metrics=self.metrics)
        self._annotating = Follower(GrafanaAnnouncer(grafana, store), store, clock=clock, metrics=self.metrics)
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        """Take up what the store remembers, and run."""
        await self._counting.begin()
        await self._annotating.begin()
        await self._parts.load()
        self._tasks = [asyncio.create_task(self.evaluator.run()), asyncio.create_task(self.engine.run())]

    async def stop(self) -> None:
        """End as on SIGTERM: running steps are given their time."""
        await self._end(self._tasks)
        await self.engine.stop()

    async def kill(self) -> None:
        """End as by kill -9: nothing is announced and nothing written down; commands end with their owner."""
        await self._end(self._tasks)
        await self.engine.stop(grace=0)

    async def count(self) -> None:
        """Bring the metrics up to date with the journal. Nothing follows it in between, since a read costs time."""
        await self._counting.catch_up()

    async def annotate(self) -> None:
        """Tell Grafana what the journal says, in the same way."""
        await self._annotating.catch_up()

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

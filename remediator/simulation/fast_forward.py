"""Leaving out the evaluations that would see nothing new, and the decisions that would be as before. What is left out
changes no decision. How long something has lasted, as a sentence has it, is counted to the last evaluation that was made;
and of two things that happen at the same time the other one may be first.

An evaluation is left out when it is certain that its answers, and what follows of them, would be those of the one before:
until then no series gets a value that is judged differently, no pending breach comes to count, and none that is kept ends.
Before anything else happens, there is an evaluation at the last time at which there would have been one.

A decision is left out when nothing but the time has changed since the last one, and it does not rest on the time. The
engine says what each decision waits on (`decision.recheck`); what follows of that is concluded here alone.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from remediator.decision.assessment import PrometheusStatus
from remediator.decision.evaluation import FORGET, Evaluation
from remediator.decision.recheck import Recheck, WaitsOn
from remediator.decision.threshold_state import NO_BREACH, BreachState
from remediator.engine.evaluator import Evaluator
from remediator.engine.fleet import Fleet
from remediator.engine.loop import Engine
from remediator.engine.schedule import Schedule
from remediator.model.clock import Clock
from remediator.model.health import QueryStatus
from remediator.model.rules import Threshold
from remediator.simulation.scripted import ScriptedEnvironment
from remediator.simulation.virtual_loop import VirtualClock, VirtualLoop


class _Resting(NamedTuple):
    """A service whose rechecks are left out."""

    since: float
    every: float
    waits_on: WaitsOn
    events: int
    """How many events there had been by then."""


class FastForwardSchedule(Schedule):
    """A schedule that leaves out rechecks: a service that waits is checked once more just before what it waits for, unless
    an event may change the decision before. `steady_until` tells until when nothing changes without an event, as it is
    known at a time.

    What happens is concluded from the calls that the daemon's schedule gets as well: `put` is an event of its service, and
    `recheck` is none. Of services that are not scheduled, the evaluator tells those that changed, and the fleet which are
    bad."""

    def __init__(self, clock: Clock, evaluator: Evaluator, steady_until: Callable[[float], float]) -> None:
        super().__init__()
        self._clock = clock
        self._evaluator = evaluator
        self._steady_until = steady_until
        self._resting: dict[str, _Resting] = {}
        self._events = 0
        self._seen_events = 0
        self._bad: dict[str, float] = {}
        self._engine: Engine
        self._fleet: Fleet

    def watch(self, engine: Engine, fleet: Fleet) -> None:
        """Have the engine whose schedule this is, and follow what its evaluator sees."""
        self._engine, self._fleet = engine, fleet
        self._evaluator.evaluated.subscribe(self._on_evaluated)

    def put(self, name: str, at: float) -> None:
        self._events += 1
        super().put(name, at)

    def take(self, now: float, most: int) -> list[str]:
        names = super().take(now, most)
        for name in names:
            self._resting.pop(name, None)
        return names

    def recheck(self, name: str, now: float, recheck: Recheck) -> None:
        every = recheck.every
        checks = (min(recheck.until, self._steady_until(now)) - now) / every
        if recheck.waits_on is WaitsOn.TIME or checks <= 2:
            super().recheck(name, now, recheck)
            return
        self._resting[name] = _Resting(now, every, recheck.waits_on, self._events)
        self._put(name, now + every * (math.ceil(checks) - 1 if checks < math.inf else checks))

    def next(self) -> float:
        if self._bad != self._fleet.bad:
            self._bad = dict(self._fleet.bad)
            self._events += 1
        if self._seen_events != self._events:
            self._seen_events = self._events
            for name, resting in list(self._resting.items()):
                if resting.waits_on is WaitsOn.FLEET and resting.events != self._events:
                    self._check_again(name, resting)
        return super().next()

    def on_prometheus_changed(self) -> None:
        """What Prometheus answers is different from before, or whether it does, for all services."""
        for name, resting in list(self._resting.items()):
            self._check_again(name, resting)
        self._engine.wake()

    def _on_evaluated(self) -> None:
        if self._evaluator.changed:
            self._events += 1

    def _check_again(self, name: str, resting: _Resting) -> None:
        """Take up the rechecks of a service at the time of the next one."""
        del self._resting[name]
        passed = math.floor((self._clock.now() - resting.since) / resting.every)
        self._put(name, resting.since + resting.every * (passed + 1))


class Foresight:
    """Until when every look sees what the last one saw, as it is known at present."""

    def __init__(self, environment: ScriptedEnvironment, evaluator: Callable[[], Evaluator]) -> None:
        self._environment = environment
        self._evaluator = evaluator
        self._known: tuple[Evaluation | None, int, float] = (None, 0, 0.0)

    def until(self) -> float:
        """In seconds since the epoch; a time that is past when the last look has not seen everything."""
        evaluation, changes = self._evaluator().evaluation, self._environment.changes
        known_world, known_changes, until = self._known
        if known_world is not evaluation or known_changes != changes:
            until = same_until(evaluation, self._environment)
            self._known = (evaluation, changes, until)
        return until


class FastForwardClock(VirtualClock):
    """The clock of an evaluator that evaluates every `interval` seconds. `on_status` is called when an evaluation saw
    another status of Prometheus than the one before it."""

    def __init__(
        self,
        loop: VirtualLoop,
        interval: float,
        evaluator: Callable[[], Evaluator],
        foresight: Foresight,
        on_status: Callable[[], None],
    ) -> None:
        super().__init__()
        self._virtual = loop
        self._interval = interval
        self._evaluator = evaluator
        self._foresight = foresight
        self._on_status = on_status
        self._status = PrometheusStatus()

    async def wait(self, event: asyncio.Event, timeout: float) -> None:
        status = msgspec.structs.replace(self._evaluator().prometheus_status, at=0.0)
        if status != self._status:
            self._status = status
            self._on_status()
        if not self._interval:
            await super().wait(event, timeout)
            return
        due = self.now() + timeout
        await self._virtual.doze(event, due, self._interval, self._foresight.until)
        left_out = math.floor((self.now() - due) / self._interval)
        if left_out > 0:
            self._evaluator().nothing_new(due + self._interval * (left_out - 1))


def same_until(evaluation: Evaluation, environment: ScriptedEnvironment) -> float:
    """Until when every look sees what the last one saw."""
    until = math.inf
    for threshold in evaluation.rulebook.thresholds:
        result = evaluation.by_threshold.get(threshold.name)
        if result is None or result.threshold != threshold:
            return -math.inf
        if environment.changed_at >= result.at:
            # Somebody has changed the script since: the next look tells what that means.
            return environment.changed_at
        for track in result.tracks.values():
            # What is not seen neither comes to count nor ends.
            if track.degraded is not NO_BREACH and track.query_status is QueryStatus.SEEN:
                until = min(until, _turns(track.degraded, threshold), _turns(track.failed, threshold))
            if track.absent is not None and track.absent + FORGET >= result.at:
                until = min(until, track.absent + FORGET)
        until = min(until, environment.steady_until(threshold, result.at))
    return until


def _turns(level: BreachState, threshold: Threshold) -> float:
    """When time alone makes a breach count, or ends it."""
    if level.since is not None and level.began is None:
        return level.since + threshold.for_
    if level.since is None and level.last is not None:
        return level.last + threshold.keep_for
    return math.inf

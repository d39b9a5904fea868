"""Leaving out the looks that would see nothing new, and the decisions that would be as before. What is left out changes
no decision. How long something has lasted, as a sentence has it, is counted to the last look that was made; and of two
things that happen at the same time the other one may be first.

A look is left out when it is certain that its answers, and what follows of them, would be those of the look before: until
then no series gets a value that is judged otherwise, no pending breach comes to count, and none that is kept ends.
Before anybody else does anything, there is a look at the last time at which there would have been one.

A decision is left out when nothing but the time is otherwise than at the one before, and the time is not what it rests on.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import msgspec

from remediator.decision.assessment import PrometheusStatus
from remediator.decision.evaluation import FORGET, Evaluation
from remediator.decision.threshold_state import NO_BREACH, BreachState
from remediator.engine.evaluator import Evaluator
from remediator.engine.schedule import Schedule
from remediator.model.health import QueryStatus
from remediator.model.rules import Threshold
from remediator.simulation.scripted import ScriptedEnvironment
from remediator.simulation.virtual_loop import VirtualClock, VirtualLoop


class FastForwardSchedule(Schedule):
    """An agenda on which those that rest are looked at once more, just before they rest no longer, unless they are stirred.
    `steady_until` tells until when nothing changes that nobody stirs up, as it is known at a time."""

    def __init__(self, steady_until: Callable[[float], float]) -> None:
        super().__init__()
        self._steady_until = steady_until
        self._resting: dict[str, tuple[float, float, bool]] = {}
        """Since when those rest, how often they would be looked at, and whether they are alone."""

    def take(self, now: float, most: int) -> list[str]:
        names = super().take(now, most)
        for name in names:
            self._resting.pop(name, None)
        return names

    def rest(self, name: str, now: float, until: float, every: float, *, alone: bool) -> None:
        looks = (min(until, self._steady_until(now)) - now) / every
        if looks <= 2:
            self.put(name, min(until, now + every))
            return
        self._resting[name] = (now, every, alone)
        self.put(name, now + every * (math.ceil(looks) - 1 if looks < math.inf else looks))

    def stir(self, now: float, *, everyone: bool = False) -> None:
        for name, (since, every, alone) in list(self._resting.items()):
            if everyone or not alone:
                del self._resting[name]
                self.put(name, since + every * (math.floor((now - since) / every) + 1))


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
    """The clock of an evaluator that looks every `interval` seconds. `sighted` is called when Prometheus is seen in another
    way than at the look before: that it answers, or does not."""

    def __init__(
        self,
        loop: VirtualLoop,
        interval: float,
        evaluator: Callable[[], Evaluator],
        foresight: Foresight,
        sighted: Callable[[], None],
    ) -> None:
        super().__init__()
        self._virtual = loop
        self._interval = interval
        self._evaluator = evaluator
        self._foresight = foresight
        self._sighted = sighted
        self._prometheus_status = PrometheusStatus()

    async def wait(self, event: asyncio.Event, timeout: float) -> None:
        prometheus_status = msgspec.structs.replace(self._evaluator().prometheus_status, at=0.0)
        if prometheus_status != self._prometheus_status:
            self._prometheus_status = prometheus_status
            self._sighted()
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
        look = evaluation.looks.get(threshold.name)
        if look is None or look.threshold != threshold:
            return -math.inf
        if environment.changed_at >= look.at:
            # Somebody has changed the script since: the next look tells what that means.
            return environment.changed_at
        for track in look.tracks.values():
            # What is not seen neither comes to count nor ends.
            if track.degraded is not NO_BREACH and track.sight is QueryStatus.SEEN:
                until = min(until, _turns(track.degraded, threshold), _turns(track.failed, threshold))
            if track.absent is not None and track.absent + FORGET >= look.at:
                until = min(until, track.absent + FORGET)
        until = min(until, environment.steady_until(threshold, look.at))
    return until


def _turns(level: BreachState, threshold: Threshold) -> float:
    """When time alone makes a breach count, or ends it."""
    if level.since is not None and level.began is None:
        return level.since + threshold.for_
    if level.since is None and level.last is not None:
        return level.last + threshold.keep_for
    return math.inf

"""PromQL to health: evaluates one query per threshold, never two evaluations at a time, for all services together.

Everything that takes time with many services happens in worker threads (`decision.evaluation`). The event loop only puts
a finished evaluation in the place of the one before.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from remediator.clients.prometheus.client import Answer
from remediator.decision import evaluation as pure
from remediator.decision.assessment import PrometheusStatus
from remediator.decision.evaluation import Changes, Evaluation, EvaluationPart, Owners, ThresholdEvaluation
from remediator.decision.threshold_state import NO_SERIES, ThresholdState, reading
from remediator.engine.broadcast import Broadcast
from remediator.engine.evaluations import Evaluated
from remediator.errors import StoreError
from remediator.metrics import Metrics
from remediator.model.alert import Alert
from remediator.model.clock import Clock
from remediator.model.health import UNSEEN, Health, Judgement, QueryStatus, Reading, worst
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Service, Threshold

log = logging.getLogger(__name__)

THREADS = 8
"""How many thresholds are asked about at once."""
HEARTBEAT = "vector(1)"
"""What is asked when there are no thresholds, to know whether Prometheus answers."""
_ANSWERED = (QueryStatus.SEEN, QueryStatus.PARTIAL, QueryStatus.BAD_DATA, QueryStatus.EXECUTION)
_LATE = 0.1
"""Seconds by which an evaluation may be late and counts as on time, as Prometheus' own do: a `for` of two intervals is
over with the third evaluation, and not sometimes with the fourth."""
_MEANWHILE = 5.0
"""Seconds until the next evaluation, at an interval of 0, while there is reason for one: a breach is under way, whose
`for` or `keep_for` runs, or alerts could not be handed on."""


class Evaluator:
    """Judges services by the thresholds of the rule book.

    `query` blocks and is called in worker threads. `intake` takes the alerts that breaches become, and raises
    StoreError when it cannot. `sources` are the queries of several Prometheis by name, the default one first. `interval` and `stale_after` are seconds; an interval of 0 means to evaluate only on
    request, and while a breach is under way.
    """

    def __init__(
        self,
        rulebook: Rulebook,
        query: Callable[[str], Answer],
        *,
        clock: Clock,
        metrics: Metrics,
        interval: float,
        stale_after: float,
        intake: Callable[[Sequence[Alert]], Awaitable[object]],
        sources: Mapping[str, Callable[[str], Answer]] | None = None,
    ) -> None:
        self._sources = dict(sources or {"": query})
        self._default = next(iter(self._sources))
        self._statuses = {name: PrometheusStatus(answers=False) for name in self._sources}
        self.evaluated_at = 0.0
        """When the last evaluation that is complete began."""
        self.evaluated = Broadcast()
        self.changed: set[str] = set()
        """The services whose judgement changed, until they are taken."""
        self._rulebook = rulebook
        self._evaluation = Evaluation(rulebook)
        self._clock = clock
        self._metrics = metrics
        self._interval = interval
        self._stale_after = stale_after
        self._intake = intake
        self._created = clock.now()
        self._unrest = False
        self._full = False
        self._requested: set[str] = set()
        self._answered_requests: set[str] = set()
        self._woken = asyncio.Event()
        self._outbox: dict[tuple[str, float], Alert] = {}
        self._one_at_a_time = asyncio.Lock()
        # Judging goes in turn: side by side it would gain nothing, but make the event loop wait for the interpreter.
        self._judging = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="threshold")

    @property
    def statuses(self) -> dict[str, PrometheusStatus]:
        """Whether each Prometheus answers, and since when, by its name."""
        return self._statuses

    @property
    def prometheus_status(self) -> PrometheusStatus:
        """How the Prometheis are seen together."""
        return _together(self._statuses.values())

    @property
    def seen_at(self) -> float:
        """When any Prometheus last answered at all."""
        return self.prometheus_status.at

    @property
    def seen_since(self) -> float:
        """Since when they have answered at every evaluation."""
        return self.prometheus_status.since

    def source_of(self, service: Service) -> str:
        """The name of the Prometheus that sees a service: its own, otherwise that of its first threshold."""
        if service.prometheus in self._sources:
            return service.prometheus
        thresholds = self._rulebook.thresholds_for(service) if len(self._sources) > 1 else ()
        return self._source(thresholds[0].prometheus) if thresholds else self._default

    def status_for(self, service: Service) -> PrometheusStatus:
        """How those see a service whose thresholds judge it; without thresholds, its own."""
        if len(self._statuses) == 1:
            return self._statuses[self._default]
        names = {self._source(threshold.prometheus) for threshold in self._rulebook.thresholds_for(service)}
        return _together(self._statuses[name] for name in names or {self.source_of(service)})

    @property
    def found_services(self) -> dict[str, Service]:
        """The templated services that came into being from series, by name."""
        return self._evaluation.known

    @property
    def evaluation(self) -> Evaluation:
        """What the last evaluation saw."""
        return self._evaluation

    def nothing_new(self, at: float) -> None:
        """Record an evaluation at this time with unchanged results. Simulations skip those."""
        by_threshold = {
            name: msgspec.structs.replace(result, at=at) for name, result in self._evaluation.by_threshold.items()
        }
        self._evaluation = msgspec.structs.replace(self._evaluation, by_threshold=by_threshold)
        self.evaluated_at = at
        self._statuses = {
            name: msgspec.structs.replace(status, at=at) if status.answers else status
            for name, status in self._statuses.items()
        }

    def judgement(self, service: Service, now: float) -> Judgement:
        """What a service is by its thresholds; one without thresholds has no readings, and nothing is said of it.

        Trouble seen by any threshold wins; then what could not be seen; healthy only when all are. A threshold that has
        never had a series for the service is left out, unless none of them has had one. One whose first answer was not
        complete may have a series, and counts as unknown.
        """
        thresholds = self._rulebook.thresholds_for(service)
        if not thresholds:
            return msgspec.structs.replace(UNSEEN, at=self.seen_at, text="no threshold judges it")
        results = [(threshold, self._result_of(threshold)) for threshold in thresholds]
        readings = [
            self._reading(result, track, now)
            for _, result in results
            if result is not None and (track := result.tracks.get(service.name)) is not None
        ]
        if not readings:
            readings = [self._blank(threshold, result, self._created) for threshold, result in results]
        else:
            readings += [
                self._blank(threshold, result, now)
                for threshold, result in results
                if result is None or (not result.complete and service.name not in result.tracks)
            ]
        return _judged(tuple(readings)).aged(now, self._stale_after)

    def evaluate(self, names: Collection[str] = ()) -> None:
        """Request an evaluation now. What is requested during one is answered by the one after it."""
        self._requested.update(names)
        self._woken.set()

    def take_evaluated(self) -> Evaluated:
        """The services to decide on again since the last call."""
        taken = Evaluated(self.changed, self._answered_requests)
        self.changed, self._answered_requests = set(), set()
        return taken

    def swap(self, rulebook: Rulebook) -> None:
        """Go on by other rules, at once. Thresholds that are unchanged keep what they know."""
        self._rulebook = rulebook
        self._woken.set()

    async def restore(self, alerts: Sequence[Alert]) -> None:
        """Take up the threshold alerts that fired when remediator last ran; to be called before the first evaluation."""
        self._evaluation, ended = pure.restored(self._evaluation, alerts, self._clock.now())
        self._send(ended)

    async def run(self) -> None:
        """Evaluate at every interval, and on request, until cancelled."""
        due = now = self._clock.now()
        while True:
            # A request is for what is true now, and later than what led to it.
            on_time = 0 <= now - due < _LATE and not self._requested
            await self.evaluate_now(due if on_time else None)
            now = self._clock.now()
            if self._interval > 0:
                # Ticks that a long evaluation has run over are left out.
                due += self._interval * (math.floor((now - due) / self._interval) + 1)
                wait = due - now
            else:
                wait = _MEANWHILE if self._unrest or self._outbox else math.inf
            await self._clock.wait(self._woken, wait)
            now = self._clock.now()

    async def evaluate_now(self, tick: float | None = None) -> None:
        """Evaluate every threshold once. `tick` is when it was due, if it is done on time."""
        async with self._one_at_a_time:
            self._woken.clear()
            requested, self._requested = self._requested, set()
            started, clocked = self._clock.now() if tick is None else tick, time.perf_counter()
            changes = Changes()
            self._evaluation = await self._evaluate_all(started, changes)
            self.evaluated_at = started
            self._unrest = changes.unrest
            self._say_left_out(len(changes.left_out))
            self._metrics.evaluation_duration.observe(time.perf_counter() - clocked)
            self._send(changes.alerts)
            await self._deliver()
            if changes.names or requested:
                self.changed |= set(changes.names)
                self._answered_requests |= requested
                self.evaluated.notify()

    def _say_left_out(self, count: int) -> None:
        """Log that templated services have no room, once for as long as that lasts."""
        self._metrics.services_left_out.set(count)
        if bool(count) is not self._full:
            self._full = bool(count)
            if count:
                log.error(
                    "cannot judge %d more templated services: %d are known, and no more are kept; make the matchers of"
                    " the templated services narrower",
                    count,
                    len(self.found_services),
                )

    def close(self) -> None:
        """Let go of the worker threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _evaluate_all(self, started: float, changes: Changes) -> Evaluation:
        """All that is known after an evaluation. Rules that are swapped meanwhile are taken up by the next one."""
        evaluation, thread = self._evaluation, asyncio.get_running_loop().run_in_executor
        if evaluation.rulebook is not self._rulebook:
            evaluation = await thread(self._threads, pure.change_over, evaluation, self._rulebook, started, changes)
        thresholds = evaluation.rulebook.thresholds
        # Those about which no threshold asks are asked whether they answer.
        idle = [name for name in self._sources if all(self._source(one.prometheus) != name for one in thresholds)]
        beats = asyncio.gather(*(thread(self._threads, self._sources[name], HEARTBEAT) for name in idle))
        if not thresholds:
            self._note({name: [answer.query_status] for name, answer in zip(idle, await beats, strict=True)}, started)
            return evaluation
        owners: Owners = {}
        parts = await asyncio.gather(
            *(
                thread(self._threads, self.evaluate_threshold, evaluation, threshold, owners, started)
                for threshold in thresholds
            )
        )
        query_statuses = {name: [answer.query_status] for name, answer in zip(idle, await beats, strict=True)}
        for part in parts:
            query_statuses.setdefault(self._source(part.result.threshold.prometheus), []).append(
                part.result.query_status
            )
        self._note(query_statuses, started)
        for result in (part.result for part in parts):
            self._metrics.evaluations.labels(result.threshold.name, result.query_status.value).inc()
        return await thread(self._threads, pure.put_together, evaluation, parts, owners, changes, started)

    def evaluate_threshold(
        self, evaluation: Evaluation, threshold: Threshold, owners: Owners, now: float
    ) -> EvaluationPart:
        """One threshold's part of an evaluation, queried and judged; in a worker thread."""
        return self.judge(
            evaluation, threshold, self._sources[self._source(threshold.prometheus)](threshold.expr), owners, now
        )

    def judge(
        self, evaluation: Evaluation, threshold: Threshold, answer: Answer, owners: Owners, now: float
    ) -> EvaluationPart:
        """The same, of an answer."""
        with self._judging:
            return pure.evaluate_threshold(evaluation, threshold, answer, owners, now, self._stale_after)

    def _source(self, name: str) -> str:
        """The Prometheus of this name; the default one without a name, or where there is none of it."""
        return name if name in self._sources else self._default

    def _note(self, query_statuses: Mapping[str, Iterable[QueryStatus]], started: float) -> None:
        """Record which Prometheis answered an evaluation."""
        statuses = {}
        for name, before in self._statuses.items():
            answered = any(query_status in _ANSWERED for query_status in query_statuses.get(name, ()))
            at, since, back = before.at, before.since, before.back
            if answered:
                unseen = started - at > self._stale_after
                if not before.answers or unseen:
                    since = started
                # At an interval of 0 a long time without an evaluation says nothing; otherwise the process was asleep.
                if not before.answers or (unseen and self._interval > 0):
                    back = started
                at = started
            statuses[name] = PrometheusStatus(at=at, since=since, back=back, answers=answered)
        self._statuses = statuses

    def _send(self, alerts: Iterable[Alert]) -> None:
        self._outbox.update((alert.key, alert) for alert in alerts)

    async def _deliver(self) -> None:
        """Hand on the alerts that have changed; those that cannot be stored now go with the next evaluation's."""
        if not self._outbox:
            return
        batch, self._outbox = self._outbox, {}
        try:
            await self._intake(list(batch.values()))
        except StoreError as error:
            log.error("cannot hand on %d alerts of thresholds, tries again: %s", len(batch), error)
            self._outbox = {**batch, **self._outbox}

    def _result_of(self, threshold: Threshold) -> ThresholdEvaluation | None:
        result = self._evaluation.by_threshold.get(threshold.name)
        return result if result is not None and result.threshold == threshold else None

    def _reading(self, result: ThresholdEvaluation, track: ThresholdState, now: float) -> Reading:
        seen = reading(result.threshold, track, result.at, result.error)
        if now - result.at <= self._stale_after:
            return seen
        stale_at = result.at + self._stale_after
        text = f"{result.threshold.name} was last looked at {now - result.at:.0f}s ago"
        return msgspec.structs.replace(
            seen, health=Health.UNKNOWN, since=stale_at, query_status=QueryStatus.STALE, text=text
        )

    def _blank(self, threshold: Threshold, result: ThresholdEvaluation | None, at: float) -> Reading:
        """The reading of a threshold that has never had a series for the service; `at` is the time of one that has not
        been evaluated."""
        if result is None:
            text = f"{threshold.name} has not been looked at yet"
            return Reading(threshold.name, Health.UNKNOWN, at, at, QueryStatus.STALE, text=text)
        query_status = QueryStatus.NO_DATA if result.query_status is QueryStatus.SEEN else result.query_status
        track = ThresholdState(Health.UNKNOWN, self._created, query_status, None, NO_SERIES)
        return reading(threshold, track, result.at, result.error)


def _together(statuses: Iterable[PrometheusStatus]) -> PrometheusStatus:
    """How several see what any of them can see. What each cannot see is unknown by the readings."""
    several = list(statuses)
    if len(several) == 1:
        return several[0]
    return PrometheusStatus(
        at=max(status.at for status in several),
        since=max(status.since for status in several),
        back=max(status.back for status in several),
        answers=any(status.answers for status in several),
    )


def _judged(readings: tuple[Reading, ...]) -> Judgement:
    health = worst(reading.health for reading in readings)
    alike = [reading for reading in readings if reading.health is health]
    since = max if health is Health.HEALTHY else min
    return Judgement(
        health,
        min(reading.at for reading in readings),
        since(reading.since for reading in alike),
        "; ".join(reading.text for reading in alike),
        readings,
    )

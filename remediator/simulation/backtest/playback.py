"""Plays recordings back: series of thresholds, and conditions at the time at which the engine asks them."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

import msgspec

from remediator.clients.prometheus.client import Answer, Series
from remediator.decision.threshold_state import judge_value
from remediator.errors import RemoteError
from remediator.model.action import Call, Outcome, Result
from remediator.model.health import Health, QueryStatus
from remediator.model.rules import Threshold
from remediator.simulation.backtest.data.history import History
from remediator.simulation.backtest.data.recording import Recorded, Recording, Run, turns, value_at
from remediator.simulation.scripted import Sample, ScriptedEnvironment


class Playback:
    """One recorded series. After `cure` it is healthy until the recording itself becomes healthy."""

    def __init__(self, recorded: Recorded, recording: Recording, thresholds: Sequence[Threshold], owner: str) -> None:
        self.labels = recorded.labels
        self.owner = owner
        """The name of the service that owns it, or ''."""
        self._runs = recorded.runs
        self._recording = recording
        self._thresholds = thresholds
        found = [turns(recorded.runs, threshold) for threshold in thresholds]
        if recording.unseen:
            found.append(recording.borders)
        self._turns = found[0] if len(found) == 1 else sorted({step for steps in found for step in steps})
        self._first = recorded.runs[0] if recorded.runs else Run(0, array("d"))
        self._cured: tuple[float, float] = (0, 0.0)
        """The step up to which it is cured, and its value until then."""

    def at(self, now: float) -> Sample:
        step = self._recording.step_at(now)
        until, value = self._cured
        if step < until:
            return value
        # A fast path: most series have no gap, and `at` is called very often.
        first, values = self._first
        return values[step - first] if 0 <= step - first < len(values) else value_at(self._runs, step)

    def after(self, now: float) -> Iterator[tuple[float, Sample]]:
        start, step = self._recording.start, self._recording.step
        here, until = self._recording.step_at(now), self._cured[0]
        if here < until < self._recording.count:
            yield start + until * step, value_at(self._runs, int(until))
        for turn in self._turns[bisect_right(self._turns, max(here, until)) :]:
            if turn < self._recording.count:
                yield start + turn * step, value_at(self._runs, turn)

    def cure(self, now: float, value: float) -> bool:
        """Have this value until the recording is healthy. Returns whether the recording ends before that."""
        step = self._recording.step_at(now)
        later = self._turns[bisect_left(self._turns, step) :]
        until = next((turn for turn in (step, *later) if self._well(turn)), math.inf)
        self._cured = (min(until, self._recording.count), value)
        return until >= self._recording.count

    def bad(self, now: float) -> bool:
        """Whether its value is judged degraded or failed."""
        return self._bad(self.at(now))

    def _well(self, step: int) -> bool:
        value = value_at(self._runs, step)
        if value is None or self._recording.unseen_at(step) is not None:
            return False
        return all(judge_value(threshold, value)[0] is Health.HEALTHY for threshold in self._thresholds)

    def _bad(self, value: Sample) -> bool:
        return value is not None and any(judge_value(threshold, value)[0].bad for threshold in self._thresholds)


class RecordedEnvironment(ScriptedEnvironment):
    """An environment that answers from recordings. Conditions are fetched when the engine asks for them. A target's
    replica count is not recorded, so the command that tells it answers 1."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self.unanswered: dict[str, None] = {}
        """The reasons why conditions could not be answered, in the order of their first occurrence."""
        self.counted = False
        """Whether a target's command was asked for the replica count."""
        self._owned: dict[str, dict[str, list[Playback]]] = {}
        self._recordings: dict[str, Recording] = {}
        self._steady: dict[str, tuple[int, float, float]] = {}
        self._history = history

    def load(self, expr: str, recording: Recording, playbacks: list[Playback]) -> None:
        """Answer an expression with these recorded series from now on."""
        self._recordings[expr] = recording
        owned = self._owned[expr] = {}
        for playback in playbacks:
            owned.setdefault(playback.owner, []).append(playback)
        self.lines[expr] = {tuple(sorted(playback.labels.items())): playback for playback in playbacks}
        self.changed()

    def owned(self, expr: str, name: str) -> list[Playback]:
        """The series of an expression that the service owns."""
        return self._owned[expr.strip()].get(name, [])

    def steady_until(self, threshold: Threshold, since: float) -> float:
        changes, asked, until = self._steady.get(threshold.name, (-1, 0.0, 0.0))
        if changes != self.changes or not asked <= since < until:
            recording = self._recordings[threshold.expr.strip()]
            until = min(super().steady_until(threshold, since), recording.border_after(since))
            self._steady[threshold.name] = (self.changes, since, until)
        return until

    def answer(self, expr: str) -> Answer:
        if (recording := self._recordings.get(expr.strip())) is not None:
            return self._as_seen(recording, super().answer(expr))
        try:
            recording = self._history.condition(expr, self.now)
        except RemoteError as error:
            self.unanswered[str(error)] = None
            return Answer(self.now, QueryStatus.EXECUTION, error=str(error))
        step = min(recording.step_at(self.now), recording.count - 1)
        values = ((one.labels, value_at(one.runs, step)) for one in recording.series)
        series = [Series(labels, value) for labels, value in values if value is not None]
        kind = "scalar" if recording.scalar else "vector"
        return self._as_seen(recording, Answer(self.now, QueryStatus.SEEN, series, kind=kind))

    def _as_seen(self, recording: Recording, answer: Answer) -> Answer:
        """The answer with the warnings or the error that Prometheus had at this time."""
        unseen = recording.unseen_at(min(recording.step_at(self.now), recording.count - 1))
        if unseen is None:
            return answer
        if unseen.query_status is QueryStatus.PARTIAL:
            return msgspec.structs.replace(answer, warnings=(unseen.error,))
        return Answer(self.now, unseen.query_status, error=unseen.error)

    async def run(self, call: Call) -> Result:
        if call.env.get("REMEDIATOR_STEP") == "replicas":
            self.counted = True
            return Result(Outcome.SUCCEEDED, "exited with 0", 0, "1")
        return await super().run(call)


def healthy_value(threshold: Threshold) -> float:
    """A value that the threshold judges healthy: 0 or 1 where possible, otherwise one near its bounds, or NaN."""
    bounds = [comparison.bound for comparison in (threshold.degraded, threshold.failed) if comparison is not None]
    near = [math.nextafter(bound, towards) for bound in bounds for towards in (-math.inf, math.inf)]
    tried = [0.0, 1.0, *bounds, *near, *(bound + way for bound in bounds for way in (-1.0, 1.0))]
    return next((value for value in tried if threshold.judge(value) is Health.HEALTHY), math.nan)

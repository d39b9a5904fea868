"""Evaluates thresholds over recorded series, skipping series whose judgement is known not to change."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from remediator.clients.prometheus.client import Answer, Series
from remediator.decision.evaluation import Evaluation, EvaluationPart, Owners, ThresholdEvaluation
from remediator.decision.threshold_state import NO_BREACH
from remediator.engine.evaluator import Evaluator
from remediator.model.health import QueryStatus
from remediator.model.rules import Threshold
from remediator.simulation.backtest.playback import RecordedEnvironment


class RecordedEvaluator(Evaluator):
    """An evaluator that reads only those series whose judgement may have changed, which the recording tells.

    It reads new values of healthy services only where an incident or an alert concerns them. It always reads those of
    the others, because time alone may change their state.
    """

    def __init__(
        self, *args: Any, environment: RecordedEnvironment, concern: Callable[[], Collection[str]], **others: Any
    ) -> None:
        super().__init__(*args, **others)
        self._environment = environment
        self._concern = concern

    def evaluate_threshold(
        self, scenario: Evaluation, threshold: Threshold, owners: Owners, now: float
    ) -> EvaluationPart:
        before = scenario.by_threshold.get(threshold.name)
        if before is None or not self._as_before(threshold, before, now):
            return super().evaluate_threshold(scenario, threshold, owners, now)
        concern = self._concern()
        names = [name for name, track in before.tracks.items() if track.degraded is not NO_BREACH or name in concern]
        concerned = msgspec.structs.replace(before, tracks={name: before.tracks[name] for name in names})
        values = (
            Series(playback.labels, value)
            for name in names
            for playback in self._environment.owned(threshold.expr, name)
            if (value := playback.at(now)) is not None
        )
        answer = Answer(now, QueryStatus.SEEN, list(values), kind="vector")
        seen = self.judge(
            msgspec.structs.replace(scenario, by_threshold={threshold.name: concerned}), threshold, answer, owners, now
        )
        owners.update(scenario.owners)
        tracks = {**before.tracks, **seen.result.tracks}
        return msgspec.structs.replace(seen, result=msgspec.structs.replace(seen.result, tracks=tracks), templated=[])

    def _as_before(self, threshold: Threshold, before: ThresholdEvaluation, now: float) -> bool:
        return (
            before.threshold == threshold
            and before.query_status is QueryStatus.SEEN
            and self._environment.changed_at < before.at
            and self._environment.steady_until(threshold, before.at) > now
        )

"""Looks at recorded series, of which it is known when there is something new to see."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from remediator.clients.prometheus.client import Answer, Series
from remediator.decision.evaluation import Evaluation, EvaluationPart, Owners, ThresholdEvaluation
from remediator.decision.threshold_state import NO_BREACH
from remediator.engine.evaluator import Evaluator
from remediator.model.health import QueryStatus
from remediator.model.rulebook import Threshold
from remediator.simulation.backtest.playback import RecordedEnvironment


class RecordedEvaluator(Evaluator):
    """An evaluator that looks at no more than what may be otherwise than before: with history at hand that is known. Of
    services that are well it sees new values only where an incident or an alert is about them, of those that are not
    always, since time alone may change what becomes of them."""

    def __init__(
        self, *args: Any, environment: RecordedEnvironment, concern: Callable[[], Collection[str]], **others: Any
    ) -> None:
        super().__init__(*args, **others)
        self._environment = environment
        self._concern = concern

    def view(self, scenario: Evaluation, threshold: Threshold, owners: Owners, now: float) -> EvaluationPart:
        before = scenario.looks.get(threshold.name)
        if before is None or not self._as_before(threshold, before, now):
            return super().view(scenario, threshold, owners, now)
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
            msgspec.structs.replace(scenario, looks={threshold.name: concerned}), threshold, answer, owners, now
        )
        owners.update(scenario.owners)
        tracks = {**before.tracks, **seen.look.tracks}
        return msgspec.structs.replace(seen, look=msgspec.structs.replace(seen.look, tracks=tracks), templated=[])

    def _as_before(self, threshold: Threshold, before: ThresholdEvaluation, now: float) -> bool:
        return (
            before.threshold == threshold
            and before.sight is QueryStatus.SEEN
            and self._environment.changed_at < before.at
            and self._environment.steady_until(threshold, before.at) > now
        )

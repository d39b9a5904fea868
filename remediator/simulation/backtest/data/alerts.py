"""The alerts that Prometheus remembers, as Alertmanager would have sent them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from remediator.model.alert import Alert, fingerprint
from remediator.model.matcher import Matcher, matches_all
from remediator.simulation.backtest.data.history import ALERTS, History
from remediator.simulation.backtest.data.recording import Recording

_NOT_THEIRS = ("__name__", "alertstate")


class Turn(NamedTuple):
    """An alert with these labels starts to fire, or ends."""

    labels: dict[str, str]
    fires: bool


class RecordedAlerts:
    """The alerts whose labels match, stretch by stretch. Prometheus remembers neither annotations nor what Alertmanager
    does: waiting, grouping, silences."""

    def __init__(self, history: History, matchers: Sequence[Matcher]) -> None:
        self._history = history
        self._matchers = matchers
        self._firing: dict[str, Alert] = {}
        self._cured: set[str] = set()

    def turns(self, start: int, end: int) -> list[tuple[float, list[Turn]]]:
        """The alerts that start or end in a stretch, by time. Call it when the stretch before is over."""
        recording = self._history.recording(ALERTS, start, end)
        # Where nothing was seen, an alert is taken to stay as it was before.
        seen = recording.seen_from(0)
        events: dict[float, list[Turn]] = {}
        here: set[str] = set()
        for labels, first, last in _firings(recording):
            if not matches_all(self._matchers, labels):
                continue
            if first <= seen:
                here.add(fingerprint(labels))
            # The last step of a stretch is the first of the next, which counts it.
            if first < recording.count - 1 or end >= self._history.end:
                events.setdefault(self._time(start, first), []).append(Turn(labels, True))
            if last < recording.count:
                events.setdefault(self._time(start, last), []).append(Turn(labels, False))
        gone = [alert.labels for print_, alert in self._firing.items() if print_ not in here]
        if gone and seen < recording.count:
            events.setdefault(self._time(start, seen), []).extend(Turn(labels, False) for labels in gone)
        return sorted(events.items())

    def sent(self, at: float, turns: Iterable[Turn]) -> list[Alert]:
        """The alerts that Alertmanager sends when they start or end at this time."""
        return [alert for turn in turns if (alert := self._alert(turn.labels, at, turn.fires)) is not None]

    def cure(self, whose: Callable[[Mapping[str, str]], bool], now: float) -> list[Alert]:
        """End the firing alerts with such labels, and return them as resolved. They stay so until the recording ends them
        and they fire again."""
        firing = ((print_, alert) for print_, alert in self._firing.items() if print_ not in self._cured)
        over = {print_: alert for print_, alert in firing if whose(alert.labels)}
        self._cured |= over.keys()
        return [msgspec.structs.replace(alert, ends_at=now) for alert in over.values()]

    def _alert(self, labels: dict[str, str], at: float, fires: bool) -> Alert | None:
        """The alert to send. None when it was sent already."""
        print_ = fingerprint(labels)
        if fires:
            if print_ in self._firing:
                return None
            alert = self._firing[print_] = Alert(print_, at, None, labels, {})
            return alert
        before = self._firing.pop(print_, None)
        if before is None or print_ in self._cured:
            self._cured.discard(print_)
            return None
        return msgspec.structs.replace(before, ends_at=at)

    def _time(self, start: int, step: int) -> float:
        return float(max(start + step * self._history.step, self._history.start))


def _firings(recording: Recording) -> Iterator[tuple[dict[str, str], int, int]]:
    """The labels of alerts with the first step at which each fired and the step at which it had ended."""
    for one in recording.series:
        labels = {name: value for name, value in one.labels.items() if name not in _NOT_THEIRS}
        first = last = -1
        for run in one.runs:
            if first >= 0 and run.first > last:
                yield labels, first, last
                first = -1
            first = run.first if first < 0 else first
            last = recording.seen_from(run.end)
        if first >= 0:
            yield labels, first, last

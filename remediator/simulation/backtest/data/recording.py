"""A recording: the values of one expression at every step of a stretch, compact in memory and in files. Pure functions."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from remediator.clients.prometheus.client import RangeSeries
from remediator.decision.threshold_state import judge_value
from remediator.model.health import QueryStatus
from remediator.model.rules import Threshold
from remediator.simulation.scripted import Sample

_FEW = 16
"""At most this many values are judged one by one."""


class Run(NamedTuple):
    """Values at consecutive steps. The first is `first` steps after the start of the recording."""

    first: int
    values: array[float]

    @property
    def end(self) -> int:
        """The step after the last value."""
        return self.first + len(self.values)


class Recorded(NamedTuple):
    """One series: its labels, and the runs of its values, oldest first."""

    labels: dict[str, str]
    runs: list[Run]


class UnseenSpan(NamedTuple):
    """The steps from `first` to before `end`, at which the expression was not answered, with outcome and reason."""

    first: int
    end: int
    query_status: QueryStatus
    error: str


class Recording(msgspec.Struct, frozen=True):
    """The values of an expression at `start`, `start` + `step`, … (in seconds), `count` times in all.

    A `scalar` is a number without labels, which is false as a condition when it is 0. `unseen` are the spans in which the
    expression was not answered, oldest first.
    """

    start: int
    step: int
    count: int
    series: list[Recorded]
    scalar: bool = False
    unseen: list[UnseenSpan] = []

    def step_at(self, now: float) -> int:
        """The number of the last step at or before this time."""
        return math.floor((now - self.start) / self.step + 1e-6)

    @property
    def points(self) -> int:
        """The number of values, plus one for each series and unseen span."""
        values = sum(len(run.values) for one in self.series for run in one.runs)
        return values + len(self.series) + len(self.unseen) + 1

    def unseen_at(self, index: int) -> UnseenSpan | None:
        """The unseen span around a step. None when the step was answered."""
        place = bisect_right(self.unseen, index, key=lambda part: part.first) - 1
        return self.unseen[place] if place >= 0 and index < self.unseen[place].end else None

    @property
    def borders(self) -> list[int]:
        """The steps at which an unseen span begins or ends, in order."""
        return [step for part in self.unseen for step in (part.first, part.end)]

    def border_after(self, now: float) -> float:
        """The time of the next border after `now`; infinity when there is none."""
        later = (step for step in self.borders if step > self.step_at(now))
        return next((float(self.start + step * self.step) for step in later), math.inf)

    def seen_from(self, index: int) -> int:
        """The first answered step from `index` on; `count` when there is none."""
        while (part := self.unseen_at(index)) is not None:
            index = part.end
        return min(index, self.count)


class _Kept(msgspec.Struct, array_like=True):
    """The file format of a recording."""

    start: int
    step: int
    count: int
    scalar: bool
    series: list[tuple[dict[str, str], list[tuple[int, bytes]]]]
    unseen: list[UnseenSpan] = []


_FILES = msgspec.msgpack.Decoder(_Kept)


def recorded(lines: Iterable[RangeSeries], start: int, step: int, count: int) -> Recording:
    """The answer to a range query as a recording."""
    return Recording(start, step, count, [Recorded(line.labels, _runs(line, start, step)) for line in lines])


def joined(parts: Sequence[Recording]) -> Recording:
    """Consecutive recordings of one expression, joined."""
    first = parts[0]
    series: dict[tuple[tuple[str, str], ...], Recorded] = {}
    unseen: list[UnseenSpan] = []
    for part in parts:
        offset = round((part.start - first.start) / first.step)
        for one in part.series:
            runs = series.setdefault(_key(one.labels), Recorded(one.labels, [])).runs
            for run in one.runs:
                if runs and runs[-1].end == run.first + offset:
                    runs[-1].values.extend(run.values)
                else:
                    runs.append(Run(run.first + offset, run.values[:]))
        for blank in part.unseen:
            blank = blank._replace(first=blank.first + offset, end=blank.end + offset)
            if unseen and unseen[-1].end == blank.first and unseen[-1][2:] == blank[2:]:
                blank = blank._replace(first=unseen.pop().first)
            unseen.append(blank)
    return Recording(first.start, first.step, offset + part.count, list(series.values()), unseen=unseen)


def encode(recording: Recording) -> bytes:
    """The recording in the format of files."""
    plain = [(labels, [(run.first, run.values.tobytes()) for run in runs]) for labels, runs in recording.series]
    return msgspec.msgpack.encode(
        _Kept(recording.start, recording.step, recording.count, recording.scalar, plain, recording.unseen)
    )


def decode(data: bytes) -> Recording:
    """The recording in a file's content. ValueError when the content is not a recording."""
    kept = _FILES.decode(data)
    series = []
    for labels, plain in kept.series:
        runs = []
        for first, values in plain:
            run = Run(first, array("d"))
            run.values.frombytes(values)
            runs.append(run)
        series.append(Recorded(labels, runs))
    return Recording(kept.start, kept.step, kept.count, series, kept.scalar, kept.unseen)


def turns(runs: Sequence[Run], threshold: Threshold) -> list[int]:
    """The steps at which the judgement of a series changes, or the series begins or ends, in order."""
    found: list[int] = []
    for run in runs:
        if not found or found[-1] != run.first:
            found.append(run.first)
        found += (run.first + index for index in _turns(run.values, threshold))
        found.append(run.end)
    return found


def value_at(runs: Sequence[Run], index: int) -> Sample:
    """The value at a step, or None."""
    place = bisect_right(runs, index, key=lambda run: run.first) - 1
    if place < 0 or index >= runs[place].end:
        return None
    return runs[place].values[index - runs[place].first]


def _runs(line: RangeSeries, start: int, step: int) -> list[Run]:
    points = line.points
    if not points:
        return []
    first, last = round((points[0][0] - start) / step), round((points[-1][0] - start) / step)
    if last - first == len(points) - 1:
        return [Run(first, array("d", [value for _, value in points]))]
    runs: list[Run] = []
    for at, value in points:
        index = round((at - start) / step)
        if not runs or runs[-1].end != index:
            runs.append(Run(index, array("d")))
        runs[-1].values.append(value)
    return runs


def _turns(values: array[float], threshold: Threshold) -> Iterator[int]:
    """The indexes of values that are judged differently from the one before."""
    stretches = [(0, len(values))]
    before: object = None
    while stretches:
        low, high = stretches.pop()
        part = values[low:high] if high - low < len(values) else values
        if (judged := _alike(part, threshold)) is not None:
            if before is not None and judged != before:
                yield low
            before = judged
        elif high - low > _FEW:
            middle = (low + high) // 2
            stretches += [(middle, high), (low, middle)]
        else:
            for index in range(low, high):
                judged = judge_value(threshold, values[index])
                if before is not None and judged != before:
                    yield index
                before = judged


def _alike(values: array[float], threshold: Threshold) -> object:
    """The judgement of all values, when minimum and maximum have the same. None when that proves nothing.

    Each comparison cuts the numbers in two, so values between two finite ones of equal judgement share it.
    """
    if not math.isfinite(sum(values)):
        return None
    comparisons = (threshold.degraded, threshold.failed)
    if any(comparison is not None and comparison.op in ("==", "!=") for comparison in comparisons):
        return None
    lowest = judge_value(threshold, min(values))
    return lowest if lowest == judge_value(threshold, max(values)) else None


def _key(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))

"""A recording: what one expression answered at every step of a stretch of time, compact in memory and in files. Pure."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from remediator.breach import judge_value
from remediator.prometheus import Line
from remediator.rehearsal.stage import Sample
from remediator.rulebook import Threshold

_FEW = 16
"""So many values are looked at one by one."""


class Run(NamedTuple):
    """Values at every step without a gap, the first of them `first` steps after the start of the recording."""

    first: int
    values: array[float]

    @property
    def end(self) -> int:
        """The step at which there is none any more."""
        return self.first + len(self.values)


class Recorded(NamedTuple):
    """One series: its labels, and its values as runs, oldest first."""

    labels: dict[str, str]
    runs: list[Run]


class Recording(msgspec.Struct, frozen=True):
    """What an expression answered at `start`, `start` + `step`, … (in seconds), `count` times in all. `scalar` says that
    it is a number without labels, which as a condition is false when it is 0."""

    start: int
    step: int
    count: int
    series: list[Recorded]
    scalar: bool = False

    def step_at(self, now: float) -> int:
        """The number of the last step that is not after this time."""
        return math.floor((now - self.start) / self.step + 1e-6)


class _Kept(msgspec.Struct, array_like=True):
    """A recording in a file."""

    start: int
    step: int
    count: int
    scalar: bool
    series: list[tuple[dict[str, str], list[tuple[int, bytes]]]]


_FILES = msgspec.msgpack.Decoder(_Kept)


def recorded(lines: Iterable[Line], start: int, step: int, count: int) -> Recording:
    """A recording of the answer to a range query."""
    return Recording(start, step, count, [Recorded(line.labels, _runs(line, start, step)) for line in lines])


def joined(first: Recording, second: Recording) -> Recording:
    """Two recordings of the same expression, the second of which goes on where the first ends."""
    series = {_key(one.labels): Recorded(one.labels, list(one.runs)) for one in first.series}
    offset = round((second.start - first.start) / first.step)
    for one in second.series:
        runs = series.setdefault(_key(one.labels), Recorded(one.labels, [])).runs
        for run in one.runs:
            run = Run(run.first + offset, run.values)
            if runs and runs[-1].end == run.first:
                run = Run(runs[-1].first, runs.pop().values + run.values)
            runs.append(run)
    return Recording(first.start, first.step, offset + second.count, list(series.values()))


def encode(recording: Recording) -> bytes:
    """The recording for a file."""
    plain = [(labels, [(run.first, run.values.tobytes()) for run in runs]) for labels, runs in recording.series]
    return msgspec.msgpack.encode(_Kept(recording.start, recording.step, recording.count, recording.scalar, plain))


def decode(data: bytes) -> Recording:
    """The recording of a file; ValueError when that is none."""
    kept = _FILES.decode(data)
    series = []
    for labels, plain in kept.series:
        runs = []
        for first, values in plain:
            run = Run(first, array("d"))
            run.values.frombytes(values)
            runs.append(run)
        series.append(Recorded(labels, runs))
    return Recording(kept.start, kept.step, kept.count, series, kept.scalar)


def turns(runs: Sequence[Run], threshold: Threshold) -> list[int]:
    """The steps at which a series is judged otherwise than the step before, or comes or goes; in order."""
    found: list[int] = []
    for run in runs:
        if not found or found[-1] != run.first:
            found.append(run.first)
        found += (run.first + index for index in _turns(run.values, threshold))
        found.append(run.end)
    return found


def value_at(runs: Sequence[Run], index: int) -> Sample:
    """The value at a step; None when there is none."""
    place = bisect_right(runs, index, key=lambda run: run.first) - 1
    if place < 0 or index >= runs[place].end:
        return None
    return runs[place].values[index - runs[place].first]


def _runs(line: Line, start: int, step: int) -> list[Run]:
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
    """The places within the values at which they are judged otherwise than the one before."""
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
    """How all of them are judged, when that is sure at a glance: what two finite values are judged to be, those between
    them are, too, as each comparison cuts the numbers in two. None when it is not."""
    if not math.isfinite(sum(values)):
        return None
    comparisons = (threshold.degraded, threshold.failed)
    if any(comparison is not None and comparison.op in ("==", "!=") for comparison in comparisons):
        return None
    lowest = judge_value(threshold, min(values))
    return lowest if lowest == judge_value(threshold, max(values)) else None


def _key(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))

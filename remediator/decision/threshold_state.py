"""One threshold that watches one service: `for`, `keep_for`, and the sentence that says what was seen. Pure.

A breach counts once the value was at least that bad for `for` seconds without a gap. It ends `keep_for` seconds after
the last evaluation that saw it. Degraded and failed have clocks of their own. A failed value is also at least degraded.
A breach that turns from degraded to failed counts as failed once it was failed for `for`. An evaluation that sees
nothing breaks `for`, because the time between is unknown, and ends no breach.
"""

from __future__ import annotations

import math

import msgspec

from remediator.model.durations import rough_duration
from remediator.model.health import Comparison, Health, QueryStatus, Reading
from remediator.model.rules import Threshold


class BreachState(msgspec.Struct, frozen=True, gc=False):
    """The clock of one level of badness. All None means no breach.

    `since` is when the unbroken breach began, and `last` when it was last seen. `began` is when the breach began that
    counts; it is set until that breach ends.
    """

    since: float | None = None
    last: float | None = None
    began: float | None = None


NO_BREACH = BreachState()


class ThresholdState(msgspec.Struct, frozen=True, gc=False):
    """The state of one service by one threshold, as of the threshold's last evaluation.

    `value` and `series` are those of the worst series. `degraded` is the clock of degraded or worse. `absent` is when
    the service's series went missing; None while they are there.
    """

    health: Health
    since: float
    query_status: QueryStatus
    value: float | None
    series: dict[str, str]
    degraded: BreachState = NO_BREACH
    failed: BreachState = NO_BREACH
    absent: float | None = None

    @property
    def inactive(self) -> bool:
        """Whether the service is healthy and no breach is under way, which is so of most services most of the time."""
        return self.health is Health.HEALTHY and self.degraded is NO_BREACH

    @property
    def pending(self) -> bool:
        """Whether a breach is seen that does not count yet, or counts only as degraded though it is failed."""
        return self.degraded.since is not None and (
            self.degraded.began is None or (self.failed.since is not None and self.failed.began is None)
        )

    @property
    def kept(self) -> bool:
        """Whether a breach counts that is no longer seen."""
        return (self.degraded.began is not None and self.degraded.since is None) or (
            self.failed.began is not None and self.failed.since is None
        )

    @property
    def state(self) -> tuple[Health, QueryStatus, bool, bool]:
        """The part of the state whose change makes a new decision worthwhile."""
        return (self.health, self.query_status, self.pending, self.kept)


NO_SERIES: dict[str, str] = {}


def judge_value(threshold: Threshold, value: float) -> tuple[Health, QueryStatus]:
    """The health by the value alone. Neither NaN nor an infinity says anything: a division by zero makes them."""
    if math.isfinite(value):
        return threshold.judge(value), QueryStatus.SEEN
    return Health.UNKNOWN, QueryStatus.NOT_A_NUMBER if math.isnan(value) else QueryStatus.INFINITE


def beyond(threshold: Threshold, health: Health, value: float) -> float:
    """How far a value is beyond the bound of this health, to find the worst among equals. For healthy values the
    nearest to the bound is the worst."""
    comparison = threshold.failed if health is Health.FAILED else threshold.degraded or threshold.failed
    if comparison is None or not math.isfinite(value):
        return -math.inf
    distance = value - comparison.bound
    if comparison.op in (">", ">="):
        return distance
    if comparison.op in ("<", "<="):
        return -distance
    return abs(distance) if comparison.op == "!=" else -abs(distance)


def advance(
    track: ThresholdState | None,
    threshold: Threshold,
    now: float,
    health: Health,
    query_status: QueryStatus,
    value: float | None,
    series: dict[str, str],
    *,
    gap: bool = False,
) -> ThresholdState:
    """The track after an evaluation at `now`.

    `health` is what the worst series says by itself, and counts only if the status is SEEN. `gap` says that the
    evaluation before was too long ago to know what happened between.
    """
    if (
        track is not None
        and track.inactive
        and health is Health.HEALTHY
        and query_status is QueryStatus.SEEN
        and not gap
    ):
        unchanged = track.value == value and track.series is series
        return track if unchanged else ThresholdState(Health.HEALTHY, track.since, query_status, value, series)
    before = (track.degraded, track.failed) if track is not None else (NO_BREACH, NO_BREACH)
    degraded, failed = (_unseen(before[0]), _unseen(before[1])) if gap else before
    if query_status is not QueryStatus.SEEN:
        absent = None
        if query_status is QueryStatus.NO_DATA:
            absent = track.absent if track is not None and track.absent is not None else now
        if track is not None and track.query_status is query_status and track.value == value and track.absent == absent:
            return track
        since = track.since if track is not None and track.health is Health.UNKNOWN else now
        return ThresholdState(
            Health.UNKNOWN, since, query_status, value, series, _unseen(degraded), _unseen(failed), absent
        )
    degraded = _step(degraded, health.bad, now, threshold)
    failed = _step(failed, health is Health.FAILED, now, threshold)
    since, counted = now, Health.HEALTHY
    if failed.began is not None:
        counted, since = Health.FAILED, _turned(before[1], failed, now)
    elif degraded.began is not None:
        counted, since = Health.DEGRADED, _turned(before[0], degraded, now)
    if counted.bad and track is not None and track.query_status is QueryStatus.STALE:
        # A breach from before a restart that is still seen has lasted all the time.
        since = (failed if counted is Health.FAILED else degraded).began or now
    # Healthy counts from the first evaluation that saw no breach at all: with a pending breach, health is not reliable.
    unsettled = counted is Health.HEALTHY and (degraded.since is not None or before[0].since is not None)
    if track is not None and track.health is counted and not unsettled and not gap:
        since = track.since
    return ThresholdState(counted, since, query_status, value, series, degraded, failed)


def _step(level: BreachState, breached: bool, now: float, threshold: Threshold) -> BreachState:
    if breached:
        since = now if level.since is None else level.since
        began = level.began
        if began is None and now - since >= threshold.for_:
            began = since
        return BreachState(since, now, began)
    if level.began is None or level.last is None or now - level.last >= threshold.keep_for:
        return NO_BREACH
    return level if level.since is None else BreachState(None, level.last, level.began)


def _unseen(level: BreachState) -> BreachState:
    if level.since is None:
        return level
    return NO_BREACH if level.began is None else BreachState(None, level.last, level.began)


def _turned(before: BreachState, level: BreachState, now: float) -> float:
    """Since when a breach counts: from its beginning if it has just come to count, else from now."""
    if level.began is not None and before.began is None:
        return level.began
    return now


def reading(threshold: Threshold, track: ThresholdState, at: float, error: str) -> Reading:
    """A track as a reading with its sentence. `error` is the query's error, or its warnings."""
    return Reading(
        threshold.name,
        track.health,
        at,
        track.since,
        track.query_status,
        track.value,
        track.series,
        _sentence(threshold, track, at, error),
    )


def _sentence(threshold: Threshold, track: ThresholdState, at: float, error: str) -> str:
    name, value = threshold.name, ""
    if track.value is not None:
        value = format_value(track.value, threshold.unit)
    if track.query_status is not QueryStatus.SEEN:
        return f"{name} {_unseen_text(track, value, at, error)}"
    failed = threshold.failed is not None and (track.health is Health.FAILED or track.failed.since is not None)
    level, comparison = (track.failed, threshold.failed) if failed else (track.degraded, threshold.degraded)
    if comparison is None or (level.since is None and level.last is None):
        return f"{name} {value} ({track.health})"
    if level.since is None:
        ago, kept = rough_duration(at - (level.last or at)), rough_duration(threshold.keep_for)
        was = f"was {comparison.op} {format_value(comparison.bound, threshold.unit)} {ago} ago"
        return f"{name} {value}, {was}, which is kept for {kept} ({track.health})"
    breach = f"{name} {_compared(comparison, track.value or 0.0, threshold.unit)}"
    lasted = rough_duration(at - level.since)
    if level.began is None:
        return f"{breach} for {lasted} of {rough_duration(threshold.for_)}, pending ({track.health})"
    return f"{breach} for {lasted} ({track.health})" if at > level.since else f"{breach} ({track.health})"


def _unseen_text(track: ThresholdState, value: str, at: float, error: str) -> str:
    if track.query_status is QueryStatus.NO_DATA:
        if track.absent is None:
            return "has no series for it"
        return f"has had no series for it for {rough_duration(at - track.absent)}"
    if track.query_status in (QueryStatus.NOT_A_NUMBER, QueryStatus.INFINITE):
        return f"is {value}, which says nothing"
    if track.query_status is QueryStatus.NATIVE_HISTOGRAM:
        return "is a native histogram, which says nothing: make a number of it, as with histogram_quantile(…)"
    if track.query_status is QueryStatus.STALE:
        return "has not been looked at since the start"
    if track.query_status is QueryStatus.PARTIAL:
        return f"is {value or 'nothing'} by data that may be incomplete: {error}"
    return f"cannot be seen: {error}"


def _compared(comparison: Comparison, value: float, unit: str) -> str:
    """`20% > 10%`, with as many digits as are needed to tell the two apart."""
    for digits in (3, 5, 8, 17):
        shown, bound = format_value(value, unit, digits), format_value(comparison.bound, unit, digits)
        if shown != bound or value == comparison.bound:
            break
    return f"{shown} {comparison.op} {bound}"


_BYTES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def format_value(value: float, unit: str, digits: int = 3) -> str:
    """A number for people: `ratio` as a percentage, `seconds` and `bytes` in a fitting size, any other unit after the
    number."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if unit == "ratio":
        return f"{_number(value * 100, digits)}%"
    if unit == "percent":
        return f"{_number(value, digits)}%"
    if unit == "seconds":
        if 0 < abs(value) < 1:
            return f"{_number(value * 1000, digits)}ms"
        return f"{_number(value, digits)}s" if abs(value) < 120 or digits > 3 else rough_duration(value)
    if unit == "bytes":
        step = 0
        while abs(value) >= 1024 and step < len(_BYTES) - 1:
            value, step = value / 1024, step + 1
        return f"{_number(value, digits)}{_BYTES[step]}"
    return f"{_number(value, digits)} {unit}".rstrip()


def _number(value: float, digits: int) -> str:
    """Significant digits without an exponent for the sizes that people read. Digits before the point are never rounded
    away."""
    if abs(value) >= 1e15 or 0 < abs(value) < 1e-6:
        return f"{value:.{digits}g}"
    if abs(value) >= 10**digits:
        return f"{value:.0f}"
    size = math.floor(math.log10(abs(value))) if value else 0
    text = f"{value:.{max(0, digits - 1 - size)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

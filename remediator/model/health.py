"""The health of a service: comparisons with a value, the readings of thresholds, and the judgement made of them."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from enum import StrEnum

import msgspec


class Health(StrEnum):
    """The health of a service. UNKNOWN means not seen, and never counts as FAILED."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILED = "failed"
    RECOVERING = "recovering"
    UNKNOWN = "unknown"

    @property
    def bad(self) -> bool:
        """Whether trouble was seen."""
        return self in (Health.DEGRADED, Health.FAILED)


_WORST_FIRST = (Health.FAILED, Health.DEGRADED, Health.UNKNOWN, Health.RECOVERING, Health.HEALTHY)


def worst(healths: Iterable[Health]) -> Health:
    """The worst of them. Seen trouble comes before unknown, which comes before healthy. UNKNOWN when there are none."""
    return min(healths, key=_WORST_FIRST.index, default=Health.UNKNOWN)


_COMPARISON = re.compile(r"\s*(==|!=|>=|<=|>|<)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?Inf)\s*")
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class Comparison(msgspec.Struct, frozen=True):
    """A PromQL comparison with a number, such as `>= 0.05`."""

    op: str
    bound: float

    def holds(self, value: float) -> bool:
        """Whether `value` fulfils it. NaN never does."""
        return not math.isnan(value) and _OPERATORS[self.op](value, self.bound)

    def __str__(self) -> str:
        return f"{self.op} {self.bound:g}"


def parse_comparison(text: str) -> Comparison:
    """Parse a comparison. ValueError with a sentence when the text is none."""
    found = _COMPARISON.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a comparison with a number such as '> 0.10' or '>= 5'")
    return Comparison(found[1], float(found[2]))


class QueryStatus(StrEnum):
    """The result of evaluating one threshold for one service. Only SEEN says anything about health."""

    SEEN = "seen"
    NO_DATA = "no_data"
    """The query answered, but held no series for the service."""
    NOT_A_NUMBER = "not_a_number"
    INFINITE = "infinite"
    NATIVE_HISTOGRAM = "native_histogram"
    """The series is a native histogram, which no comparison can judge."""
    BAD_DATA = "bad_data"
    """Prometheus refused the expression."""
    EXECUTION = "execution"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    BAD_ANSWER = "bad_answer"
    """Something answered that was not Prometheus' query API."""
    STALE = "stale"
    """The last evaluation is older than `stale_after`."""
    PARTIAL = "partial"
    """The server said that data may be missing, so neither health nor trouble can be concluded from the answer."""


class Reading(msgspec.Struct, frozen=True):
    """One threshold's view of one service at one time.

    `value` is that of the worst series, whose labels are `series`. `health` is what the service is by this threshold
    after `for` and `keep_for`; `since` is when it became that, `at` when it was last evaluated.
    """

    threshold: str
    health: Health
    at: float
    since: float
    query_status: QueryStatus = QueryStatus.SEEN
    value: float | None = None
    series: dict[str, str] = {}
    text: str = ""
    """A sentence: `error_ratio 0.2 > 0.1 for 15s`, or why nothing was seen."""


class Judgement(msgspec.Struct, frozen=True):
    """What a service is, from all its readings.

    `since` is when it became so, `at` the time of the oldest evaluation used, `text` the sentence that says why.
    """

    health: Health
    at: float
    since: float
    text: str
    readings: tuple[Reading, ...] = ()

    def aged(self, now: float, stale_after: float) -> Judgement:
        """The judgement at `now`: UNKNOWN once the evaluation is older than `stale_after` seconds."""
        if now - self.at <= stale_after:
            return self
        text = f"last seen {now - self.at:.0f}s ago, longer than stale_after {stale_after:.0f}s"
        return Judgement(Health.UNKNOWN, self.at, self.at + stale_after, text, self.readings)


UNSEEN = Judgement(Health.UNKNOWN, 0.0, 0.0, "not looked at yet")

"""How far back Prometheus remembers, and how long the stretches may be in which a backtest asks it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from remediator.clients.prometheus.client import Prometheus
from remediator.errors import RemoteError
from remediator.model.health import QueryStatus
from remediator.model.rulebook import Rulebook
from remediator.rules.guards import with_guards
from remediator.simulation.backtest.data.prometheus_sources import PrometheusSources
from remediator.simulation.backtest.data.range_queries import shown
from remediator.template.compile import templated

IN_MEMORY = 8_000_000
"""The most points of all expressions together in memory."""
_GRID = (86400, 43200, 21600, 10800, 3600, 1800, 600, 120)
"""The possible lengths of a stretch, in seconds."""
_POINTS = 10_999
"""Prometheus answers with at most 11,000 points per series, and a stretch has one at either end."""
_AT_ONCE = 400_000
"""The most points in one answer, well below the limit of its size in bytes."""
_HOUR, _DAY = 3600, 86_400


def beginning(prometheus: Prometheus | PrometheusSources, start: int, end: int, step: int) -> int:
    """The time in seconds, to the hour, before which Prometheus has no series: `start` or a later multiple of the step.

    Without any series it is the start of the last day.
    """
    if prometheus.remembers_blocking(start, min(start + _DAY, end)) is not False:
        return start
    if prometheus.remembers_blocking(start, end) is False:
        return max(start, (end - _DAY) // step * step)
    nothing, something = start, end
    while something - nothing > max(_HOUR, step):
        middle = (nothing + something) // 2 // step * step
        if prometheus.remembers_blocking(start, middle) is False:
            nothing = middle
        else:
            something = middle
    return nothing


def stretch_for(
    prometheus: Prometheus | PrometheusSources, exprs: Sequence[str], times: Sequence[int], step: int
) -> int:
    """The length of a stretch in seconds, chosen by the number of series that the expressions have at these times."""
    most = [max(_counts(prometheus, expr, times, step), default=0) for expr in exprs]
    for points in (stretch // step for stretch in _GRID):
        if points <= _POINTS and points * max(most, default=0) <= _AT_ONCE and points * sum(most) <= IN_MEMORY:
            break
    return max(points, 1) * step


def plain_conditions(rulebook: Rulebook) -> Iterator[str]:
    """The conditions and replica counts of steps that have no template. Templates are only known when they are asked."""
    for runbook in rulebook.runbooks:
        for step in runbook.steps:
            count = step.args.get("replicas")
            for text in (step.if_, step.unless, count if isinstance(count, str) else ""):
                expr = with_guards(text, guard_empty=step.guard_empty).strip()
                if expr and not templated(expr):
                    yield expr


def _counts(prometheus: Prometheus | PrometheusSources, expr: str, times: Sequence[int], step: int) -> Iterator[float]:
    for at in times:
        answer = prometheus.query_range_blocking(f"count(\n{expr}\n)", at, at, step)
        if answer.query_status is QueryStatus.BAD_DATA:
            # A scalar cannot be counted. An expression that is not PromQL at all fails later, when it is asked.
            yield 1
        elif answer.query_status is QueryStatus.EXECUTION:
            # An expression that fails at this time has no series then.
            continue
        elif answer.query_status is not QueryStatus.SEEN:
            raise RemoteError(f"cannot replay {shown(expr)}: {answer.error}", retry=True)
        else:
            yield from (value for line in answer.lines for _, value in line.points)

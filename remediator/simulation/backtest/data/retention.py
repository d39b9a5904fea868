"""How far back a backtest can go, and in stretches of what length Prometheus is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from remediator.clients.prometheus.client import Prometheus
from remediator.errors import RemoteError
from remediator.model.health import QueryStatus
from remediator.model.rulebook import Rulebook
from remediator.rules.guards import with_guards
from remediator.simulation.backtest.data.range_queries import shown
from remediator.template.compile import templated

IN_MEMORY = 8_000_000
"""So many points of all expressions together are held in memory."""
_GRID = (86400, 43200, 21600, 10800, 3600, 1800, 600, 120)
"""How long a stretch may be, in seconds."""
_POINTS = 10_999
"""The most points of a series that Prometheus answers with is 11,000; a stretch has one at either end."""
_AT_ONCE = 400_000
"""So many points in one answer are a fraction of what it may have in bytes."""
_HOUR, _DAY = 3600, 86_400


def beginning(prometheus: Prometheus, start: int, end: int, step: int) -> int:
    """From when on there may be anything, to the hour, in seconds: `start`, or a later multiple of the step before which
    Prometheus has no series at all. When there are none the last day is left."""
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


def stretch_for(prometheus: Prometheus, exprs: Sequence[str], times: Sequence[int], step: int) -> int:
    """How long a stretch of these expressions may be, in seconds, by how many series they have at some times."""
    most = [max(_counts(prometheus, expr, times, step), default=0) for expr in exprs]
    for points in (stretch // step for stretch in _GRID):
        if points <= _POINTS and points * max(most, default=0) <= _AT_ONCE and points * sum(most) <= IN_MEMORY:
            break
    return max(points, 1) * step


def plain_conditions(rulebook: Rulebook) -> Iterator[str]:
    """The conditions and counts that steps ask for, but those with templates: of these it is not known what will be asked."""
    for runbook in rulebook.runbooks:
        for step in runbook.steps:
            count = step.args.get("replicas")
            for text in (step.if_, step.unless, count if isinstance(count, str) else ""):
                expr = with_guards(text).strip()
                if expr and not templated(expr):
                    yield expr


def _counts(prometheus: Prometheus, expr: str, times: Sequence[int], step: int) -> Iterator[float]:
    for at in times:
        answer = prometheus.query_range_blocking(f"count(\n{expr}\n)", at, at, step)
        if answer.sight is QueryStatus.BAD_DATA:
            # A number without labels cannot be counted; what is no PromQL at all will be told of when it is asked.
            yield 1
        elif answer.sight is QueryStatus.EXECUTION:
            # What cannot be answered of this time has no series then.
            continue
        elif answer.sight is not QueryStatus.SEEN:
            raise RemoteError(f"cannot replay {shown(expr)}: {answer.error}", retry=True)
        else:
            yield from (value for line in answer.lines for _, value in line.points)

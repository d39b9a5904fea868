"""A Prometheus that remembers what a test says, for replays: series by expression, as functions of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from remediator.clients.prometheus.client import Answer, Range, RangeSeries, Series
from remediator.model.health import QueryStatus
from remediator.simulation.backtest.data.history import ALERTS, History

DAY = 86_400
START = 1_700_006_400
"""2023-11-15 00:00:00 UTC."""

Value = Callable[[int], float | None]


class Remembered:
    """What `History` asks of Prometheus. Times are seconds since START."""

    def __init__(self) -> None:
        self.series: dict[str, list[tuple[dict[str, str], Value]]] = {}
        self.asked: list[str] = []
        self.failing: list[tuple[str, Range, Callable[[int], bool]]] = []

    def has(self, expr: str, value: Value, **labels: str) -> None:
        """A series of an expression."""
        self.series.setdefault(expr, []).append((labels, value))

    def fired(self, since: int, until: int, **labels: str) -> None:
        """An alert that fired then."""
        self.has(
            ALERTS,
            lambda at: 1.0 if since <= at < until else None,
            __name__="ALERTS",
            alertstate="firing",
            **labels,
        )

    def fails(
        self,
        expr: str,
        when: Callable[[int], bool],
        error: str = "many-to-many",
        query_status: QueryStatus = QueryStatus.EXECUTION,
    ) -> None:
        """Queries of an expression that have a step at such a time are not answered."""
        self.failing.append((expr, Range(query_status, error=error), when))

    def warns(self, expr: str, when: Callable[[int], bool], warning: str = "a store is away") -> None:
        """Queries of an expression that have a step at such a time are answered with a warning."""
        self.failing.append((expr, Range(QueryStatus.SEEN, warnings=(warning,)), when))

    def query_blocking(self, expr: str) -> Answer:
        """Only whether it is a scalar is asked for."""
        return Answer(
            START, QueryStatus.SEEN, [Series({}, 1.0)], kind="scalar" if expr.startswith("scalar") else "vector"
        )

    def query_range_blocking(self, expr: str, start: int, end: int, step: int) -> Range:
        self.asked.append(expr)
        lines = []
        at_fault = [
            answer
            for failing, answer, when in self.failing
            if failing == expr and any(when(at - START) for at in range(start, end + 1, step))
        ]
        if at_fault and at_fault[0].query_status is not QueryStatus.SEEN:
            return at_fault[0]
        for labels, value in self.series.get(expr, []):
            points = [(float(at), value(at - START)) for at in range(start, end + 1, step)]
            given = [(at, number) for at, number in points if number is not None]
            if given:
                lines.append(RangeSeries(labels, given))
        return Range(QueryStatus.SEEN, lines, warnings=at_fault[0].warnings if at_fault else ())

    def history(
        self, folder: Path, seconds: int = DAY, *, step: int = 15, stretch: int = 4 * 3600, **given: bool
    ) -> History:
        """What it remembers of so many seconds."""
        end = START + seconds
        return History(self, "http://remembered", folder, START, end, step, stretch, **given)  # type: ignore[arg-type]


def troubled(*episodes: tuple[int, int], good: float = 0.01, bad: float = 0.3) -> Value:
    """A value that is bad from some times to others."""
    return lambda at: bad if any(since <= at < until for since, until in episodes) else good


Labels = Mapping[str, str]

"""Several Prometheis as one for a backtest: each expression is asked of the one that its threshold or step names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from remediator.clients.prometheus.client import Answer, Prometheus, Range
from remediator.errors import RemediatorError
from remediator.model.rulebook import Rulebook


class PrometheusSources:
    """The Prometheis by name, the default one first. `named` tells which of them answers an expression."""

    def __init__(self, sources: Mapping[str, Prometheus], named: Mapping[str, str]) -> None:
        self._sources = sources
        self._named = named
        self._default = next(iter(sources.values()))

    def query_blocking(self, expr: str) -> Answer:
        """Evaluate an expression at the present time."""
        return self._of(expr).query_blocking(expr)

    def query_range_blocking(self, expr: str, start: int, end: int, step: int) -> Range:
        """Evaluate an expression at `start`, `start` + `step`, … up to `end`, in seconds."""
        return self._of(expr).query_range_blocking(expr, start, end, step)

    def remembers_blocking(self, start: int, end: int) -> bool | None:
        """Whether any of them has series of this time. None when that is unknown."""
        found = [source.remembers_blocking(start, end) for source in self._sources.values()]
        return True if True in found else None if None in found else False

    def _of(self, expr: str) -> Prometheus:
        expr = expr.strip().removeprefix("count(\n").removesuffix("\n)").strip()
        return self._sources.get(self._named.get(expr, ""), self._default)


def sources_of(rules: Iterable[Rulebook]) -> dict[str, str]:
    """The name of the Prometheus for each expression that names one. RemediatorError when one names several."""
    named: dict[str, str] = {}
    for rulebook in rules:
        steps = (step for runbook in rulebook.runbooks for step in runbook.steps)
        pairs = [(threshold.expr, threshold.prometheus) for threshold in rulebook.thresholds]
        pairs += [(expr, step.prometheus) for step in steps for expr in (step.if_, step.unless)]
        for expr, source in pairs:
            if expr and named.setdefault(expr.strip(), source) != source:
                raise RemediatorError(
                    f"cannot backtest {' '.join(expr.split())[:80]}: it is asked of several Prometheis, and an answer is"
                    " kept by its expression: write it differently for each"
                )
    return named

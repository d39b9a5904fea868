"""Several Prometheis in a backtest: each expression is asked of the one that the rules name."""

from typing import Any

import pytest

from remediator.clients.prometheus.client import Answer, Range
from remediator.errors import RemediatorError
from remediator.model.health import QueryStatus, parse_comparison
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Runbook, Step, Threshold
from remediator.simulation.backtest.data.prometheus_sources import PrometheusSources, sources_of


class Asked:
    """A Prometheus that notes what it is asked."""

    def __init__(self, remembers: bool | None = True) -> None:
        self.asked: list[str] = []
        self.remembers = remembers

    def query_blocking(self, expr: str) -> Answer:
        self.asked.append(expr)
        return Answer(0.0, QueryStatus.SEEN)

    def query_range_blocking(self, expr: str, *_: Any) -> Range:
        self.asked.append(expr)
        return Range(QueryStatus.SEEN)

    def remembers_blocking(self, *_: Any) -> bool | None:
        return self.remembers


def threshold(name: str, expr: str, prometheus: str = "") -> Threshold:
    return Threshold(name, expr, failed=parse_comparison("> 1"), prometheus=prometheus)


def test_each_expression_is_asked_where_the_rules_say() -> None:
    step = Step(name="restart", action="restart", unless="deploys > 0", prometheus="eu")
    rules = Rulebook([], [threshold("a", "in_us"), threshold("b", " in_eu\n", "eu")], [Runbook("all", (step,))])
    us, eu = Asked(), Asked()
    prometheis = PrometheusSources({"us": us, "eu": eu}, sources_of([rules]))  # type: ignore[dict-item]
    for expr in ("in_us", "in_eu", "count(\nin_eu\n)", "deploys > 0", "ALERTS"):
        prometheis.query_range_blocking(expr, 0, 60, 15)
        prometheis.query_blocking(expr)
    assert us.asked == ["in_us"] * 2 + ["ALERTS"] * 2
    assert eu.asked == ["in_eu"] * 2 + ["count(\nin_eu\n)"] * 2 + ["deploys > 0"] * 2


def test_an_expression_that_two_are_asked_is_refused() -> None:
    rules = Rulebook([], [threshold("a", "errors"), threshold("b", "errors", "eu")], [])
    with pytest.raises(RemediatorError, match="cannot backtest errors: it is asked of several Prometheis"):
        sources_of([rules])


@pytest.mark.parametrize(
    ("one", "other", "remembers"), [(True, None, True), (False, None, None), (False, False, False), (None, True, True)]
)
def test_what_any_of_them_remembers_is_remembered(one: bool | None, other: bool | None, remembers: bool | None) -> None:
    sources: Any = {"us": Asked(one), "eu": Asked(other)}
    assert PrometheusSources(sources, {}).remembers_blocking(0, 60) is remembers

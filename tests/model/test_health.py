"""Health, comparisons and judgements that age."""

from __future__ import annotations

import math

import pytest

from remediator.model.health import Comparison, Health, Judgement, parse_comparison, worst


@pytest.mark.parametrize(
    ("text", "comparison"),
    [
        ("> 0.10", Comparison(">", 0.1)),
        (">=5", Comparison(">=", 5.0)),
        (" < -1e3 ", Comparison("<", -1000.0)),
        ("<= .5", Comparison("<=", 0.5)),
        ("== 0", Comparison("==", 0.0)),
        ("!= 1.", Comparison("!=", 1.0)),
        ("< +Inf", Comparison("<", math.inf)),
    ],
)
def test_parse(text: str, comparison: Comparison) -> None:
    assert parse_comparison(text) == comparison


@pytest.mark.parametrize("text", ["", "5", "> ", "=> 5", "> 5%", "> five", "> 5 and < 9", "> NaN", "= 5"])
def test_what_is_no_comparison(text: str) -> None:
    with pytest.raises(ValueError, match="is not a comparison"):
        parse_comparison(text)


@pytest.mark.parametrize(
    ("op", "holds"),
    [
        ("==", (False, True, False)),
        ("!=", (True, False, True)),
        (">", (False, False, True)),
        (">=", (False, True, True)),
        ("<", (True, False, False)),
        ("<=", (True, True, False)),
    ],
)
def test_holds(op: str, holds: tuple[bool, ...]) -> None:
    assert tuple(Comparison(op, 1.0).holds(value) for value in (0.5, 1.0, 1.5)) == holds
    assert not Comparison(op, 1.0).holds(math.nan)


def test_infinities_compare() -> None:
    assert Comparison(">", 1.0).holds(math.inf)
    assert Comparison("<", 1.0).holds(-math.inf)


def test_the_worst() -> None:
    assert worst([]) is Health.UNKNOWN
    assert worst([Health.HEALTHY, Health.UNKNOWN]) is Health.UNKNOWN
    assert worst([Health.UNKNOWN, Health.DEGRADED]) is Health.DEGRADED
    assert worst(Health) is Health.FAILED


def test_only_trouble_that_was_seen_is_bad() -> None:
    assert [health for health in Health if health.bad] == [Health.DEGRADED, Health.FAILED]


def test_a_judgement_ages_to_unknown() -> None:
    judgement = Judgement(Health.FAILED, at=100.0, since=50.0, text="error_ratio 0.2 > 0.1")
    assert judgement.aged(130.0, stale_after=30.0) is judgement
    aged = judgement.aged(131.0, stale_after=30.0)
    assert aged.health is Health.UNKNOWN
    assert aged.since == 130.0
    assert aged.text == "last seen 31s ago, longer than stale_after 30s"

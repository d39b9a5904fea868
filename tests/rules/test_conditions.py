"""What the answer to a condition says, and which conditions are empty when they are false."""

from __future__ import annotations

import pytest

from remediator.clients.prometheus.client import Answer, Series
from remediator.model.health import QueryStatus
from remediator.rules.conditions import FalseFilter, false_filter, truth


def answered(*values: float, kind: str = "vector") -> Answer:
    return Answer(0.0, QueryStatus.SEEN, [Series({}, value) for value in values], kind=kind)


@pytest.mark.parametrize(
    ("asked", "values", "true"),
    [
        ("deploying", (0.0,), False),
        ("deploying", (2.0,), True),
        ("deploying", (), None),
        ("deploying > bool 5", (0.0, 0.0), False),
        # What a filter lets pass is true, be it 0.
        ("up == 0", (0.0,), True),
        ("load < 5", (0.0,), True),
        ("5 > load", (0.0,), True),
        ("max(up == 0)", (0.0,), True),
        ("up == 0 and on (instance) load > 5", (0.0,), True),
        ("load and on (instance) busy > 5", (0.0,), True),
        ("up unless on (instance) maintenance", (0.0,), True),
        ("up == 0", (), None),
        ("up > 0 or vector(0)", (0.0,), False),
        ("(up == 0) + on () vector(0)", (0.0,), True),
        ("(up == bool 0) and on (instance) (load > 5)", (0.0,), False),
        ("count(up == 0) > bool 0", (0.0,), False),
        ("(up == 0) == bool 1", (0.0,), False),
        # That absent() is empty says that there is something.
        ("absent(up)", (1.0,), True),
        ("absent(up)", (), False),
        ("absent(up) and absent(down)", (), False),
        ("absent(up) and up > 5", (), None),
        ("absent_over_time(up[5m])", (), False),
    ],
)
def test_what_an_answer_says(asked: str, values: tuple[float, ...], true: bool | None) -> None:
    assert truth(answered(*values), asked) is true


def test_an_empty_answer_may_be_said_to_be_false() -> None:
    assert truth(answered(), "up == 0", guard_empty=False) is False
    assert truth(answered(0.0), "up == 0", guard_empty=False) is True
    assert truth(Answer(0.0, QueryStatus.TIMEOUT, error="…"), "up == 0", guard_empty=False) is None


@pytest.mark.parametrize(
    ("expr", "found"),
    [
        ("deploying", None),
        ("deploying > bool 5", None),
        ("(a > bool 5) + (b > bool 3) > bool 1", None),
        ("absent(up)", None),
        ("up > 5 or vector(0)", None),
        ("time() % 3600 < bool 60", None),
        ("max(errors) / (max(requests) > 0) > bool 0.1", None),
        ("deploying > 5", FalseFilter(">", 1)),
        ("count(up == 0) > bool 1", FalseFilter("==", 3)),
        ("a > bool 5 and b == 0", FalseFilter("==", 6)),
        ("a > 5 or b > 3", FalseFilter(">", 1)),
        ("a unless b", FalseFilter("unless", 1)),
        ("absent(up > 5)", FalseFilter(">", 3, absent=True)),
        ("not PromQL >", None),
    ],
)
def test_what_makes_a_condition_empty_when_it_is_false(expr: str, found: FalseFilter | None) -> None:
    assert false_filter(expr) == found

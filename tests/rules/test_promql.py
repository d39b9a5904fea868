"""What is told of PromQL from its text, compared with what the real engine makes of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real.prometheus import part

from remediator.rules.promql import look_back, series_labels
from remediator.rules.promql_words import ahead, without_quoted_names, written_label
from remediator.simulation.ruletest.promtool_values import evaluate

ALL = {"service", "code", "pod", "le"}
SERIES = [
    ('x{service="a", code="500", pod="p", le="1"}', "1+1x20"),
    ('y{service="a", code="500", pod="p", le="1"}', "2+2x20"),
]
KEPT = {
    "x": ALL,
    "rate(x[5m])": ALL,
    "sum(x)": set(),
    "sum by (service) (x)": {"service"},
    "sum (x) by (service, code)": {"service", "code"},
    "SUM BY (service,) (x)": {"service"},
    "sum without (service) (x)": ALL - {"service"},
    "max without () (x)": ALL,
    "sum by (service) (sum without (service) (x))": set(),
    "sum without (code) (sum by (code, pod) (x))": {"pod"},
    "topk by (service) (1, sum by (pod) (x))": {"pod"},
    "quantile(0.5, x)": set(),
    'count_values by (pod) ("version", x)': {"pod", "version"},
    'label_replace(sum(x), "service", "$1", "y", "(.*)")': {"service"},
    'label_join(sum by (pod) (x), "both", ",", "pod")': {"pod", "both"},
    "histogram_quantile(0.9, sum by (service, le) (rate(x[5m])))": {"service", "le"},
    "sum by (service) (x) / on (service) sum by (service) (y)": {"service"},
    "sum(x) / sum(y) > bool 0.1": set(),
    "sum by (pod) (x) * on () group_left (service) sum by (service) (y)": {"pod", "service"},
    "-sum(x) ^ 2 or sum by (code) (y)": {"code"},
    "vector(1)": set(),
    "sum by (pod) (x) and on (pod) x": ALL,
    "sum(max_over_time(rate(x[1m])[5m:30s]))  # by (service)": set(),
    'sum by (code) (x{service="by (service) }", pod=~`.*`} or x offset 1m or x @ end())': {"code"},
    'absent(x{service="b"})': ALL,
}


@pytest.mark.parametrize("expr", KEPT)
def test_which_labels_series_keep(expr: str) -> None:
    told = series_labels(expr)
    assert told is not None
    assert {label for label in ALL if label in told} == KEPT[expr] & ALL


def quoted(expr: str) -> str:
    """The expression with its label names in the quotes of Prometheus 3."""
    return re.sub(
        r"\b(by|without|on|group_left)( \()([^()]*)(\))",
        lambda found: found[1] + found[2] + re.sub(r"\w+", r'"\g<0>"', found[3]) + found[4],
        expr,
        flags=re.IGNORECASE,
    )


@pytest.mark.parametrize(
    "expr", [expr for expr in KEPT if quoted(expr) != expr and "#" not in expr and "} " not in expr]
)
def test_names_in_quotes_are_the_same_names(expr: str) -> None:
    assert series_labels(quoted(expr)) == series_labels(expr)
    assert without_quoted_names(quoted(expr)) != quoted(expr)
    assert without_quoted_names(expr) == expr


def test_names_that_only_quotes_can_hold() -> None:
    for expr in (
        'sum by ("service.name") ({"http.server.errors"})',
        'sum by (\'service.name\', `ä b`) ({"http.server.errors", "x.y"="z"})',
        'sum by (pod) (x) * on (pod) group_left ("service.name") sum by (pod, "service.name") (y)',
        'label_replace(sum(x), "service.name", "$1", "a.b", "(.*)")',
    ):
        told = series_labels(expr)
        assert told is not None
        assert "service.name" in told
        assert "service" not in told
        assert len(without_quoted_names(expr)) == len(expr)
    assert series_labels(r'sum by ("a\x41") (x)') is None
    assert without_quoted_names('x{a="b", "c.d"=~"by (e)"}') == 'x{a="b", xxxxx=~"by (e)"}'
    assert [written_label(name) for name in ("service", "service.name", 'a"b', "1a")] == [
        "service",
        '"service.name"',
        r'"a\"b"',
        '"1a"',
    ]


def test_no_series_has_a_label_that_is_said_to_be_lost() -> None:
    part("promtool", "prometheus")
    for expr, series in evaluate(KEPT, SERIES, 60.0, 600.0, 600.0).items():
        told = series_labels(expr)
        assert told is not None
        for labels in series:
            assert [name for name, _ in labels if name != "__name__" and name not in told] == [], expr


@pytest.mark.parametrize(
    ("expr", "seconds"),
    [
        ("up", 0.0),
        ("rate(x[5m])", 300.0),
        ("sum(rate(x[5m])) / sum(rate(y[1h]))", 300.0),
        ("sum by (a) (increase(x[1h30m]))", 5400.0),
        ("avg_over_time(rate(x[1m])[10m:15s])", 660.0),
        ("avg_over_time(x[10m:])", 600.0),
        # What is compared with is no look back at the trouble, nor is what was a week ago.
        ("rate(x[5m]) > avg_over_time(y[1d])", 300.0),
        ("x > avg_over_time(x[1d])", 0.0),
        ("rate(x[5m]) / rate(x[1h] offset 1w)", 300.0),
        ("rate(x[1h] offset 1w)", 0.0),
        # Some functions look at the newest values alone.
        ("irate(x[5m])", 0.0),
        ("last_over_time(x[1h])", 0.0),
        ("max_over_time(x[5m])", 300.0),
        ("min_over_time(x[5m])", 0.0),
    ],
)
def test_how_far_an_expression_looks_back(expr: str, seconds: float) -> None:
    assert look_back(expr, 1) == seconds


@pytest.mark.parametrize(
    ("worse", "maximum", "minimum", "average"), [(1, 300.0, 0.0, 300.0), (-1, 0.0, 300.0, 300.0), (0, 0.0, 0.0, 300.0)]
)
def test_a_maximum_shows_at_once_that_small_values_have_ended(
    worse: int, maximum: float, minimum: float, average: float
) -> None:
    found = [look_back(f"{name}_over_time(x[5m])", worse) for name in ("max", "min", "avg")]
    assert found == [maximum, minimum, average]


@pytest.mark.parametrize(
    "expr",
    ["", "sum by (a", "x[5 minutes]", "x y", "sum by (a) x", "(", "x +", '"open', "label_replace(x, y, 1, 2, 3)", "x;"],
)
def test_what_is_not_understood_tells_nothing(expr: str) -> None:
    assert series_labels(expr) is None or look_back(expr, 1) is None


@given(st.text(alphabet="sumbyxrate(){}[]5m:,\"'=~+-/ #\n") | st.text())
def test_no_text_is_too_strange(text: str) -> None:
    series_labels(text)
    look_back(text, 1)


def test_no_depth_is_too_deep() -> None:
    assert series_labels("(" * 100_000) is None


@pytest.mark.parametrize(
    ("expr", "modifier"),
    [
        ("x", None),
        ("rate(x[5m] @ end())", "@ end()"),
        ("x @start ( )", "@ start()"),
        ("x @ 1700000001", "@ 1700000001"),
        ("x @ 1.8e9", "@ 1.8e9"),
        ("x @ 1700000000", None),
        ("x @ -1800000000", None),
        ("x offset 5m", None),
        ("x OFFSET - 5m > 1", "offset -5m"),
        ("x offset 5m - 3", None),
        ('x{path="@ end()"} # @ end()', None),
        ("x{path='it''s @ end()'} > 1", None),
        ("x\n# offset -5m\n", None),
        ("end - offset - 5", None),
        ("x @", None),
        ("x ? @ end()", None),
    ],
)
def test_modifiers_that_look_ahead(expr: str, modifier: str | None) -> None:
    assert ahead(expr, 1_700_000_000) == modifier

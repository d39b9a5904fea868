"""Expressions that drop what is well, compared with what the real engine makes of a service that is well."""

from __future__ import annotations

import pytest
from real.prometheus import part

from remediator.model.health import parse_comparison
from remediator.model.rules import Threshold
from remediator.rules.promql_filters import health_filter
from remediator.simulation.ruletest.promtool_values import evaluate

WELL = [
    ('up{service="a", pod="p"}', "1x20"),
    ('up{service="a", pod="q"}', "1x20"),
    ('errors{service="a"}', "0x20"),
    ('requests{service="a"}', "0+600x20"),
    ('latency{service="a"}', "0.01x20"),
    ('free{service="a"}', "0.5x20"),
    ('limit{service="a"}', "5x20"),
    ('available{service="a"}', "3x20"),
    ('desired{service="a"}', "3x20"),
    ('phase{service="a", phase="Pending"}', "0x20"),
]
FILTERED = {
    "up == 0": ("== 0", "== 0"),
    "up < 1": ("< 1", "< 1"),
    "0 == up": ("== 0", "== 0"),
    "(up == 0)": ("== 0", "== 0"),
    "up != 1": ("!= 1", "< 1"),
    "sum by (service) (rate(errors[5m])) / sum by (service) (rate(requests[5m])) > 0.05": ("> 0.05", "> 0.05"),
    "100 * rate(errors[5m]) / rate(requests[5m]) > 5": ("> 5", "> 10"),
    "latency > 2 * 0.5": ("> 1", "> 1"),
    "latency > 0.5 < 100": ("> 0.5", "> 0.5"),
    "errors > 0": ("> 0", "> 5"),
    "errors >= 1 and on (service) requests > 100": (">= 1", "> 0"),
    "latency > 1 unless on (service) available < 1": ("> 1", "> 1"),
    "max by (service) (latency > 1)": ("> 1", "> 1"),
    "sum by (service) (phase == 1)": ("== 1", "> 0"),
    "count by (service) (up == 0)": ("== 0", ">= 1"),
    "count by (service) (free < 0.1) > 1": ("> 1", "> 1"),
    "count by (service) (up == 0) > bool 0": ("== 0", "> 0"),
    "(latency > 1) * 1000": ("> 1", "> 1000"),
    "round(latency > 1)": ("> 1", "> 1"),
    'label_replace(latency > 1, "x", "$1", "service", "(.*)")': ("> 1", "> 1"),
    "free < 0.1": ("< 0.1", "< 0.05"),
    "available < desired": ("<", ">= 0"),
    "available != desired": ("!=", ">= 0"),
    "latency > scalar(limit)": (">", "> 5"),
    "latency > 1 or errors > 5": ("> 1", "> 1"),
    "up == 0 or up > 5": ("== 0", ">= 0"),
    "(latency > 1) * on (service) group_left (phase) phase": ("> 1", "> 1"),
    "phase * on (service) group_right () (latency > 1)": ("> 1", "> 1"),
    "absent(up)": ("absent()", "> 0"),
    'absent(up{service="a"} == 1)': ("absent()", "> 0"),
    "absent_over_time(up[5m]) * 2": ("absent_over_time()", "> 0"),
    "topk by (service) (1, latency > 1)": ("> 1", "> 1"),
}
SEEN = {
    "up": "< 1",
    "up == bool 0": "> 0",
    "up > bool 0.5": "< 1",
    "sum by (service) (up == bool 0)": "> 0",
    "rate(errors[5m]) / (rate(requests[5m]) > 0)": "> 0.1",
    "latency / (limit > 0)": "> 0.9",
    "latency > 1 or 0 * latency": "> 1",
    "count(up == 0) or vector(0)": "> 0",
    "latency >= 0": "> 1",
    "latency > -1": "> 1",
    "latency < Inf": "> 1",
    "latency < +Inf": "> 1",
    "latency == latency": "> 1",
    "latency != Inf": "> 1",
    # These keep what is well: what is bad is not seen, which is another fault.
    "up == 1": "< 1",
    "count by (service) (up == 1)": "< 2",
    "count by (service) (free > 0.1)": "< 1",
    "sum by (service) (up > 0)": "< 1",
    # These say which series are meant.
    "latency and on (service) up == 1": "> 1",
    "latency unless on (service) phase == 1": "> 1",
    "latency * on (service) group_left () (available > 0)": "> 1",
    "count by (service) (up == 1) / count by (service) (up)": "< 0.5",
    "max_over_time((latency > 0)[5m:])": "> 1",
    "min by (service) (up) or absent(up)": "< 1",
    "time() - 5": "> 3",
    "vector(1) > bool 2": "> 0",
}


def threshold(expr: str, failed: str) -> Threshold:
    return Threshold("t", expr, failed=parse_comparison(failed))


@pytest.mark.parametrize("expr", FILTERED)
def test_what_drops_those_that_are_well(expr: str) -> None:
    text, failed = FILTERED[expr]
    found = health_filter(threshold(expr, failed))
    assert found is not None
    assert found.text == text


@pytest.mark.parametrize("expr", SEEN)
def test_what_does_not(expr: str) -> None:
    assert health_filter(threshold(expr, SEEN[expr])) is None


def test_nothing_is_said_of_what_is_not_understood_or_compares_nothing() -> None:
    assert health_filter(threshold("up == 0 ¿", "== 0")) is None
    assert health_filter(threshold("(" * 5000 + "up == 0" + ")" * 5000, "== 0")) is None
    assert health_filter(Threshold("t", "up == 0")) is None


def test_a_service_that_is_well_has_no_series_of_them() -> None:
    part("promtool", "prometheus")
    exprs = [expr for expr in FILTERED if not expr.startswith("absent")]
    assert {expr: found for expr, found in evaluate(exprs, WELL, 60.0, 600.0, 600.0).items() if found} == {}


def test_a_service_that_is_well_has_series_of_the_others() -> None:
    part("promtool", "prometheus")
    found = evaluate(list(SEEN), WELL, 60.0, 600.0, 600.0)
    assert [expr for expr, series in found.items() if not series] == []

"""The matrix of public alerts: each leads to the command that the table says, or to nothing, and rules/COVERAGE.md says so."""

from __future__ import annotations

from collections import Counter

from library import matrix
from real.prometheus import part

from remediator.clients.prometheus.answer import Series
from remediator.simulation.patterns import fits

ROWS = matrix.table().alerts
ONE = {'kube_node_info{cluster="a", node="node1"}': "1x80", 'kube_node_info{cluster="a", node="node2"}': "1x80"}
ACTED = [row for row in ROWS if row.runbook]


def test_every_alert_leads_to_the_command_that_the_table_says_or_to_nothing() -> None:
    for row in ROWS:
        plan = matrix.plan(row)
        if row.runbook:
            assert (plan.service, plan.runbook, plan.reason) == (row.service, row.runbook, ""), row
            assert fits(row.run, " ".join(plan.argv), plan.call), (row, plan.call)
        else:
            assert row.nothing, row
            assert plan.call == "", (row, plan.call)
            assert plan.reason, row


def test_each_row_is_of_a_collection_and_there_once() -> None:
    assert {row.of for row in ROWS} == set(matrix.table().collections)
    assert [key for key, count in Counter((row.alert, row.of) for row in ROWS).items() if count > 1] == []
    assert [row.alert for row in ACTED if not row.expr and not row.played] == []


def test_promtool_has_the_alerts_fire_and_the_thresholds_agree_with_them() -> None:
    """In one run of promtool: the alerts' expressions, those of the thresholds of their services, and the first step's guards."""
    part("promtool", "prometheus")
    cases: list[tuple[str, dict[str, str]]] = []
    asked: list[tuple[matrix.Row, str, str]] = []
    for row in ACTED:
        if not row.expr:
            continue
        cases.append((row.expr, row.series))
        asked.append((row, "alert", row.expr))
        service = matrix.rulebook().service_for(row.fired)
        assert service is not None
        for threshold in matrix.rulebook().thresholds_for(service):
            cases.append((threshold.expr, row.series))
            asked.append((row, "threshold", threshold.expr))
        for kind, expr in matrix.guards_of(row):
            cases.append((expr, row.series))
            asked.append((row, kind, expr))
    answers: dict[tuple[str, str], dict[tuple[str, str], list[Series]]] = {}
    for (row, kind, expr), found in zip(asked, matrix.evaluate(cases), strict=True):
        answers.setdefault((row.alert, row.of), {})[kind, expr] = found
    for row in ACTED:
        if not row.expr:
            continue
        found = answers[row.alert, row.of]
        assert row.labels in [series.labels for series in found["alert", row.expr]], row
        readings = matrix.readings_on({expr: series for (kind, expr), series in found.items() if kind == "threshold"})
        plan = matrix.plan(row, readings)
        assert (plan.runbook, plan.reason, plan.condition) == (row.runbook, "", ""), (row, plan)
        # What cannot be told holds, as what is true does.
        held = [
            expr for (kind, expr), series in found.items() if kind == "unless" and [one.value for one in series] != [0]
        ]
        assert held == [], row
        assert [expr for (kind, expr), series in found.items() if kind == "if" and not series] == [], row


def test_with_two_clusters_in_one_prometheus_nothing_is_done_in_either() -> None:
    part("promtool", "prometheus")
    clusters = {f'kube_node_info{{cluster="{cluster}", node="node1"}}': "1x80" for cluster in ("a", "b")}
    rows = [row for row in ACTED if row.expr and "kubectl" in matrix.plan(row).call]
    guards = [dict(matrix.guards_of(row)).get("unless", "vector(0)") for row in rows]
    assert len(rows) > 20
    one, two = ([(g, row.series | more) for g, row in zip(guards, rows, strict=True)] for more in (ONE, clusters))
    assert [
        row.alert for row, found in zip(rows, matrix.evaluate(one), strict=True) if [s.value for s in found] != [0]
    ] == []
    assert [
        row.alert for row, found in zip(rows, matrix.evaluate(two), strict=True) if [s.value for s in found] != [1]
    ] == []


def test_the_page_is_what_the_table_says() -> None:
    assert matrix.PAGE.read_text(encoding="utf-8") == matrix.coverage_page(), "run `make docs`"

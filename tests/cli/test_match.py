"""`remediator match`: what would be done about one alert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.cli import main
from remediator.cli.alert_plan import plan_for
from remediator.config.document import Document
from remediator.config.policy import Policy
from remediator.model.matcher import Matcher
from remediator.rules.loader import make_rulebook, read_rules

RULES = r"""
services:
  - {name: checkout, labels: {tier: web}, depends_on: [postgres], target: {command: {restart: [restart, '{{ service.name }}']}}}
  - {name: postgres}
  - {name: worker, labels: {tier: batch}, target: {command: {restart: [restart, '{{ labels.queue }}']}}}
  - name: '{{ labels.namespace }}/{{ labels.deployment }}'
    match: ['deployment!=""']
    target: kubernetes
thresholds:
  - {name: error_ratio, match: ['tier="web"'], expr: errors, failed: '> 5'}
runbooks:
  - name: web
    match: ['tier="web"']
    mode: approve
    steps:
      - restart:
        unless: rollout{service="{{ service.name }}"} > 0
    limits: {cooldown: 10m}
  - {name: batch, match: ['tier="batch"'], when: [failed], steps: [restart]}
  - {name: pods, match: ['deployment!=""'], steps: [{scale: {by: 1, max: 5}}]}
"""


@pytest.fixture
def rules(tmp_path: Path) -> str:
    (tmp_path / "rules.yml").write_text(RULES)
    return str(tmp_path / "rules.yml")


def matched(rules: str, labels: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main(["match", labels, "--rules", rules, "--config.file", "nowhere.yml", "--output", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_step_is_shown_with_its_gates(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, plan = matched(rules, '{alertname="HighErrors", service="checkout", severity="critical"}', capsys)
    assert (code, plan["service"], plan["runbook"], plan["step"]) == (0, "checkout", "web", "restart")
    assert plan["argv"] == ["restart", "checkout"]
    assert plan["condition"] == "if error_ratio says failed"
    gates = {gate["gate"]: gate for gate in plan["gates"]}
    assert [name for name, gate in gates.items() if gate["holds"]] == ["approval"]
    assert gates["approval"]["text"] == "waits for approval: remediator approve INCIDENT: would run restart"
    assert gates["dependency"]["text"] == "while postgres is in trouble"
    assert gates["guard"]["text"] == 'while rollout{service="{{ service.name }}"} > 0 is true or cannot be told'
    assert gates["cooldown"]["text"] == "for 10m after it ran"
    assert main(["match", 'service="checkout"', "--rules", rules, "--config.file", "nowhere.yml"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[:3] == [
        "service   checkout",
        "runbook   web",
        "would run restart: restart checkout, if error_ratio says failed",
    ]
    assert "  approval holds it: waits for approval: remediator approve INCIDENT: would run restart" in shown


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ('service="nobody"', "no service owns it: no service's match fits its labels"),
        ('service="postgres", severity="critical"', "no runbook is for it when failed: alert X fires with severity critical (failed)"),
        ('service="worker", severity="info"', "severity info is not actionable"),
        ('service="worker", severity="warning"', "no runbook is for it when degraded: alert X fires with severity warning (degraded)"),
        ('service="worker", severity="critical", queue="--all"', "its value '--all' would be taken for an option"),
        ('service="worker", severity="critical"', "queue"),
    ],
    ids=["no service", "no runbook", "not actionable", "not when", "unsafe", "unset"],
)  # fmt: skip
def test_nothing_is_done_and_why(labels: str, reason: str, rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, plan = matched(rules, f'alertname="X", {labels}', capsys)
    assert code == 1
    assert reason in plan["reason"]


def test_a_scale_is_shown_for_one_replica(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, plan = matched(rules, '{namespace="shop",deployment="web",severity="critical"}', capsys)
    assert (code, plan["service"], plan["step"]) == (0, "shop/web", "scale")
    assert "--replicas=2" in plan["call"] or "2" in plan["argv"]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ('{service=~"a|b"}', "does not say which value the alert has: write service=…"),
        ("{service", "cannot read the labels"),
    ],
)
def test_labels_that_are_none(labels: str, sentence: str, rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["match", labels, "--rules", rules, "--config.file", "nowhere.yml"]) == 2
    assert sentence in capsys.readouterr().err


BOOK = make_rulebook(read_rules([Document("rules.yml", RULES)], service_label="service")[0])
NAMES = st.sampled_from(["service", "namespace", "deployment", "queue", "severity", "alertname"])


@settings(deadline=None)
@given(st.dictionaries(NAMES, st.text(max_size=8) | st.sampled_from(["checkout", "worker", "critical", "{{ x }}"])))
def test_whatever_labels_an_alert_has_there_is_an_answer(labels: dict[str, str]) -> None:
    plan = plan_for(BOOK, Policy(), labels, 1_000_000.0)
    assert plan.reason or (plan.service and plan.runbook and plan.call)
    assert str(Matcher("a", "=", plan.service))


def test_labels_that_no_service_can_be_named_by_are_answered_too() -> None:
    plan = plan_for(BOOK, Policy(), {"namespace": "shop", "deployment": "a\0b"}, 1_000_000.0)
    assert plan.reason.startswith("cannot name its service: ")

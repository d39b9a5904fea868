"""`remediator check` without a Prometheus: the syntax of PromQL, as the real promtool sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real.prometheus import part

from remediator.cli import main

WRONG = r"""
thresholds:
  - name: first
    expr: |
      sum by (service) (
        rate(x[1m]
      )
    failed: '> 1'
  - {name: second, expr: "sum(e{a=\"é \U0001F600\"}) >> 1", failed: '> 1'}
  - {name: third, expr: 'rate(x)', failed: '> 1'}
  - {name: right, expr: 'sum by (service) (rate(x{code=~"5.."}[1m]))', failed: '> 1'}
runbooks:
  - name: web
    steps:
      - run: ['true']
        if: absent(guard(node_out_of_memory)) and up{service="{{ labels.service }}"} >> 5
      - scale: {by: 1, max: 3, replicas: 'count(up{service="{{ labels.service }}"}'}
        unless: guard(rollout_in_progress) or guard( autoscaler_at_work )
      - run: ['true']
        unless: '{% if health == "failed" %}up{% else %}down{% endif %} >> 1'
"""


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(capsys: pytest.CaptureFixture[str], text: str, code: int, *flags: str) -> str:
    Path("rules.yml").write_text(text)
    assert main(["check", *flags, "rules.yml"]) == code
    return capsys.readouterr().out


def test_each_expression_is_wrong_where_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    part("promtool", "prometheus")
    said = checked(capsys, WRONG, 1)
    assert [line for line in said.splitlines() if "[bad-promql]" in line] == [
        "rules.yml:7:7: error: this is not PromQL: unclosed left parenthesis [bad-promql]",
        "rules.yml:9:55: error: this is not PromQL: unexpected <op:>> [bad-promql]",
        'rules.yml:10:31: error: this is not PromQL: expected type range vector in call to function "rate", got instant'
        " vector [bad-promql]",
        "rules.yml:16:87: error: this is not PromQL: unexpected <op:>> [bad-promql]",
        "rules.yml:17:82: error: this is not PromQL: unclosed left parenthesis [bad-promql]",
    ]


def test_a_function_that_promtool_does_not_know_may_be_a_newer_one(capsys: pytest.CaptureFixture[str]) -> None:
    part("promtool", "prometheus")
    said = checked(capsys, "thresholds: [{name: up, expr: 'later_function(up)', failed: '> 1'}]\n", 0)
    assert "rules.yml:1:32: warning: this is not PromQL: unknown function" in said
    assert "is Prometheus newer than the promtool here?" in said


QUOTED = """
thresholds:
  - {name: by, expr: 'sum by ("service.name", code) (rate({"http.server.errors", "a b"=~"x"}[5m]))', failed: '> 1'}
  - {name: metric, expr: '{"a.b"}', failed: '> 1'}
  - {name: wrong, expr: 'sum by ("service.name") (rate({"http.server.errors"}[5m]) >> 3', failed: '> 1'}
"""


def test_label_names_in_quotes_are_prometheus_3s(capsys: pytest.CaptureFixture[str]) -> None:
    """Debian's promtool is older. What else is wrong is an error all the same, where it stands."""
    part("promtool", "prometheus")
    said = checked(capsys, QUOTED, 1)
    found = [line for line in said.splitlines() if "[bad-promql]" in line]
    assert [line.split(": this")[0] for line in found] == [
        "rules.yml:3:31: warning",
        "rules.yml:4:28: warning",
        "rules.yml:5:85: error",
    ]
    assert "Prometheus 3 takes names in quotes" in said


def test_an_author_may_know_better_than_promtool(capsys: pytest.CaptureFixture[str]) -> None:
    part("promtool", "prometheus")
    rules = "thresholds:\n  - name: up\n    expr: up{{%s\n    failed: '> 1'\n"
    assert "[bad-promql]" in checked(capsys, rules.replace("{{", "{") % "", 1)
    assert "[bad-promql]" not in checked(capsys, rules.replace("{{", "{") % "  # remediator: allow bad-promql", 0)


def test_other_problems_do_not_hide_those_of_the_promql(capsys: pytest.CaptureFixture[str]) -> None:
    part("promtool", "prometheus")
    said = checked(capsys, "thresholds: [{name: up, expr: 'up >', failed: '> 1'}, {name: up, expr: up}]\n", 1)
    assert "[bad-promql]" in said
    assert "[equal-names]" in said


def test_without_promtool_that_is_said_and_nothing_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    Path("rules.yml").write_text("thresholds: [{name: up, expr: 'up >', failed: '> 1'}]\n")
    assert main(["check", "rules.yml"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "SUCCESS: 0 services, 1 threshold, 0 runbooks\n"
    note = "the PromQL was not checked: there is no promtool here: install the package prometheus, which has it"
    assert shown.err == f"remediator: {note}\n"
    assert main(["check", "--output=json", "rules.yml"]) == 0
    assert json.loads(capsys.readouterr().out)["note"] == note


def test_a_promtool_that_fails_otherwise_is_quoted(
    in_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = in_folder / "promtool"
    program.write_text("#!/bin/sh\necho '  FAILED:' >&2; echo 'out of order' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(in_folder))
    Path("rules.yml").write_text("thresholds: [{name: up, expr: up, failed: '> 1'}]\n")
    assert main(["check", "rules.yml"]) == 0
    assert capsys.readouterr().err == "remediator: the PromQL was not checked: promtool says: out of order\n"

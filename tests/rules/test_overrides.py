"""Rule files that build on others: extends and override."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediator.errors import ConfigError
from remediator.model.action import ActionSpec
from remediator.model.health import parse_comparison
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Limits, Mode, Rate, TargetRef, Verify
from remediator.problem import Problem
from remediator.rules.library import shipped_names
from remediator.rules.loader import load_rules

BASE = """
services:
  - {name: web, labels: {tier: web, team: a}, target: {systemd: {unit: nginx.service}}, depends_on: [db]}
  - {name: db, target: systemd}
thresholds:
  - {name: errors, match: ['tier="web"'], expr: errors, degraded: '> 0.1', failed: '> 0.5', for: 1m}
runbooks:
  - name: web
    match: ['tier="web"']
    steps: [restart]
    verify: {healthy_for: 10s, within: 2m}
    limits: {cooldown: 10m, rate: 3/1h}
targets:
  - name: ours
    params: {a: '1', b: '2'}
    actions: {restart: [restart, '{{ a }}'], status: [status]}
"""


def load(folder: Path, *names: str) -> tuple[Rulebook, list[Problem]]:
    return load_rules([folder / name for name in names or ("mine.yml",)], service_label="service")


def errors(folder: Path, text: str) -> list[str]:
    (folder / "base.yml").write_text(BASE)
    (folder / "mine.yml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(folder)
    return [
        f"{Path(problem.position.file).name}:{problem.position.line}:{problem.position.column}: {problem.check}"
        for problem in caught.value.problems
    ]


def test_what_an_override_does_not_say_stays(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(BASE)
    (tmp_path / "mine.yml").write_text("""
extends: base.yml
override:
  services:
    - {name: web, labels: {team: b, more: x}, target: {docker: {container: web}}}
  thresholds:
    - {name: errors, failed: '> 0.9', for: 2m}
  runbooks:
    - {name: web, mode: approve, limits: {cooldown: 1h}, steps: [{run: [page]}, restart]}
  targets:
    - {name: ours, params: {b: '3'}, actions: {restart: [again]}}
    - {name: docker, params: {container: 'x-{{ service.name }}'}}
services:
  - {name: cache}
""")
    rules, problems = load(tmp_path)
    assert problems == []
    web = rules.named["web"]
    assert web.labels == {"tier": "web", "team": "b", "more": "x", "service": "web"}
    assert web.target == TargetRef("docker", {"container": "web"})
    assert web.depends_on == ("db",)
    (errors,) = rules.thresholds
    assert (errors.degraded, errors.failed) == (parse_comparison("> 0.1"), parse_comparison("> 0.9"))
    assert (errors.for_, errors.expr) == (120.0, "errors")
    (runbook,) = rules.runbooks
    assert runbook.mode is Mode.APPROVE
    assert runbook.limits == Limits(3600.0, (Rate(3, 3600.0),))
    assert runbook.verify == Verify(10.0, 120.0)
    assert [step.action for step in runbook.steps] == ["run", "restart"]
    assert rules.targets["ours"].params == {"a": "1", "b": "3"}
    assert rules.targets["ours"].actions == {
        "restart": ActionSpec(run=("again",)),
        "status": ActionSpec(run=("status",)),
    }
    assert rules.targets["docker"].params["container"] == "x-{{ service.name }}"
    # The file's own come first, and so own and heal first.
    assert [service.name for service in rules.services] == ["cache", "web", "db"]


def test_a_file_is_read_once_however_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(BASE)
    (tmp_path / "a.yml").write_text("extends: [./base.yml, b.yml]\n")
    (tmp_path / "b.yml").write_text("extends: [base.yml, a.yml]\noverride: {runbooks: [{name: web, mode: observe}]}\n")
    rules, _ = load(tmp_path, "a.yml", "base.yml", "b.yml")
    assert [runbook.mode for runbook in rules.runbooks] == [Mode.OBSERVE]
    assert len(rules.services) == 2


def test_overrides_of_overrides(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(BASE)
    (tmp_path / "site.yml").write_text(
        "extends: base.yml\noverride: {runbooks: [{name: web, silence: 5m, mode: approve}]}\n"
    )
    (tmp_path / "mine.yml").write_text("extends: site.yml\noverride: {runbooks: [{name: web, mode: observe}]}\n")
    rules, _ = load(tmp_path)
    assert [(runbook.mode, runbook.silence) for runbook in rules.runbooks] == [(Mode.OBSERVE, 300.0)]


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_file_can_be_extended(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.yml").write_text(f"extends: remediator/{name}\n")
    extended, problems = load(tmp_path)
    itself, _ = load_rules([Path(__file__).parents[2] / f"rules/{name}.yml"], service_label="service")
    assert problems == []
    assert (extended.services, extended.thresholds, extended.runbooks) == (
        itself.services,
        itself.thresholds,
        itself.runbooks,
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("extends: nowhere.yml\n", ["mine.yml:1:10: unknown-extends"]),
        ("extends: [base.yml, remediator/kubernets]\n", ["mine.yml:1:21: unknown-extends"]),
        (
            "extends: base.yml\noverride: {runbooks: [{name: wep, mode: observe}]}\n",
            ["mine.yml:2:30: unknown-override"],
        ),
        ("override: {runbooks: [{name: web, mode: observe}]}\n", ["mine.yml:1:30: unknown-override"]),
        ("extends: base.yml\noverride: {runbooks: [{mode: observe}]}\n", ["mine.yml:2:23: missing-key"]),
        ("extends: base.yml\noverride: {runbooks: [{name: web, modus: observe}]}\n", ["mine.yml:2:35: unknown-key"]),
        ("extends: base.yml\noverride: {runbooks: [{name: web, mode: obey}]}\n", ["mine.yml:2:41: bad-value"]),
        # What contradicts the rest is wrong where it was written.
        (
            "extends: base.yml\noverride: {runbooks: [{name: web, verify: {within: 5s}}]}\n",
            ["mine.yml:2:52: verify-window"],
        ),
        (
            "extends: base.yml\noverride: {runbooks: [{name: web, steps: [restart, fly]}]}\n",
            ["mine.yml:2:52: unknown-action"],
        ),
        (
            "extends: base.yml\noverride: {thresholds: [{name: errors, failed: '> 0.05'}]}\n",
            ["mine.yml:2:48: wrong-way-round"],
        ),
        (
            "extends: base.yml\noverride: {services: [{name: web, target: nowhere}]}\n",
            ["mine.yml:2:43: unknown-target"],
        ),
        (
            "extends: base.yml\noverride: {targets: [{name: systemd, actions: {restart: ['{{ nothing }}']}}]}\n",
            ["mine.yml:2:57: unknown-variable"],
        ),
    ],
)
def test_wrong_overrides(tmp_path: Path, text: str, found: list[str]) -> None:
    assert errors(tmp_path, text) == found


def test_what_is_wrong_in_the_extended_file_is_told_there(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(BASE.replace("[restart]", "[fly]"))
    (tmp_path / "mine.yml").write_text("extends: base.yml\noverride: {runbooks: [{name: web, mode: observe}]}\n")
    with pytest.raises(ConfigError, match=r"base\.yml:10:13: error: .* \[unknown-action\]"):
        load(tmp_path)

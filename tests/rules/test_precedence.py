"""Runbooks that are never chosen, as an earlier one always is: in any file, and for templated services."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediator.errors import ConfigError
from remediator.rules.loader import load_rules

SERVICES = {
    "plain": "  - {name: web, labels: {tier: web}, target: systemd}\n  - {name: db, labels: {tier: db}, target: systemd}\n",
    "templated": """  - {name: '{{ labels.namespace }}/{{ labels.deployment }}', match: ['deployment!=""', 'namespace=~"shop|search"'],
     target: kubernetes}\n""",
}


def problems(folder: Path, services: str, first: str, second: str) -> list[str]:
    (folder / "a.yml").write_text(
        f"services:\n{SERVICES[services]}runbooks:\n  - {{name: a, steps: [restart], {first}}}\n"
    )
    (folder / "b.yml").write_text(f"runbooks:\n  - {{name: b, steps: [restart], {second}}}\n")
    try:
        load_rules([folder / "a.yml", folder / "b.yml"], service_label="service")
    except ConfigError as error:
        return [problem.message.replace(f"{folder}/", "") for problem in error.problems if problem.severity == "error"]
    return []


@pytest.mark.parametrize(
    ("services", "first", "second"),
    [
        ("plain", """match: ['tier=~"web|db"']""", """match: ['alertname="X"']"""),
        ("plain", """match: ['tier="web"']""", """match: ['tier="web"', 'team="x"'], when: failed"""),
        # The labels of its name are never empty, and fit its matchers.
        ("templated", """match: ['deployment!=""']""", """match: ['alertname="X"']"""),
        ("templated", """match: ['namespace!=""', 'deployment!=""']""", """match: ['namespace="shop"']"""),
        ("templated", """match: ['namespace=~"shop|search"']""", """match: ['deployment=~"a.*"']"""),
        ("templated", """match: ['team!=""']""", """match: ['team=~"a|b"', 'alertname="X"']"""),
    ],
)
def test_both_places_are_told(tmp_path: Path, services: str, first: str, second: str) -> None:
    (message,) = problems(tmp_path, services, first, second)
    assert message.startswith(
        ("runbook b is never chosen: runbook a, at a.yml:", "runbook b can never be chosen: runbook a, at a.yml:")
    )


@pytest.mark.parametrize(
    ("services", "first", "second"),
    [
        ("plain", """match: ['tier="web"']""", """match: ['alertname="X"']"""),
        ("plain", """match: ['tier=~"web|db"'], when: failed""", """match: ['alertname="X"']"""),
        ("plain", """match: ['tier=~"web|db"']""", """match: ['alertname="X"'], corroborate: false"""),
        ("templated", """match: ['namespace="shop"']""", """match: ['alertname="X"']"""),
        ("templated", """match: ['team!=""']""", """match: ['alertname="X"']"""),
        ("templated", """match: ['team!=""']""", """match: ['team=~"a|"']"""),
    ],
)
def test_what_may_be_chosen_is_no_error(tmp_path: Path, services: str, first: str, second: str) -> None:
    assert problems(tmp_path, services, first, second) == []


def test_an_own_runbook_comes_before_that_of_the_extended_file(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(
        f"services:\n{SERVICES['plain']}runbooks: [{{name: theirs, steps: [restart]}}]\n"
    )
    (tmp_path / "mine.yml").write_text("extends: base.yml\nrunbooks: [{name: ours, steps: [restart]}]\n")
    with pytest.raises(
        ConfigError,
        match=r"base\.yml:4:19: error: runbook theirs can never be chosen: runbook ours, at .*mine\.yml:2:19",
    ):
        load_rules([tmp_path / "mine.yml"], service_label="service")

"""The warnings of rules that are allowed and hardly meant, how an author says that they are meant, and other formats."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from remediator.cli import main
from remediator.lints import LINTS

ROOT = Path(__file__).parents[2]
RULES = """\
services:
  - {{name: web, labels: {{tier: web}}, target: systemd}}
  - {{name: db, labels: {{tier: db}}, target: systemd}}
thresholds:
  - {{name: errors, expr: errors, failed: '> 0.1', match: [{threshold}]}}
runbooks:
  - name: heal
    match: [{runbook}]
    steps: [restart]
    verify: {{healthy_for: 10s, within: 2m}}
    limits: {{cooldown: {cooldown}}}{comment}
"""


def checked(folder: Path, capsys: pytest.CaptureFixture[str], *flags: str, **changes: str) -> str:
    """What check says of the rules, which it has to accept."""
    values = {"threshold": "", "runbook": "", "cooldown": "5m", "comment": "", **changes}
    file = folder / "rules.yml"
    file.write_text(RULES.format(**values))
    assert main(["check", *flags, str(file)]) == 0
    return capsys.readouterr().out.replace(f"{folder}/", "")


def test_rules_that_are_meant_are_not_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = checked(tmp_path, capsys, threshold='tier="web"', runbook='tier=~"web|db", alertname="Down"')
    assert said == "SUCCESS: 2 services, 1 threshold, 1 runbook\n"


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        (
            {"cooldown": "30s"},
            "rules.yml:11:24: warning: cooldown 30s is shorter than within 2m: a new heal may begin before the last one"
            " could be seen to help [short-cooldown]",
        ),
        (
            {"threshold": 'tier="cache"'},
            "rules.yml:5:58: warning: threshold errors judges no service: none has labels that its matchers want"
            " [matches-no-service]",
        ),
        (
            {"threshold": 'team="x"'},
            "rules.yml:5:58: warning: threshold errors judges no service: none has labels that its matchers want"
            " [matches-no-service]",
        ),
        (
            {"runbook": 'tier="cache"'},
            "rules.yml:8:12: warning: runbook heal is for no service: all have other labels than its matchers want"
            " [matches-no-service]",
        ),
    ],
)
def test_each_lint(tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], warning: str) -> None:
    said = checked(tmp_path, capsys, **changes)
    assert said.startswith(f"{warning}\n")
    assert said.endswith("SUCCESS: 2 services, 1 threshold, 1 runbook (1 warning)\n")


def test_templated_services_may_have_any_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(
        "services: [{name: '{{ labels.job }}', match: ['job!=\"\"']}]\n"
        "thresholds: [{name: errors, expr: errors, failed: '> 0.1', match: ['team=\"x\"']}]\n"
    )
    assert main(["check", str(file)]) == 0
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "comment",
    [
        "  # remediator: allow short-cooldown",
        " # it is quick; remediator: allow no-such\n",
        "   # remediator: allow matches-no-service, short-cooldown",
    ],
)
def test_an_author_may_mean_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], comment: str) -> None:
    said = checked(tmp_path, capsys, cooldown="30s", comment=comment)
    assert ("short-cooldown]" in said) == ("no-such" in comment)


def test_a_comment_above_allows_too_and_allows_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rules.yml"
    text = RULES.format(threshold="", runbook="", cooldown="30s", comment="")
    file.write_text(text.replace("    limits:", "    # remediator: allow short-cooldown\n    limits:"))
    assert main(["check", str(file)]) == 0
    assert "warning" not in capsys.readouterr().out
    file.write_text(text.replace("    limits:", "    # remediator: allow unknown-key\n    limit:"))
    assert main(["check", str(file)]) == 1


def test_github_is_told_in_its_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = checked(tmp_path, capsys, "--output=github", cooldown="30s")
    assert said == (
        "::warning file=rules.yml,line=11,col=24,title=short-cooldown::cooldown 30s is shorter than within 2m: a new heal"
        " may begin before the last one could be seen to help: write a cooldown of 2m or more\n"
    )
    assert checked(tmp_path, capsys, "--output=github") == ""


def test_github_takes_no_line_of_a_file_for_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a,b:c%.yml"
    file.write_text('services: [{name: a, nme: "x\\n::error::forged"}]\n')
    assert main(["check", "--output=github", str(file)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert "/a%2Cb%3Ac%25.yml,line=1" in line


def test_checkstyle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ElementTree.fromstring(
        checked(tmp_path, capsys, "--output=checkstyle", cooldown="30s", runbook='tier="<&>"')
    )
    (file,) = told
    assert file.get("name") == "rules.yml"
    assert [(error.get("line"), error.get("severity"), error.get("source")) for error in file] == [
        ("8", "warning", "remediator.matches-no-service"),
        ("11", "warning", "remediator.short-cooldown"),
    ]
    assert list(ElementTree.fromstring(checked(tmp_path, capsys, "--output=checkstyle"))) == []


def test_every_lint_is_documented() -> None:
    text = (ROOT / "rules/README.md").read_text()
    for name in LINTS:
        assert f"| `{name}` |" in text

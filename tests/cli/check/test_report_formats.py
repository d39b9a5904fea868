"""What `remediator check` tells other programs: GitHub, and whatever reads the XML of checkstyle."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from remediator.cli import main

RULES = """\
services:
  - {{name: web, labels: {{tier: web}}, target: systemd}}
  - {{name: db, labels: {{tier: db}}, target: systemd}}
thresholds:
  - {{name: errors, expr: errors, failed: '> 0.1'}}
runbooks:
  - name: heal
    match: [{runbook}]
    steps: [restart]
    verify: {{healthy_for: 10s, within: 2m}}
    limits: {{cooldown: {cooldown}}}
"""


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(capsys: pytest.CaptureFixture[str], *flags: str, runbook: str = "", cooldown: str = "5m") -> str:
    """What check says of the rules, which it has to accept."""
    Path("rules.yml").write_text(RULES.format(runbook=runbook, cooldown=cooldown))
    assert main(["check", *flags, "rules.yml"]) == 0
    return capsys.readouterr().out


def test_github_is_told_in_its_words(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = checked(capsys, "--output=github", cooldown="30s")
    assert said == (
        "::warning file=rules.yml,line=11,col=24,title=short-cooldown::cooldown 30s is shorter than within 2m: a new heal"
        " may begin before the last one could be seen to help: write a cooldown of 2m or more\n"
    )
    assert checked(capsys, "--output=github") == ""


def test_github_takes_no_line_of_a_file_for_a_command(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = in_folder / "a,b:c%.yml"
    file.write_text('services: [{name: a, nme: "x\\n::error::forged"}]\n')
    assert main(["check", "--output=github", str(file)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert "/a%2Cb%3Ac%25.yml,line=1" in line


def test_checkstyle(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ElementTree.fromstring(checked(capsys, "--output=checkstyle", cooldown="30s", runbook='tier="<&>"'))
    (file,) = told
    assert file.get("name") == "rules.yml"
    assert [(error.get("line"), error.get("severity"), error.get("source")) for error in file] == [
        ("8", "warning", "remediator.matches-no-service"),
        ("11", "warning", "remediator.short-cooldown"),
    ]
    assert list(ElementTree.fromstring(checked(capsys, "--output=checkstyle"))) == []

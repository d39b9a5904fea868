"""`remediator rules`: what ships, and what is changed of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediator.cli import main
from remediator.rules.library import shipped_names

ROOT = Path(__file__).parents[2]
MINE = """
extends: remediator/kubernetes
override:
  thresholds:
    - {name: unavailable, failed: '> 0.7'}
  runbooks:
    - name: kubernetes-unavailable
      silence: 5m
      limits: {cooldown: 1h}
"""


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yml").write_text(MINE)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[str]:
    assert main(["rules", *arguments]) == code
    shown = capsys.readouterr()
    return (shown.out if code == 0 else shown.err).splitlines()


def test_each_file_is_listed_with_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "list")
    assert [line.split()[0] for line in lines[1:]] == [f"remediator/{name}" for name in shipped_names()]
    assert all(len(line.split()) > 1 for line in lines)
    assert said(capsys) == lines


def test_show_prints_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "rules/web.yml").read_text().splitlines()
    assert said(capsys, "show", "web") == said(capsys, "show", "remediator/web.yml") == text
    assert said(capsys, "show", "wed", code=2) == [
        "remediator: there is no rule file wed in the package: did you mean web?"
    ]


def test_diff_shows_what_overrides_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "diff", "kubernetes", "--rules", "mine.yml") == [
        "mine.yml:5:35: thresholds.unavailable.failed: >= 0.5 -> > 0.7",
        "mine.yml:8:16: runbooks.kubernetes-unavailable.silence: (default) -> 5m",
        "mine.yml:9:26: runbooks.kubernetes-unavailable.limits.cooldown: 30m -> 1h",
    ]
    Path("remediator.yml").write_text("prometheus: {url: 'http://p'}\nrule_files: ['*e.yml']\n")
    assert len(said(capsys, "diff", "kubernetes")) == 3
    assert said(capsys, "diff", "web") == ["nothing is changed of it"]


def test_diff_since_shows_what_an_upgrade_changed_and_what_an_override_hides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (ROOT / "rules/kubernetes.yml").read_text()
    Path("copy.yml").write_text(text)
    assert said(capsys, "diff", "kubernetes", "--since", "copy.yml") == ["nothing has changed in it"]
    older = text.replace("failed: '>= 0.5'", "failed: '>= 0.4'", 1).replace("within: ", "within: 1", 1)
    Path("copy.yml").write_text(older)
    first, second = said(capsys, "diff", "kubernetes", "--since", "copy.yml", "--rules", "mine.yml")
    assert first == "thresholds.unavailable.failed: >= 0.4 -> >= 0.5  (overridden at mine.yml:5:35)"
    assert second.startswith("runbooks.kubernetes-bad-version.verify.within: ")
    assert "overridden" not in second
    assert "cannot read" in said(capsys, "diff", "kubernetes", "--since", "no.yml", code=2)[0]

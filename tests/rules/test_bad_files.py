"""Every file in `bad/` gives exactly the text beside it."""

import re
from pathlib import Path

import pytest

from remediator.cli import main
from remediator.config import document as yamldoc
from remediator.rules import checks

BAD = Path(__file__).parent / "bad"
FILES = sorted(BAD.glob("*.yml"))
# Shown elsewhere: they need a config with names, a file that cannot be read, a huge one, or one that is refused for its depth or size.
ELSEWHERE = {"unknown-prometheus", "unreadable-file", "too-deep", "too-many-values", "empty-pattern"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_problems_are_shown_in_full(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(BAD)
    assert main(["check", file.name]) == 1
    assert capsys.readouterr().out == file.with_suffix(".txt").read_text()


def test_every_check_is_shown_by_a_file_and_every_problem_has_a_documented_name() -> None:
    shown = {
        name
        for file in FILES
        for name in re.findall(r": (?:error|warning): .* \[([a-z-]+)\]$", file.with_suffix(".txt").read_text(), re.M)
    }
    assert shown == (yamldoc.CHECKS.keys() | checks.CHECKS.keys()) - ELSEWHERE


def test_every_check_says_what_it_finds() -> None:
    assert all(check.__doc__ for check in checks.CHECKS.values())
    assert [check.__name__.replace("_", "-") for check in checks.CHECKS.values()] == list(checks.CHECKS)


def test_no_output_shows_a_secret() -> None:
    assert not [file.name for file in BAD.glob("*.txt") if "hunter2" in file.read_text()]

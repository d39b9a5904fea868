"""The ready rule files: checked without a warning, and their tests are as they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from remediator.cli import main

LIBRARY = Path(__file__).parents[2] / "rules"
FILES = sorted(LIBRARY.glob("*.yml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_ready_rule_file_is_checked_tested_and_asks_first(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(file)]) == 0
    assert "warning" not in capsys.readouterr().out
    assert main(["test", str(LIBRARY / "tests" / file.name)]) == 0, capsys.readouterr().out
    text = file.read_text()
    assert text.count("mode: approve") == len(re.findall(r"^  - name: .*\n(?:    .*\n)*    steps:", text, re.MULTILINE))
    assert "When not to use it:" in text


def test_the_guide_names_every_file() -> None:
    assert re.findall(r"^\| \[(\S+)\]", (LIBRARY / "README.md").read_text(), re.MULTILINE) == [f.name for f in FILES]

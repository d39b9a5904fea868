"""The guide in rules/README.md, followed to the letter: its files are written as it names them, its commands are run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from real.prometheus import part

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "rules/README.md"

ASK_A_NEIGHBOUR = {"backtest", "serve", "why", "incidents", "approve", "pause"}
"""Commands that want a Prometheus or a running remediator, which there is none of here."""


class Block(NamedTuple):
    """A fenced block: the file of a name, or, without one, commands, a line each."""

    line: int
    file: str
    text: str


def blocks() -> Iterator[Block]:
    text = GUIDE.read_text()
    for found in re.finditer(r"^(?:<!-- file: (\S+) -->\n)?```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        file, kind, inside = found.groups(default="")
        line = text.count("\n", 0, found.start()) + 1
        assert (kind, bool(file)) in {("yaml", True), ("sh", False)}, f"the block at line {line} is not tried"
        yield Block(line, file, inside)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int, int, str]]:
    """Each command with the exit code that the guide gives, the one it had, and what it said."""
    part("promtool", "prometheus")
    folder = tmp_path_factory.mktemp("guide")
    (folder / "remediator").symlink_to(ROOT)  # the clone
    shell = f'remediator() {{ {shlex.quote(sys.executable)} -m remediator "$@"; }}\n'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    done = []
    for block in blocks():
        if block.file:
            (folder / block.file).parent.mkdir(exist_ok=True, parents=True)
            (folder / block.file).write_text(block.text)
            continue
        for line in block.text.splitlines():
            command, _, remark = line.partition("    # exits with ")
            if command.split()[:1] == ["remediator"] and command.split()[1] in ASK_A_NEIGHBOUR:
                continue
            ran = subprocess.run(
                ["sh", "-c", shell + command], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
            )
            done.append((command, int(remark or 0), ran.returncode, ran.stdout + ran.stderr))
    return done


def test_every_command_ends_as_the_guide_says(told: list[tuple[str, int, int, str]]) -> None:
    for command, expected, code, said in told:
        assert code == expected, f"{command}\n{said}"
    assert sum(command.startswith("remediator test") for command, *_ in told) == 7
    assert {expected for _, expected, *_ in told} == {0, 1}


def test_no_file_of_the_guide_is_warned_of(told: list[tuple[str, int, int, str]]) -> None:
    checks = [said for command, *_, said in told if command.startswith("remediator check")]
    assert len(checks) == 7
    for said in checks:
        assert said.startswith("SUCCESS: "), said
        assert "warning" not in said


def test_the_mode_is_what_the_last_tests_miss(told: list[tuple[str, int, int, str]]) -> None:
    *_, said = told[-1]
    assert "expected  approval" in said
    assert "FAILED: 1 of 4 tests" in said


def test_each_version_of_a_file_is_another() -> None:
    """A reader who is shown a file again is shown what has changed."""
    texts = [block.text for block in blocks() if block.file]
    assert len(set(texts)) == len(texts)
    for text in texts:
        yaml.safe_load(text)


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", GUIDE.read_text()):
        assert (GUIDE.parent / link).exists(), link


def test_what_the_table_says_of_alerts_is_in_the_files() -> None:
    rows = re.findall(r"^\| \[\S+\]\((\S+\.yml)\) \|.*\| (.*) \|$", GUIDE.read_text(), re.MULTILINE)
    for file, on in rows:
        text = (GUIDE.parent / file).read_text().partition("\nservices:")[0]
        for name in re.findall(r"`([A-Z]\w+)`", on):
            assert name in text, f"{file}: {name}"

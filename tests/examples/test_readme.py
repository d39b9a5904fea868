"""What the README shows can be used as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from remediator.cli import main
from remediator.config.settings import load_config
from remediator.rules.loader import load_rules

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_first_rule_file_loads_without_a_warning(tmp_path: Path) -> None:
    shown = re.findall(r"<!-- file: (\S+) -->\n```yaml\n(.*?)```", README, re.DOTALL)
    assert [name for name, _ in shown] == ["remediator.yml", "rules/web.yml", "rules/tests/web.yml"]
    for name, text in shown:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    config = load_config(tmp_path / "remediator.yml")
    rulebook, warnings = load_rules(config.rule_paths(), service_label=config.global_.service_label)
    assert warnings == []
    assert [step.name for step in rulebook.runbooks[0].steps] == ["restart", "rollback"]
    assert main(["test", str(tmp_path / "rules/tests/web.yml")]) == 0


def test_both_commands_are_there() -> None:
    commands = re.findall(r"^\./(\S+)", README, re.MULTILINE)
    assert commands == ["examples/demo/run", "tests/run"]
    for command in commands:
        assert (ROOT / command).stat().st_mode & 0o111


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_every_command_named_exists() -> None:
    table = README.partition("## Command line")[2].partition("## HTTP")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    named = {word for cell in cells for word in re.findall(r"[a-z]+", cell)} - {"remediator"}
    done = subprocess.run([sys.executable, "-m", "remediator", "--help"], capture_output=True, text=True, timeout=120)
    assert named == set(re.findall(r"^    ([a-z]+)", done.stdout, re.MULTILINE))


@pytest.mark.parametrize("name", ["requirements.lock", ".ci/run", ".ci/setup", "tests/run", "examples/demo/run"])
def test_no_registry_is_named(name: str) -> None:
    """Which registry packages come from is the machine's choice."""
    text = (ROOT / name).read_text()
    assert not re.search(r"https?://|--index-url|--find-links", text)

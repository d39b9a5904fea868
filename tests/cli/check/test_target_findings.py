"""`check --targets` names the services whose target cannot be reached, or not be read, before the night it is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediator.cli import main

RULES = """
targets:
  - name: box
    params: {unit: '{{ service.name }}', zone: '{{ labels.zone | default("") }}'}
    actions:
      restart: {run: [touch, {witness}]}
      scale: {run: [touch, {witness}]}
      probe: {shell: 'echo x >> {asked}; [ {{ zone }} != away ] || { echo "connection refused"; exit 7; }'}
      replicas: {shell: '[ {{ unit | name }} != unreadable ] || { echo forbidden; exit 1; }'}
services:
  - {name: web, target: box}
  - {name: api, target: box}
  - {name: far, labels: {zone: away}, target: box}
  - {name: unreadable, target: box}
  - {name: 'bad name', target: box}
  - {name: later, target: {box: {unit: '{{ labels.instance }}'}}}
  - {name: '{{ labels.many }}', match: ['many!=""'], target: box}
  - {name: plain}
"""


def test_what_cannot_be_reached_or_read_is_an_error_where_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, witness, file = tmp_path / "asked", tmp_path / "witness", tmp_path / "rules.yml"
    file.write_text(RULES.replace("{witness}", str(witness)).replace("{asked}", str(asked)))
    assert main(["check", str(file)]) == 0
    assert not asked.exists()
    capsys.readouterr()

    assert main(["check", "--targets", str(file)]) == 1
    said = capsys.readouterr().out
    far = "the target of far cannot be reached: exited with 7: connection refused [target-unreachable]"
    assert f"{file}:13:" in said
    assert far in said
    assert "the target of unreadable cannot be asked how many there are: exited with 1: forbidden" in said
    assert "the target of bad name cannot be asked how many there are: cannot render" in said
    assert said.count("error:") == 3
    assert said.strip().endswith("FAILED: 3 errors")
    # Services of one host ask it once, and nothing is done to them.
    assert asked.read_text() == "x\n" * 2
    assert not witness.exists()

"""The files that the demo writes are taken by the programs they are for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from real.prometheus import part

from remediator.config import load_config
from remediator.demo.faults import FAULTS, SPECS
from remediator.demo.neighbours import Neighbours, write_files
from remediator.rulefile import load_rules


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path, Neighbours("http://127.0.0.1:9090", "http://127.0.0.1:9093", "http://127.0.0.1:9797"))
    return tmp_path


def test_the_rules_load_without_a_warning_and_know_every_service(folder: Path) -> None:
    config = load_config(folder / "remediator.yml")
    rulebook, warnings = load_rules(config.rule_paths(), service_label=config.global_.service_label)
    assert warnings == []
    assert set(rulebook.named) == {spec.name for spec in SPECS} == {fault.service for fault in FAULTS}
    for spec in SPECS:
        assert rulebook.named[spec.name].depends_on == ((spec.depends_on,) if spec.depends_on else ())


@pytest.mark.parametrize(
    ("program", "package", "arguments"),
    [
        ("promtool", "prometheus", ["check", "config", "prometheus.yml"]),
        ("amtool", "prometheus-alertmanager", ["check-config", "alertmanager.yml"]),
    ],
)
def test_prometheus_and_alertmanager_take_their_configuration(
    folder: Path, program: str, package: str, arguments: list[str]
) -> None:
    (folder / "targets").mkdir()
    done = subprocess.run([part(program, package), *arguments], cwd=folder, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr

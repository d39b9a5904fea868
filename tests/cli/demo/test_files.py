"""The files that the demo writes are taken by the programs they are for, and the wheel has what they are made of."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from real.prometheus import part

from remediator.cli import main
from remediator.cli.demo.faults import FAULTS, SERVICES
from remediator.cli.demo.pace import speed_up
from remediator.cli.demo.servers import ServerUrls, write_files
from remediator.config.settings import load_config
from remediator.model.health import Health
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Mode
from remediator.rules.loader import load_rules

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path, ServerUrls("http://127.0.0.1:9090", "http://127.0.0.1:9093", "http://127.0.0.1:9797"))
    return tmp_path


@pytest.fixture
def rulebook(folder: Path) -> Rulebook:
    config = load_config(folder / "remediator.yml")
    return load_rules(config.rule_paths(), service_label=config.global_.service_label)[0]


def test_check_warns_of_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part("promtool", "prometheus")
    monkeypatch.chdir(folder)
    assert main(["check"]) == 0
    said = capsys.readouterr().out
    assert "warning" not in said
    assert not any("allow" in file.read_text() for file in folder.glob("*.yml"))
    assert main(["check", "rules.yml", "web.yml"]) == 0


def test_the_rules_know_every_service(rulebook: Rulebook) -> None:
    assert set(rulebook.named) == {spec.name for spec in SERVICES} == {fault.service for fault in FAULTS}
    for spec in SERVICES:
        assert rulebook.named[spec.name].depends_on == ((spec.depends_on,) if spec.depends_on else ())


def test_the_library_judges_all_web_services_and_heals_those_that_need_no_more(rulebook: Rulebook) -> None:
    """It does so as it is: it asks first, and knows no service of the demo's beside those that the demo names."""
    healed_by = {}
    for spec in SERVICES:
        service = rulebook.service_for({"service": spec.name, "tier": spec.tier, "instance": "127.0.0.1:20000"})
        assert service == rulebook.named[spec.name]
        thresholds = {threshold.name for threshold in rulebook.thresholds_for(service)}
        assert ({"web_up", "web_error_ratio", "web_latency_p90"} <= thresholds) == (spec.tier == "web")
        runbook = next(found for found in rulebook.runbooks_for(service.labels) if Health.FAILED in found.when)
        assert (runbook.mode is Mode.APPROVE) == (runbook.name == "web-instance")
        healed_by[spec.name] = runbook.name
    assert healed_by == {
        "ledger": "web-instance",
        "storefront": "web-instance",
        "search": "web-instance",
        "payments": "web-instance",
        "checkout": "release",
        "reviews": "scale-out",
        "mailer": "worker",
    }


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
    done = subprocess.run([part(program, package), *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


WRITE = """
from pathlib import Path
from remediator.cli.demo.servers import ServerUrls, write_files
write_files(Path(), ServerUrls("http://a:1", "http://a:2", "http://a:3"))
"""


@pytest.mark.parametrize("by_way_of", ["checkout", "sdist"])
def test_a_wheel_has_the_rules_of_the_library(tmp_path: Path, by_way_of: str) -> None:
    source = ROOT
    if by_way_of == "sdist":
        build("sdist", ROOT, tmp_path)
        with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
            archive.extractall(tmp_path, filter="data")
        source = next(path for path in tmp_path.iterdir() if path.is_dir())
    build("wheel", source, tmp_path)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        archive.extractall(tmp_path / "installed")
    done = subprocess.run(
        [sys.executable, "-c", WRITE], cwd=tmp_path, env=os.environ | {"PYTHONPATH": "installed"}, timeout=300
    )
    assert done.returncode == 0
    text = (tmp_path / "installed/remediator/cli/demo/files/web.yml").read_text()
    assert text == (ROOT / "rules/web.yml").read_text()
    assert (tmp_path / "web.yml").read_text() == speed_up(text)
    (tmp_path / "mine.yml").write_text("extends: [remediator/web, remediator/kubernetes]\n")
    check = [sys.executable, "-m", "remediator", "check", "mine.yml"]
    done = subprocess.run(check, cwd=tmp_path, env=os.environ | {"PYTHONPATH": "installed"}, timeout=60)
    assert done.returncode == 0
    assert (tmp_path / "installed/remediator/library/web.yml").read_text() == text


def build(kind: str, source: Path, into: Path) -> None:
    argv = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(into)]
    subprocess.run(argv, cwd=source, check=True, capture_output=True, timeout=300)

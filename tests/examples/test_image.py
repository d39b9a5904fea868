"""The image: what its Dockerfile copies is there, and it is built from the versions that the tests run with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "examples/compose/Dockerfile").read_text()
IGNORED = (ROOT / ".dockerignore").read_text().split()


def pins(lock: str) -> dict[str, str]:
    """The version of each package in a lock file, by name."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_its_packages_are_those_of_the_lock() -> None:
    runtime, everything = pins("requirements-run.lock"), pins("requirements.lock")
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[^\w-]", name)[0] for name in wanted} <= runtime.keys()
    assert "pytest" not in runtime
    assert runtime.items() <= everything.items()


def test_it_is_built_of_files_that_are_there_and_are_sent() -> None:
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]
    ]
    assert "remediator" in copied
    for name in copied:
        assert (ROOT / name).exists()
        assert name not in IGNORED


def test_it_runs_as_nobody_in_particular() -> None:
    stage = DOCKERFILE.partition("AS remediator\n")[2]
    assert re.search(r"^USER 1000$", stage, re.MULTILINE)
    assert "HEALTHCHECK" in stage

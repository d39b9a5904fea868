"""The guide in rules/README.md on a Prometheus with hours of history: its rules from a backtest to a heal somebody allows."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from library.test_guide import ASK_A_NEIGHBOUR, ROOT, blocks
from real.prometheus import Exposition, RealPrometheus, free_port, in_thread, until

NOW = int(time.time())
TROUBLE = (NOW - 5 * 3600, NOW - 5 * 3600 + 1200)
SYSTEMCTL = """#!/bin/sh
echo "$@" >> {log}
"""


def open_metrics() -> str:
    """A day in which checkout failed for twenty minutes and was well again, in the words of the guide's expressions."""
    good, bad, up = ["# TYPE http_requests counter"], [], ["# TYPE pg_up gauge"]
    errors = 0
    for index, at in enumerate(range(NOW - 86_400, NOW - 60, 15)):
        errors += 20 if TROUBLE[0] <= at < TROUBLE[1] else 0
        good.append(f'http_requests_total{{service="checkout",code="200"}} {80 * index} {at}')
        bad.append(f'http_requests_total{{service="checkout",code="500"}} {errors} {at}')
        up.append(f'pg_up{{service="postgres"}} 1 {at}')
    return "\n".join([*good, *bad, *up, "# EOF", ""])


class Failing(Exposition):
    """checkout as it fails now: a fifth of its requests."""

    @property
    def text(self) -> str | None:
        seconds = time.time() - NOW
        return (
            f'http_requests_total{{service="checkout",code="200"}} {80 * seconds:.0f}\n'
            f'http_requests_total{{service="checkout",code="500"}} {20 * seconds:.0f}\n'
            'pg_up{service="postgres"} 1\n'
        )

    @text.setter
    def text(self, _: str | None) -> None:
        """It is what it is."""


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[RealPrometheus]:
    with (
        Failing() as exposition,
        RealPrometheus(tmp_path, history=open_metrics(), targets=[exposition.address]) as server,
    ):
        yield server


class Author:
    """Somebody who follows the guide in a folder of their own, in which systemctl takes note."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.systemctl = folder / "systemctl.log"
        programs = folder / "bin"
        programs.mkdir(parents=True)
        (programs / "systemctl").write_text(SYSTEMCTL.format(log=self.systemctl))
        (programs / "systemctl").chmod(0o755)
        (folder / "remediator").symlink_to(ROOT)
        self.environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "REMEDIATOR_URL": f"http://127.0.0.1:{self.port}",
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    def run(self, command: str) -> str:
        """What a command of the guide says, which has to end well."""
        argv = [sys.executable, "-m", *shlex.split(command)]
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """One that goes on."""
        argv = [sys.executable, "-m", *shlex.split(command), f"--web.listen-address=127.0.0.1:{self.port}"]
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(argv, cwd=self.folder, env=self.environment, stdout=log, stderr=log)


async def test_from_a_backtest_to_a_heal_that_somebody_allows(tmp_path: Path, prometheus: RealPrometheus) -> None:
    author = Author(tmp_path / "author")
    served: list[subprocess.Popen[bytes]] = []
    told: dict[str, list[str]] = {}

    async def waits_for_approval() -> bool:
        found = json.loads(await in_thread(lambda: author.run("remediator incidents --output json"))())
        return any(incident["hold"] and incident["hold"]["gate"] == "approval" for incident in found)

    try:
        for block in blocks():
            if block.file:
                (author.folder / block.file).parent.mkdir(exist_ok=True, parents=True)
                (author.folder / block.file).write_text(block.text.replace("http://localhost:9090", prometheus.url))
                continue
            for line in block.text.splitlines():
                command = line.partition("   #")[0].strip()
                verb = command.split()[1] if command.startswith("remediator ") else ""
                if verb not in ASK_A_NEIGHBOUR:
                    continue
                if verb == "serve":
                    served.append(author.start(command))
                    await until(in_thread(lambda: (author.folder / "remediator.db").exists()))
                    await until(waits_for_approval)
                    continue
                told.setdefault(verb, []).append(await in_thread(lambda command=command: author.run(command))())
        await until(lambda: author.systemctl.exists() and "restart checkout.service" in author.systemctl.read_text())
    finally:
        for process in served:
            process.terminate()
            process.wait(20)

    table = told["backtest"][0]
    # The trouble of five hours ago would have been one restart, if that cures it; what is wrong now has begun, too.
    assert "restart" in table
    assert "error_ratio 0.2 > 0.1" in table
    assert (author.folder / "backtest.html").read_text().startswith("<!doctype html>")
    assert "approval" in told["why"][0]
    assert "checkout" in told["incidents"][0]
    assert "approved" in told["approve"][0]
    assert told["pause"]

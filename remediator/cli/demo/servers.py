"""The demo's servers: real Prometheus and Alertmanager, and remediator itself, each a process in the demo's folder.

All listen on free loopback ports, scrape and evaluate every second, and write to `logs/`. They end with this process,
even if it is killed. They must be started from the main thread, because the kernel ties their end to that thread.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from remediator.cli.demo.pace import speed_up
from remediator.cli.demo.processes import DemoError, free_port

_READY_WITHIN = 30.0
_STOP_WITHIN = 10.0
_RULES = ("rules.yml", "web.yml")
"""The demo's own rules, and the library's file that it uses. Earlier files take precedence."""
_PACKAGES = "apt-get install prometheus prometheus-alertmanager"


@dataclass(frozen=True)
class ServerUrls:
    """The servers' URLs, without a slash at the end."""

    prometheus: str
    alertmanager: str
    remediator: str


def find_programs() -> tuple[str, str]:
    """The paths of Prometheus and Alertmanager. DemoError names the packages when one is missing."""
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        raise DemoError(f"cannot find prometheus: {_PACKAGES}")
    # Debian's package adds a prefix to the program's name.
    alertmanager = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if alertmanager is None:
        raise DemoError(f"cannot find prometheus-alertmanager: {_PACKAGES}")
    return prometheus, alertmanager


@contextlib.contextmanager
def running_servers(folder: Path) -> Iterator[ServerUrls]:
    """Start all three. They are ready inside the `with` block, and stopped after it."""
    prometheus, alertmanager = find_programs()
    urls = ServerUrls(*(f"http://127.0.0.1:{free_port()}" for _ in range(3)))
    write_files(folder, urls)
    with contextlib.ExitStack() as stack:

        def start(name: str, url: str, *argv: str) -> None:
            process = stack.enter_context(_process(folder, name, list(argv)))
            _wait_until_ready(folder, name, process, url)

        start(
            "prometheus",
            urls.prometheus,
            prometheus,
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=prometheus-data",
            f"--web.listen-address={_address(urls.prometheus)}",
            "--rules.alert.resend-delay=5s",
            # Without this a new target is first scraped after up to ten seconds.
            "--scrape.discovery-reload-interval=200ms",
        )
        start(
            "alertmanager",
            urls.alertmanager,
            alertmanager,
            "--config.file=alertmanager.yml",
            "--storage.path=alertmanager-data",
            f"--web.listen-address={_address(urls.alertmanager)}",
            "--cluster.listen-address=",
        )
        start(
            "remediator",
            urls.remediator,
            *(sys.executable, "-m", "remediator", "serve"),
            "--config.file=remediator.yml",
            f"--web.listen-address={_address(urls.remediator)}",
        )
        yield urls


def write_files(folder: Path, urls: ServerUrls) -> None:
    """Write the configuration of all three, and the package's rule files with shortened times."""
    scrape = {"job_name": "shop", "file_sd_configs": [{"files": ["targets/*.json"]}]}
    itself = {"job_name": "remediator", "static_configs": [{"targets": [_address(urls.remediator)]}]}
    prometheus = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [_address(urls.alertmanager)]}]}]},
        "scrape_configs": [scrape, itself],
    }
    webhook = {"url": f"{urls.remediator}/webhook", "send_resolved": True}
    alertmanager = {
        "route": {
            "receiver": "team",
            "group_by": ["alertname", "service"],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
            # As the README has it: people, who are nobody here, are sent everything as well.
            "routes": [
                {
                    "receiver": "remediator",
                    "matchers": ['sender!="remediator"', 'job!="remediator"'],
                    "continue": True,
                },
                {"receiver": "team"},
            ],
        },
        "receivers": [{"name": "team"}, {"name": "remediator", "webhook_configs": [webhook]}],
    }
    remediator = {
        "global": {"evaluation_interval": "1s", "query_timeout": "5s", "stale_after": "10s", "settle": "2s"},
        "prometheus": {"url": urls.prometheus},
        "alertmanagers": [{"url": urls.alertmanager, "receiver": "remediator"}],
        "rule_files": list(_RULES),
        "storage": {"url": "sqlite:///remediator.db"},
        "limits": {"concurrent": 4},
    }
    for name, document in (("prometheus", prometheus), ("alertmanager", alertmanager), ("remediator", remediator)):
        _write_yaml(folder / f"{name}.yml", document)
    source = files("remediator.cli.demo") / "files"
    (folder / "alerts.yml").write_text((source / "alerts.yml").read_text())
    for name in _RULES:
        (folder / name).write_text(speed_up((source / name).read_text()))


def _write_yaml(path: Path, document: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def _address(url: str) -> str:
    return url.removeprefix("http://")


@contextlib.contextmanager
def _process(folder: Path, name: str, argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    ends_with_us = shutil.which("setpriv")
    if ends_with_us:
        argv = [ends_with_us, "--pdeathsig", "TERM", *argv]
    # In its own session: Ctrl-C must reach only the demo, which ends the others in order.
    with _log(folder, name).open("ab") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_ready(folder: Path, name: str, process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                return
        except urllib.error.HTTPError as error:
            error.close()
            time.sleep(0.05)
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise DemoError("\n    ".join([f"cannot start {name}:", *last_lines(folder, name)]))


def last_lines(folder: Path, name: str, count: int = 5) -> list[str]:
    """The last lines that a process printed."""
    return _log(folder, name).read_text(errors="replace").splitlines()[-count:]


def _log(folder: Path, name: str) -> Path:
    return folder / "logs" / f"{name}.log"

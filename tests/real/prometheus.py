"""Real Prometheus and Alertmanager on free loopback ports, and a metrics endpoint for them to scrape.

Each is a context manager, plain or async; in an `async with` block nothing blocks the event loop:

    with Exposition('up_to_now{service="checkout"} 1') as exposition:
        async with (
            RealAlertmanager(tmp_path, webhook="http://127.0.0.1:9797/webhook") as alertmanager,
            RealPrometheus(
                tmp_path,
                targets=[exposition.address],
                rules=[{"alert": "Down", "expr": "up_to_now == 0", "labels": {"severity": "critical"}}],
                alertmanagers=[alertmanager.address],
            ) as prometheus,
        ):
            await until(lambda: prometheus.query("up_to_now"))
            exposition.text = 'up_to_now{service="checkout"} 0'

Everything is scraped, evaluated and sent every second. A part that is not installed skips the test with the name of the
package that brings it; where the environment variable CI is set, it fails the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
import yaml

T = TypeVar("T")


def _state(task: Path) -> str:
    """The state of a thread, one letter; Z when it has ended."""
    try:
        return (task / "stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return "Z"


HANGS = 120.0
"""Seconds after which what a test waits for counts as hanging. No machine is so slow."""
_GIVEN: set[int] = set()
_PORTS = (Path(tempfile.gettempdir()) / f"remediator-test-ports.{os.getuid()}").open("wb")
"""A file each byte of which stands for a port: who has the byte's lock has the port, until its process ends."""


def part(binary: str, package: str) -> str:
    """The path of a program; without it the test is skipped, or fails where CI is set."""
    found = shutil.which(binary)
    if found is None:
        sentence = f"{binary} is not installed: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return found


def free_port() -> int:
    """A loopback TCP port that nothing listens on right now, and that no test process beside this one is given.

    It is below those that the system gives to outgoing connections, so that none takes it before its server does.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        if port in _GIVEN:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            fcntl.lockf(_PORTS, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            _GIVEN.add(port)
            probe.bind(("127.0.0.1", port))
            return port


async def until(check: Callable[[], T | Awaitable[T]], within: float = HANGS, every: float = 0.05) -> T:
    """The first true answer of `check`, asked again and again; fails the test after `within` seconds.

    The deadline is for what hangs, not for what is slow: give another only where the time is what is promised.
    A plain `check` that does I/O runs in a thread when it is given as `in_thread(check)`.
    """
    deadline = time.monotonic() + within
    while True:
        answer = check()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"did not come true within {within:g}s; the last answer was {answer!r}")
        await asyncio.sleep(every)


def in_thread(check: Callable[[], T]) -> Callable[[], Awaitable[T]]:
    """A check for `until` that does not block the event loop."""
    return lambda: asyncio.to_thread(check)


class Exposition:
    """A /metrics endpoint, served by a thread. Set `text` to what shall be scraped from now on; None answers 503."""

    def __init__(self, text: str | None = "") -> None:
        self.text = text
        self.scrapes = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.scrapes += 1
                text = outer.text
                self.send_response(503 if text is None else 200)
                body = (text or "").rstrip("\n").encode() + b"\n"
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def address(self) -> str:
        """host:port, for a scrape target."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.__exit__)


class _Server:
    """A process of one of Prometheus' family in a folder of its own, with `/-/ready` and `/-/reload`."""

    binary: str
    package: str
    name: str

    def __init__(self, folder: Path, web_config: Mapping[str, Any] | None, flags: Sequence[str]) -> None:
        self.port = free_port()
        number = 1
        while (folder / f"{self.name}-{number}").exists():
            number += 1
        self.folder = folder / f"{self.name}-{number}"
        self.folder.mkdir(parents=True)
        self.web_config = web_config
        self.flags = list(flags)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The address as a URL without a slash at its end."""
        scheme = "https" if self.web_config and "tls_server_config" in self.web_config else "http"
        return f"{scheme}://{self.address}"

    @property
    def log(self) -> str:
        """What the process has printed."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the process and return when it is ready. Can be called again after `stop` or `kill`."""
        path = part(self.binary, self.package)
        self._write()
        argv = [path, *self._arguments(), *self._listen(), *self.flags]
        if self.web_config is not None:
            (self.folder / "web.yml").write_text(yaml.safe_dump(dict(self.web_config)))
            argv.append(f"--web.config.file={self.folder / 'web.yml'}")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        deadline = time.monotonic() + HANGS
        while not self._ready():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                what = "ended" if ended else f"was not ready within {HANGS:g}s"
                pytest.fail(f"{self.name} {what}:\n{self.log[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the process gracefully, or by force when that hangs."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process with SIGKILL."""
        self._end(signal.SIGKILL)

    def suspend(self) -> None:
        """SIGSTOP: the process accepts connections but answers nothing; `resume` undoes it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        # Each thread stops when it next has its turn, and one may answer until then.
        tasks = Path(f"/proc/{self.process.pid}/task")
        deadline = time.monotonic() + HANGS
        while any(_state(task) not in "TZX" for task in tasks.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.005)

    def resume(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def reload(self) -> None:
        """Write the configuration again, from the attributes as they are now, and have it loaded."""
        self._write()
        self.request("/-/reload", method="POST")

    def request(self, path: str, *, method: str = "GET", body: Any = None) -> Any:
        """One HTTP request; the JSON answered, or its text where it is not JSON. Blocks."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=HANGS) as response:
            text = response.read().decode()
        try:
            return json.loads(text)
        except ValueError:
            return text

    def _listen(self) -> list[str]:
        return [f"--web.listen-address={self.address}"]

    def _ready(self) -> bool:
        if self.web_config is not None:
            # Credentials and certificates are the test's; that the port is open has to do.
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0
        try:
            self.request("/-/ready")
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except (OSError, urllib.error.URLError):
            return False
        return True

    def _end(self, number: int) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(HANGS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _arguments(self) -> list[str]:
        raise NotImplementedError

    def _write(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)


class RealPrometheus(_Server):
    """Prometheus. `targets` are host:port, scraped as job `test`, or a mapping of job to such lists; `rules` are
    alerting or recording rules as in a rule file, for instance `{"alert": "Down", "expr": "up == 0", "for": "2s"}`.
    `history` is OpenMetrics text with times, which it remembers from the beginning."""

    binary, package, name = "prometheus", "prometheus", "prometheus"

    def __init__(
        self,
        folder: Path,
        *,
        targets: Sequence[str] | Mapping[str, Sequence[str]] = (),
        rules: Sequence[Mapping[str, Any]] = (),
        alertmanagers: Sequence[str] = (),
        interval: str = "1s",
        web_config: Mapping[str, Any] | None = None,
        flags: Sequence[str] = (),
        history: str = "",
    ) -> None:
        super().__init__(folder, web_config, flags)
        self.history = history
        self.targets = targets
        self.rules = rules
        self.alertmanagers = alertmanagers
        self.interval = interval

    def start(self) -> None:
        if self.history and not (self.folder / "data").exists():
            text = self.folder / "history.om"
            text.write_text(self.history)
            argv = [part("promtool", "prometheus"), "tsdb", "create-blocks-from", "openmetrics", str(text), "data"]
            subprocess.run(argv, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        super().start()

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The result of an instant query. Blocks."""
        answer = self.request(f"/api/v1/query?{urllib.parse.urlencode({'query': expr})}")
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def _arguments(self) -> list[str]:
        return [
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            "--storage.tsdb.retention.time=10y",
            "--web.enable-lifecycle",
            "--rules.alert.resend-delay=1s",
            # Targets are first scraped five seconds after the start, and without this up to ten.
            "--scrape.discovery-reload-interval=100ms",
        ]

    def _write(self) -> None:
        jobs = self.targets if isinstance(self.targets, Mapping) else {"test": self.targets}
        rule_file = self.folder / "rules.yml"
        rule_file.write_text(yaml.safe_dump({"groups": [{"name": "test", "rules": [dict(r) for r in self.rules]}]}))
        document = {
            "global": {
                "scrape_interval": self.interval,
                "scrape_timeout": self.interval,
                "evaluation_interval": self.interval,
            },
            "rule_files": [str(rule_file)],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(targets)}]} for job, targets in jobs.items()
            ],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(self.alertmanagers)}]}]},
        }
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(document))


class RealAlertmanager(_Server):
    """Alertmanager with one webhook receiver named `remediator`, told at once and again every second that changes.

    `webhook_options` are further fields of the webhook receiver (`max_alerts`, `http_config`, ...); `route` and
    `receivers`, where given, replace the whole of them. Its peers are none: it opens no cluster port.
    """

    binary, package, name = "prometheus-alertmanager", "prometheus-alertmanager", "alertmanager"

    def __init__(
        self,
        folder: Path,
        *,
        webhook: str = "http://127.0.0.1:9/",
        webhook_options: Mapping[str, Any] | None = None,
        group_by: Sequence[str] = ("alertname", "service"),
        repeat_interval: str = "1h",
        route: Mapping[str, Any] | None = None,
        receivers: Sequence[Mapping[str, Any]] | None = None,
        inhibit_rules: Sequence[Mapping[str, Any]] = (),
        web_config: Mapping[str, Any] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        super().__init__(folder, web_config, flags)
        self.webhook = webhook
        self.inhibit_rules = inhibit_rules
        self.webhook_options = webhook_options or {}
        self.group_by = group_by
        self.repeat_interval = repeat_interval
        self.route = route
        self.receivers = receivers

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts it holds, as its API tells them. Blocks."""
        found: list[dict[str, Any]] = self.request("/api/v2/alerts")
        return found

    def post(self, *alerts: Mapping[str, Any]) -> None:
        """Hand in alerts as Prometheus would: `{"labels": {...}, "endsAt": "..."}`. Blocks."""
        self.request("/api/v2/alerts", method="POST", body=[dict(alert) for alert in alerts])

    def _arguments(self) -> list[str]:
        return [
            f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--storage.path={self.folder / 'data'}",
            "--cluster.listen-address=",
        ]

    def _write(self) -> None:
        webhook = {"url": self.webhook, "send_resolved": True, **self.webhook_options}
        document = {
            "route": dict(
                self.route
                or {
                    "receiver": "remediator",
                    "group_by": list(self.group_by),
                    "group_wait": "0s",
                    "group_interval": "1s",
                    "repeat_interval": self.repeat_interval,
                }
            ),
            "receivers": [
                dict(receiver) for receiver in self.receivers or [{"name": "remediator", "webhook_configs": [webhook]}]
            ],
            "inhibit_rules": [dict(rule) for rule in self.inhibit_rules],
        }
        (self.folder / "alertmanager.yml").write_text(yaml.safe_dump(document))

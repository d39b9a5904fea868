"""A real `remediator serve` process in a folder of its own, and a service for it to heal."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from real.prometheus import HANGS, free_port


class RealRemediator:
    """The daemon. `config` is merged over a minimal one; `rules` is the text of its rule file; `program` is how it is
    called."""

    def __init__(
        self,
        folder: Path,
        *,
        prometheus: str,
        rules: str,
        config: Mapping[str, Any] | None = None,
        flags: Sequence[str] = (),
        port: int | None = None,
        program: Sequence[str] = (sys.executable, "-m", "remediator"),
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.flags = list(flags)
        self.program = list(program)
        self.process: subprocess.Popen[bytes] | None = None
        document: dict[str, Any] = {
            "global": {"evaluation_interval": "1s", "query_timeout": "10s", "stale_after": "30s", "settle": "1s"},
            "prometheus": {"url": prometheus},
            "rule_files": ["rules.yml"],
            "storage": {"url": "sqlite:///remediator.db"},
        }
        for key, value in (config or {}).items():
            document[key] = {**document.get(key, {}), **value} if isinstance(value, dict) else value
        folder.mkdir(parents=True, exist_ok=True)
        self.config_file = folder / "remediator.yml"
        self.config_file.write_text(yaml.safe_dump(document))
        self.rule_file = folder / "rules.yml"
        self.rule_file.write_text(rules)

    @property
    def webhook(self) -> str:
        return f"{self.url}/webhook"

    @property
    def log(self) -> str:
        path = self.folder / "remediator.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, *, ready: bool = True) -> None:
        """Start it, and return when it is ready. Can be called again after `stop` or `kill`."""
        argv = [
            *self.program,
            "serve",
            f"--config.file={self.config_file}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            *self.flags,
        ]
        with (self.folder / "remediator.log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        deadline = time.monotonic() + HANGS
        while ready and not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"remediator did not become ready:\n{self.log[-4000:]}")
            time.sleep(0.02)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(HANGS)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"remediator did not end within {HANGS:g}s of SIGTERM:\n{self.log[-4000:]}")
        self.process = None
        return code

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def credential(self) -> dict[str, str]:
        """The header with this machine's credential, where the daemon has made one."""
        files = [*self.folder.glob("*.token")]
        return {"Authorization": f"Bearer {files[0].read_text().strip()}"} if files else {}

    def request(self, path: str, body: Any = None, method: str = "", headers: Mapping[str, str] | None = None) -> Any:
        """One HTTP request; the `data` of the answer. Blocks."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path,
            data=data,
            headers={"Content-Type": "application/json", **(self.credential if headers is None else headers)},
            method=method or ("GET" if body is None else "POST"),
        )
        with urllib.request.urlopen(request, timeout=HANGS) as response:
            return json.loads(response.read())["data"]

    def text(self, path: str) -> str:
        """One GET; the answer as text. Blocks."""
        with urllib.request.urlopen(self.url + path, timeout=HANGS) as response:
            answer: str = response.read().decode()
            return answer

    def incidents(self) -> list[dict[str, Any]]:
        """Every incident, newest first, with its runs."""
        found = self.request("/api/v1/incidents")
        incidents: list[dict[str, Any]] = found["incidents"] if isinstance(found, dict) else found
        return incidents

    def closed(self, count: int = 1) -> list[dict[str, Any]]:
        """The incidents once `count` of them are closed, otherwise nothing."""
        done = [incident for incident in self.incidents() if incident["verdict"]]
        return done if len(done) >= count else []

    def _ready(self) -> bool:
        try:
            self.text("/-/ready")
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except (OSError, urllib.error.URLError):
            return False
        return True

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *failure: object) -> None:
        if self.process is not None and self.process.poll() is None:
            code = await asyncio.to_thread(self.stop)
            if failure[0] is None:
                assert code == 0, self.log[-4000:]
        if failure[0] is not None:
            sys.stderr.write(self.log[-8000:])

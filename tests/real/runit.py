"""A real runsvdir over a folder of its own, with services of the test; it need not be the first process.

with RealRunit(tmp_path / "service", {"web": "exec sleep infinity"}) as runit:
    runit.sv("status", "web")
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from real.prometheus import HANGS, part


class RealRunit:
    """One runsvdir. `folder` holds the services, whose `run` scripts are given as shell text."""

    def __init__(self, folder: Path, services: Mapping[str, str]) -> None:
        self._runsvdir, self._sv = part("runsvdir", "runit"), part("sv", "runit")
        self.folder = folder
        self._services = services

    def __enter__(self) -> Self:
        for name, text in self._services.items():
            script = self.folder / name / "run"
            script.parent.mkdir(parents=True)
            script.write_text(f"#!/bin/sh\nexec 2>&1\n{text}\n")
            script.chmod(0o755)
        self._process = subprocess.Popen(
            [self._runsvdir, "-P", str(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + HANGS
        while not all(self.pid(name) for name in self._services):
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise RuntimeError("runsvdir does not run")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        # HUP has it end its services too, but it waits for none of them.
        for name in self._services:
            self.sv("-w", "5", "force-stop", name)
        self._process.send_signal(signal.SIGHUP)
        self._process.wait(HANGS)

    def sv(self, *words: str) -> str:
        """What sv prints of the service that is the last word."""
        command = [self._sv, *words[:-1], str(self.folder / words[-1])]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def pid(self, name: str) -> int:
        """The process of a service, 0 when there is none."""
        try:
            return int((self.folder / name / "supervise" / "pid").read_text() or 0)
        except FileNotFoundError:
            return 0

"""systemd as the first process of a container on this machine's own files, with units of the test.

    with RealSystemd(tmp_path, {"web.service": "[Service]\\nExecStart=sleep infinity\\n"}) as systemd:
        systemd.inside("systemctl", "start", "web.service")

What the container writes outside of the test's folder is gone with it. Needs root, as systemd-nspawn does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pytest
from real.processes import children
from real.prometheus import HANGS, part


class RealSystemd:
    """One container. `enter` is what to put in front of an argv so that it runs inside."""

    enter: tuple[str, ...]

    def __init__(
        self,
        folder: Path,
        units: Mapping[str, str],
        *,
        files: Mapping[str, str] | None = None,
        binds: Mapping[Path, str] | None = None,
    ) -> None:
        self._nspawn = part("systemd-nspawn", "systemd-container")
        self._nsenter = part("nsenter", "util-linux")
        if not Path("/usr/bin/dbus-daemon").exists():
            part("dbus-daemon", "dbus")
        if os.geteuid() != 0:
            pytest.skip("systemd-nspawn needs root")
        self._folder = folder
        self._units = units
        self._files = dict(files or {})
        """Further files of the container, by their path there."""
        self._binds = dict(binds or {})
        """Folders of this machine, and where they are in the container."""

    def __enter__(self) -> Self:
        binds = [f"--bind-ro={source}:{target}" for source, target in self._binds.items()]
        for number, (target, text) in enumerate(self._files.items()):
            file = self._folder / f"file-{number}"
            file.write_text(text)
            binds.append(f"--bind-ro={file}:{target}")
        for name, text in self._units.items():
            file = self._folder / name
            file.write_text(text)
            binds.append(f"--bind-ro={file}:/etc/systemd/system/{name}")
        self._log = (self._folder / "systemd.log").open("wb")
        self._process = subprocess.Popen(
            [
                self._nspawn,
                "--quiet",
                "--register=no",
                "--keep-unit",
                f"--machine=test-{os.getpid()}",
                "--directory=/",
                "--volatile=yes",
                "--private-network",
                f"--bind={self._folder}:/test",
                *binds,
                "--console=pipe",
                "--boot",
                "systemd.unit=basic.target",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            self._wait_until_it_runs()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def inside(self, *argv: str) -> str:
        """Run a command in the container; its standard output."""
        done = subprocess.run([*self.enter, *argv], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def _wait_until_it_runs(self, within: float = HANGS) -> None:
        end = time.monotonic() + within
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            for leader in children(self._process.pid):
                self.enter = (self._nsenter, "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "-C", "--")
                if self.inside("systemctl", "is-system-running") in ("running", "degraded"):
                    return
            time.sleep(0.05)
        raise RuntimeError(
            f"systemd does not run: {(self._folder / 'systemd.log').read_text(errors='replace')[-2000:]}"
        )

    def _stop(self) -> None:
        for leader in children(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(leader, signal.SIGKILL)
        try:
            self._process.wait(HANGS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

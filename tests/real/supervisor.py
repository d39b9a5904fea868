"""A real supervisord with programs of the test, spoken to through a socket in the test's folder.

with RealSupervisor(tmp_path, {"web": "sleep infinity"}) as supervisor:
    supervisor.ctl("status")
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from real.prometheus import HANGS, part


class RealSupervisor:
    """One supervisord. `config` is its file, `bin` the folder of its programs."""

    def __init__(self, folder: Path, programs: Mapping[str, str]) -> None:
        # pip puts it beside the interpreter, the package into /usr/bin.
        beside = Path(sys.executable).parent / "supervisord"
        self._supervisord = str(beside) if beside.exists() else part("supervisord", "supervisor")
        self.bin = Path(self._supervisord).parent
        self.config = folder / "supervisord.conf"
        self.config.write_text(
            f"[supervisord]\nnodaemon=true\nlogfile={folder}/supervisord.log\npidfile={folder}/supervisord.pid\n"
            f"childlogdir={folder}\n"
            f"[unix_http_server]\nfile={folder}/s.sock\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{folder}/s.sock\n"
            + "".join(
                f"[program:{name}]\ncommand={command}\nstartsecs=0\nautorestart=false\nstopwaitsecs=5\n"
                for name, command in programs.items()
            )
        )
        self._socket = folder / "s.sock"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [self._supervisord, "-c", str(self.config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + HANGS
        while not self._socket.exists() or "refused" in self.ctl("status"):
            if self._process.poll() is not None or time.monotonic() > end:
                self._stop()
                raise RuntimeError("supervisord does not run")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def ctl(self, *words: str) -> str:
        """What supervisorctl prints."""
        command = [str(self.bin / "supervisorctl"), "-c", str(self.config), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def pid(self, program: str) -> int:
        """The process of a program, 0 when there is none."""
        text = self.ctl("pid", program).strip()
        return int(text) if text.isdigit() else 0

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(HANGS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

"""The daemon's side of the watchdog: reports running commands to it, and starts it when there is none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

logger = logging.getLogger(__name__)

GRACE = 5.0
"""Seconds between TERM and KILL."""
MARGIN = 1.0
"""Seconds that the daemon has for KILL, after TERM and `GRACE`, before the watchdog ends the command."""

_WATCHDOG = Path(__file__).with_name("watchdog.py")


class Supervisor:
    """Ensures that no command outlives the daemon, or its limit while the daemon hangs.

    Wrapping each command in setpriv and timeout would start two more programs per command, and would not end a
    grandchild that ignores TERM.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._running: dict[int, tuple[float, int | None]] = {}

    def begin(self, key: int, timeout: float) -> None:
        """Announce a command before it is spawned. `key` is the inode of its output pipe."""
        self._running[key] = (time.monotonic() + timeout + GRACE + MARGIN, None)
        if self._process is None:
            self._start()
        else:
            self._tell(f"begin {key} {timeout + GRACE + MARGIN}\n")

    def group(self, key: int, group: int) -> None:
        """Report the process group of a command that was spawned."""
        self._running[key] = (self._running[key][0], group)
        self._tell(f"group {key} {group}\n")

    def end(self, key: int) -> None:
        """Report that a command is over. Processes that it left running may go on."""
        if self._running.pop(key, None) is not None:
            self._tell(f"end {key}\n")

    async def close(self) -> None:
        """Stop the watchdog. It ends the commands that still run first."""
        if self._process is not None:
            os.close(self._pipe)
            process, self._process = self._process, None
            await asyncio.to_thread(process.wait)

    def _tell(self, line: str) -> None:
        if self._process is None:
            return
        try:
            # A short write to a pipe is atomic.
            os.write(self._pipe, line.encode())
        except OSError:
            logger.warning("the watchdog of running commands is gone: starting another")
            self._discard()
            self._start()

    def _start(self) -> None:
        theirs, self._pipe = os.pipe()
        # A watchdog that hangs must not block the daemon.
        os.set_blocking(self._pipe, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_WATCHDOG), str(GRACE)],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
            )
        except OSError as error:
            logger.warning("cannot start the watchdog: commands would outlive a crash of this process: %s", error)
            os.close(self._pipe)
            return
        finally:
            os.close(theirs)
        now = time.monotonic()
        with contextlib.suppress(OSError):
            for key, (limit, group) in self._running.items():
                os.write(self._pipe, f"begin {key} {limit - now}\n".encode())
                if group is not None:
                    os.write(self._pipe, f"group {key} {group}\n".encode())

    def _discard(self) -> None:
        if self._process is not None:
            os.close(self._pipe)
            self._process.kill()
            self._process.wait()
            self._process = None

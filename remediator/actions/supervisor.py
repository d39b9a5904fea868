"""The owner's side of the watchdog: tells it which commands run, starts it when needed, and again when it is gone."""

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
"""Seconds that a command's owner is given, after TERM and KILL were due, before the watchdog ends the command."""

_WATCHDOG = Path(__file__).with_name("watchdog.py")


class Supervisor:
    """Sees to it that no command outlives its owner, or its limit while the owner hangs.

    A command in front of every command (setpriv, timeout) would do this too, at the price of two more program starts
    each, and it would let go of a grandchild that ignores TERM.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._kept: dict[int, tuple[float, int | None]] = {}

    def begin(self, key: int, timeout: float) -> None:
        """A command is about to be spawned that prints to the pipe with the inode `key`."""
        self._kept[key] = (time.monotonic() + timeout + GRACE + MARGIN, None)
        if self._process is None:
            self._start()
        else:
            self._tell(f"begin {key} {timeout + GRACE + MARGIN}\n")

    def group(self, key: int, group: int) -> None:
        """It was spawned and leads this process group."""
        self._kept[key] = (self._kept[key][0], group)
        self._tell(f"group {key} {group}\n")

    def end(self, key: int) -> None:
        """It is over; what it left running may go on."""
        if self._kept.pop(key, None) is not None:
            self._tell(f"end {key}\n")

    async def close(self) -> None:
        """Let the watchdog go; it ends first what is still kept."""
        if self._process is not None:
            os.close(self._pipe)
            process, self._process = self._process, None
            await asyncio.to_thread(process.wait)

    def _tell(self, line: str) -> None:
        if self._process is None:
            return
        try:
            # Short writes to a pipe are whole or not at all.
            os.write(self._pipe, line.encode())
        except OSError:
            logger.warning("the watchdog of running commands is gone: starting another")
            self._discard()
            self._start()

    def _start(self) -> None:
        theirs, self._pipe = os.pipe()
        # A watchdog that stopped reading must not stop the daemon.
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
            for key, (limit, group) in self._kept.items():
                os.write(self._pipe, f"begin {key} {limit - now}\n".encode())
                if group is not None:
                    os.write(self._pipe, f"group {key} {group}\n".encode())

    def _discard(self) -> None:
        if self._process is not None:
            os.close(self._pipe)
            self._process.kill()
            self._process.wait()
            self._process = None

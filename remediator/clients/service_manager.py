"""The service manager that started this process: it gets readiness, and its watchdog is fed (sd_notify(3)).

Without `NOTIFY_SOCKET` in the environment, as outside of systemd, nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)


class ServiceManager:
    """Sends states to the service manager. `watchdog` is the seconds within which it has to hear, or 0."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        meant = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        microseconds = environment.get("WATCHDOG_USEC", "")
        self.watchdog = int(microseconds) / 1e6 if meant and microseconds.isascii() and microseconds.isdigit() else 0.0

    def notify(self, *states: str) -> None:
        """Send states such as `READY=1`. What cannot be sent is logged: a service must not end because of it."""
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
                connection.setblocking(False)
                connection.sendto("\n".join(states).encode(), address)
        except OSError as error:
            log.warning("cannot tell the service manager: %s", error)

    async def feed_watchdog(self, alive: Callable[[float], bool]) -> None:
        """Feed the watchdog until cancelled, as long as `alive` says so.

        `alive` is asked whether the program has worked within this many seconds, which are half the watchdog's.
        """
        if not self.watchdog:
            return
        while True:
            if alive(self.watchdog / 2):
                self.notify("WATCHDOG=1")
            await asyncio.sleep(self.watchdog / 4)

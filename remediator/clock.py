"""The clock: wall time for what is remembered, and sleeping. Tests and rehearsals put their own in its place."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where `now` comes from. Times are seconds since the Unix epoch, UTC."""

    def now(self) -> float:
        """The present time."""
        ...

    async def wait(self, event: asyncio.Event, timeout: float) -> None:
        """Return when the event is set or `timeout` seconds have passed, whichever is first."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    async def wait(self, event: asyncio.Event, timeout: float) -> None:
        if timeout <= 0 or event.is_set():
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            pass


def rfc3339(seconds: float) -> str:
    """UTC text with milliseconds, as Prometheus' and Alertmanager's APIs write it."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds // 1))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"

"""The clock: wall time for what is remembered, and sleeping. Tests and rehearsals put their own in its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Where `now` comes from. Times are seconds since the Unix epoch, UTC."""

    def now(self) -> float:
        """The present time."""
        ...

    async def wait(self, event: asyncio.Event, timeout: float) -> None:
        """Return when the event is set or `timeout` seconds have passed, whichever is first."""
        ...


# Linux alone tells the time that a suspended machine sleeps through.
_STEADY: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> float:
    """Seconds since some time in the past, that nobody sets and that go on while the machine is suspended."""
    return time.clock_gettime(_STEADY)


class SystemClock:
    """Wall time without its jumps: when somebody sets the clock, this one goes on as before and catches up little by
    little, so that no deadline fires early, late or for ever. `wall` is what it catches up with."""

    CATCHES_UP = 0.005
    """How much faster or slower than real time it goes to catch up."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = steady) -> None:
        self._wall = wall
        self._steady = steady
        self._last = (steady(), wall())

    def now(self) -> float:
        before, then = self._last
        after = self._steady()
        went = max(0.0, after - before)
        now, most = then + went, went * self.CATCHES_UP
        now += min(max(self._wall() - now, -most), most)
        self._last = (after, now)
        return now

    @property
    def skew(self) -> float:
        """By how many seconds it is ahead of the wall time it catches up with."""
        return self.now() - self._wall()

    def follow(self, wall: Callable[[], float]) -> None:
        """Go by another wall time from now on, and take it over at once."""
        self._wall = wall
        self._last = (self._steady(), wall())

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

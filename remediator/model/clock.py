"""The clock: wall time for what is remembered, sleeping, and retrying. Tests and simulations put their own in its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


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


async def sleep(clock: Clock, seconds: float) -> None:
    """Return when this many seconds have passed by the clock."""
    await clock.wait(asyncio.Event(), seconds)


@dataclass(frozen=True)
class Backoff:
    """How long to pause between attempts: `first` seconds after the first failure, then twice as long each time, at most
    `longest`. `jitter` gives numbers from 0 to 1, and shortens a pause to as little as half of it."""

    first: float
    longest: float
    jitter: Callable[[], float] | None = None

    def pause(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row."""
        pause = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        return pause if self.jitter is None else pause * (0.5 + 0.5 * self.jitter())


async def retry(
    clock: Clock,
    backoff: Backoff,
    attempt: Callable[[], Awaitable[T]],
    errors: type[Exception] | tuple[type[Exception], ...],
    on_failure: Callable[[Exception, int], object],
) -> T:
    """Make attempts until one succeeds, and return its result. `on_failure` is called with each error of these types and
    the number of failures so far, before the pause; it gives up by raising."""
    failures = 0
    while True:
        try:
            return await attempt()
        except errors as error:
            failures += 1
            on_failure(error, failures)
        await sleep(clock, backoff.pause(failures))


_FIRST, _LAST = -62135596800.0, 253402300799.999
"""The first and the last time that such a text can tell: of the years 1 and 9999."""


def rfc3339(seconds: float) -> str:
    """UTC text with milliseconds, as Prometheus' and Alertmanager's APIs write it; the nearest there is."""
    whole, thousandths = divmod(round(min(max(seconds, _FIRST), _LAST) * 1000), 1000)
    at = time.gmtime(whole)
    return f"{at.tm_year:04d}{time.strftime('-%m-%dT%H:%M:%S', at)}.{thousandths:03d}Z"

"""Virtual time: an event loop whose clock stands still while there is work, and then jumps to the next timer.

Everything in asyncio that waits for time (`sleep`, `timeout`, `call_later`) does so in virtual time. Work for a thread
runs at once, in the loop. There are no sockets, processes or signals.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from remediator.model.clock import Clock, SystemClock

T = TypeVar("T")

START = 1_700_006_400.0
"""Default start of virtual time: 2023-11-15 00:00:00 UTC."""


class StandstillError(RuntimeError):
    """A task waits, and nothing is left that could wake it."""


class Doze:
    """Someone who would wake at `due` and every `interval` seconds after, but has nothing to do until `until()`, as it is
    known at present. Of the times until then only the last counts, and of those before somebody else wakes."""

    def __init__(self, limit: asyncio.Timeout, due: float, interval: float, until: Callable[[], float]) -> None:
        self.limit = limit
        self._due = due
        self._interval = interval
        self._until = until

    def wakes(self, next_of_others: float) -> float | None:
        """When to wake if the others wake next at this time; None for not before them."""
        if next_of_others < self._due:
            return None
        until = self._until()
        if until <= self._due:
            return self._due
        end = min(next_of_others, until)
        if end == math.inf:
            return None
        count = math.floor((end - self._due) / self._interval)
        if self._due + self._interval * count >= until:
            count -= 1
        return self._due + self._interval * count


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop that makes time. `time()` is seconds since the epoch."""

    def __init__(self, start: float = START) -> None:
        super().__init__()
        self._now = start
        self._resting: list[asyncio.Future[None]] = []
        self._dozing: list[Doze] = []
        # The loop asks its selector to wait for the network until the next timer. `select` advances the time instead.
        self._selector = self
        # Timers this close are due: smaller steps get lost when they are added to seconds since the epoch.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._now

    async def rest(self) -> None:
        """Return when nothing more happens at this time: every task waits for a later one."""
        resting = self.create_future()
        self._resting.append(resting)
        await resting

    async def doze(self, event: asyncio.Event, due: float, interval: float, until: Callable[[], float]) -> None:
        """Wait for an event or the times of a `Doze`, whichever is first."""
        if event.is_set():
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(None) as limit:
                dozing = Doze(limit, due, interval, until)
                self._dozing.append(dozing)
                try:
                    await event.wait()
                finally:
                    if dozing in self._dozing:
                        self._dozing.remove(dozing)
        except TimeoutError:
            pass

    def select(self, timeout: float | None) -> tuple[()]:
        """Called by the loop when it has nothing to do for `timeout` seconds, or without end."""
        if timeout == 0:
            return ()
        if self._resting:
            for resting in self._resting:
                if not resting.done():
                    resting.set_result(None)
            self._resting.clear()
            return ()
        # The timer's own time, because now + timeout would miss it by a rounding error.
        leap = math.inf if timeout is None else self._scheduled[0].when()  # type: ignore[attr-defined]
        for dozing in list(self._dozing):
            wakes = dozing.wakes(leap)
            if wakes is not None:
                self._now = max(self._now, wakes)
                self._dozing.remove(dozing)
                dozing.limit.reschedule(self._now)
                return ()
        if leap == math.inf:
            raise StandstillError("cannot go on: everybody waits for something that nobody will do")
        self._now = max(self._now, leap)
        return ()

    def run_in_executor(self, executor: object, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Call the function now. The future already holds its result."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001
            # The error belongs to the task that waits.
            future.set_exception(error)
        return future

    def _process_events(self, event_list: object) -> None:
        """There are no events, because there are no sockets."""

    def _write_to_self(self) -> None:
        """The loop never blocks in a system call, so there is nothing to interrupt."""


class VirtualClock:
    """A `Clock` that shows the time of the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._system: Clock = SystemClock()

    def now(self) -> float:
        return self._loop.time()

    async def wait(self, event: asyncio.Event, timeout: float) -> None:
        await self._system.wait(event, timeout)


def run_virtually(story: Callable[[], Coroutine[Any, Any, T]], start: float = START) -> T:
    """Run a story to its end on a new loop, and cancel the tasks it left running. Call it outside of any event loop."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start)) as runner:
        return runner.run(story())

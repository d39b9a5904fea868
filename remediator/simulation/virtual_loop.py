"""Virtual time: an event loop whose clock stands still while anything can be done, and then leaps to what is due next.

Everything of asyncio that waits for time to pass (`sleep`, `timeout`, `call_later`) does so in virtual time by itself.
What would go to a thread is done at once, by the loop. There are no sockets, processes and signals: a rehearsal has no
outside.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from remediator.model.clock import Clock, SystemClock

T = TypeVar("T")

START = 1_700_006_400.0
"""When virtual time begins unless told otherwise: 2023-11-15 00:00:00 UTC."""


class StandstillError(RuntimeError):
    """Nothing is left that could ever happen, though someone waits."""


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
        # The loop asks its selector to wait for the network until the next timer: this is where time is made.
        self._selector = self
        # What is due this soon is due: smaller steps are lost when they are added to seconds since the epoch.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._now

    async def rest(self) -> None:
        """Return when nothing more happens at this time: everybody waits for a later one."""
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
        """Called by the loop when it has nothing to do for `timeout` seconds, or for ever."""
        if timeout == 0:
            return ()
        if self._resting:
            for resting in self._resting:
                if not resting.done():
                    resting.set_result(None)
            self._resting.clear()
            return ()
        # Exactly the time of the timer: the sum of now and the timeout would miss it by a rounding error.
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
        """Do it now; the future has its result."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001
            # It is for the one who waits.
            future.set_exception(error)
        return future

    def _process_events(self, event_list: object) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody waits in a system call who would have to be woken."""


class VirtualClock:
    """A `Clock` by the time of the running loop. Where the loop makes time, so does the clock."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._system: Clock = SystemClock()

    def now(self) -> float:
        return self._loop.time()

    async def wait(self, event: asyncio.Event, timeout: float) -> None:
        await self._system.wait(event, timeout)


def run_virtually(story: Callable[[], Coroutine[Any, Any, T]], start: float = START) -> T:
    """Run a story to its end on a loop of its own, and end whatever it left running. To be called from outside of any
    event loop."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start)) as runner:
        return runner.run(story())

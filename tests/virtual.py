"""Virtual time: a clock that stands still while anything can be done, and then leaps to the next deadline.

Use it wherever a `remediator.model.clock.Clock` is taken. Time passes only inside `run_for` and `run_until`:

    clock = VirtualClock(start=1_000.0)
    task = asyncio.create_task(evaluator.run())     # waits on the clock
    await clock.run_for(30)                         # thirty virtual seconds, in a few real milliseconds
    await clock.run_until(lambda: engine.idle, within=60)

`now` changes only when every task has come to rest: each waits on the clock, or on an event that nobody sets. What goes
on outside the event loop has to be counted, so that time stands still for it:

- work in threads through `asyncio.to_thread` or `loop.run_in_executor` is counted by itself, from the moment the clock
  is made inside the running loop;
- `clock.attended(store)` is the same object, but while one of its async methods runs, time stands still: for a store
  with a writer thread, or anything that spawns processes or talks to sockets (not for what itself waits on the clock);
- `async with clock.busy():` does the same for a block.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import inspect
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

T = TypeVar("T")

# A task that became ready needs a few turns of the loop until it waits again: a gathered task, a cancelled wait and a
# result handed over each take one or two.
_TURNS = 25


class VirtualClock:
    """A `Clock` whose time is moved by the test. `now()` starts at `start` seconds since the epoch."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._order = itertools.count()
        self._busy = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(RuntimeError):
            self._watch_threads(asyncio.get_running_loop())

    def now(self) -> float:
        """The virtual time."""
        return self._now

    async def wait(self, event: asyncio.Event, timeout: float) -> None:
        """Return when the event is set or `timeout` virtual seconds have passed."""
        if timeout <= 0 or event.is_set():
            await asyncio.sleep(0)
            return
        due = asyncio.Event()
        if timeout != float("inf"):
            heapq.heappush(self._sleepers, (self._now + timeout, next(self._order), due))
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(due.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Whoever was woken early does not come back for its old deadline.
            self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[2] is not due]
            heapq.heapify(self._sleepers)
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` of virtual time pass for the caller, while another task runs the clock."""
        await self.wait(asyncio.Event(), seconds)

    @contextlib.asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Time stands still within."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    def attended(self, thing: T) -> T:
        """`thing`, with time standing still while one of its async methods (or itself, called) runs."""
        clock = self

        class Attended:
            def __getattr__(self, name: str) -> Any:
                found = getattr(thing, name)
                return clock._attended_call(found) if inspect.iscoroutinefunction(found) else found

            async def __call__(self, *args: Any, **kwargs: Any) -> Any:
                return await clock._attended_call(thing)(*args, **kwargs)

        return Attended()  # type: ignore[return-value]

    async def settle(self) -> None:
        """Let everything that can go on without time passing go on, until all is at rest."""
        self._watch_threads(asyncio.get_running_loop())
        quiet = 0
        while quiet < _TURNS:
            await asyncio.sleep(0)
            quiet += 1
            if self._busy:
                quiet = 0
                # Real time, but no more of it than the work outside the loop takes.
                await asyncio.sleep(0.0005)

    async def run_for(self, seconds: float) -> None:
        """Let this much virtual time pass, stopping at every deadline on the way for what is due then."""
        end = self._now + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            await self._leap()
        self._now = end
        await self.settle()

    async def run_until(self, condition: Callable[[], object], within: float = 3600.0) -> None:
        """Let time pass until the condition is true; AssertionError when that takes over `within` virtual seconds."""
        end = self._now + within
        await self.settle()
        while not condition():
            assert self._sleepers, "nothing waits for time to pass, so the condition will not come true"
            assert self._sleepers[0][0] <= end, f"the condition did not come true within {within:g} virtual seconds"
            await self._leap()

    async def _leap(self) -> None:
        due = self._sleepers[0][0]
        self._now = max(self._now, due)
        while self._sleepers and self._sleepers[0][0] <= due:
            heapq.heappop(self._sleepers)[2].set()
        await self.settle()

    def _attended_call(self, function: Any) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            async with self.busy():
                return await function(*args, **kwargs)

        return call

    def _watch_threads(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count what the loop hands to worker threads, from hand-over until its result is back on the loop."""
        if self._loop is loop:
            return
        self._loop = loop
        original = loop.run_in_executor

        def run_in_executor(executor: Any, function: Any, *args: Any) -> asyncio.Future[Any]:
            future = original(executor, function, *args)
            self._busy += 1
            future.add_done_callback(lambda _: self._finished())
            return future

        loop.run_in_executor = run_in_executor  # type: ignore[method-assign, assignment]

    def _finished(self) -> None:
        self._busy -= 1

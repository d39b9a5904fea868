"""Announcing what the journal says: a task for each announcer follows the journal at its own pace.

`Follower` owns order, position and patience: it announces entries one by one, in the order in which they were committed,
and repeats one that fails for a reason that may pass. So a neighbour that is down delays its own announcements only.
`log`, `metrics` and `grafana` hold the announcers, which own what is said. `alertmanager` follows nothing: what people
have to hear is a state, and it keeps that state up to date.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, Protocol, TypeVar, runtime_checkable

from remediator.engine.broadcast import Broadcast
from remediator.errors import ConflictError, RemoteError, StoreError
from remediator.metrics import Metrics
from remediator.model.clock import Backoff, Clock, retry
from remediator.model.incident import Entry
from remediator.store.interface import Store

# Not `log`, which is what the module of that name becomes here once it is imported.
_logger = logging.getLogger(__name__)

_POLL = 5.0
"""Seconds between reads of the journal when nothing is committed here: other processes write to it too."""
_PAGE = 100
_LARGE_PAGE = 1_000
"""Entries that one read gives: those that go elsewhere one by one, and those that are written at once."""
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Announcer(Protocol):
    """Announces journal entries in one way. The store keeps the position of a durable one, which gets every entry at
    least once, over restarts too. Any other gets the entries that are written while the process runs."""

    @property
    def name(self) -> str:
        """What metrics, log lines and the stored place call it."""
        ...

    @property
    def durable(self) -> bool:
        """Whether it has to hear of everything."""
        ...

    async def tell(self, entry: Entry) -> None:
        """Tell one entry. RemoteError or StoreError when it could not; it may be called again for the same one."""
        ...


@runtime_checkable
class PageAnnouncer(Announcer, Protocol):
    """An announcer that takes what a read of the journal gave at once, oldest first. It is never durable."""

    async def tell_page(self, entries: Sequence[Entry]) -> None:
        """Tell these entries."""
        ...


class Follower:
    """Follows the journal for one announcer, at once whenever something is `committed`.

    `jitter` gives numbers from 0 to 1, which keep several followers from knocking in step.
    """

    def __init__(
        self,
        announcer: Announcer,
        store: Store,
        *,
        clock: Clock,
        metrics: Metrics,
        committed: Broadcast | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._announcer = announcer
        self._store = store
        self._clock = clock
        self._backoff = Backoff(first=0.5, longest=60.0, jitter=jitter)
        self._lag = metrics.announcer_lag.labels(announcer.name)
        self._failures = metrics.announcer_failures.labels(announcer.name)
        self._dropped = metrics.announcer_dropped.labels(announcer.name)
        self._committed = committed or Broadcast()
        self._position: int | None = None
        self._by_page = announcer if isinstance(announcer, PageAnnouncer) else None
        self._page = _PAGE if self._by_page is None else _LARGE_PAGE

    async def begin(self) -> None:
        """Settle where to begin: where it stopped last time, or at the journal's present end. `run` does so too; call
        this before anything is written, so that nothing written before `run` has its turn is missed."""
        if self._position is not None:
            return
        name, durable = self._announcer.name, self._announcer.durable
        position = await self._store.cursor(name) if durable else None
        if position is None:
            position = await self._store.journal_end()
            if durable:
                await self._store.move_cursor(name, position)
        self._position = position

    async def run(self) -> None:
        """Follow until cancelled."""
        woken = asyncio.Event()
        with self._committed.following(woken.set):
            while True:
                woken.clear()
                await self.catch_up()
                await self._clock.wait(woken, _POLL)

    async def catch_up(self) -> None:
        """Tell everything up to the journal's end, however long that takes."""
        await self._patiently(self.begin)
        while entries := await self._patiently(self._next_page):
            if self._by_page is not None:
                await self._tell_page(self._by_page, entries)
                continue
            for entry in entries:
                announced = await self._tell(entry)
                self._position = entry.id
                # An announcer can take an entry twice, but an entry that was given up must not come again.
                if self._announcer.durable and (entry is entries[-1] or not announced):
                    await self._patiently(self._store.move_cursor, self._announcer.name, entry.id)
        self._lag.set(0)

    async def _next_page(self) -> list[Entry]:
        entries = await self._store.journal(after=self._position or 0, limit=self._page)
        if len(entries) < self._page:
            self._lag.set(len(entries))
        else:
            await self._measure()
        return entries

    async def _tell_page(self, announcer: PageAnnouncer, entries: Sequence[Entry]) -> None:
        """Announce what a read gave. As with one entry, a defect keeps back nothing that comes later."""
        self._position = entries[-1].id
        try:
            await announcer.tell_page(entries)
        except Exception:
            first, last = entries[0].id, entries[-1].id
            _logger.exception("gives up telling %s of entries %d to %d", announcer.name, first, last)
            self._failures.inc()
            self._dropped.inc(len(entries))

    async def _tell(self, entry: Entry) -> bool:
        """Announce one entry, or give it up when repeating cannot help. Returns whether it was announced."""
        try:
            await self._patiently(self._announcer.tell, entry)
        except (RemoteError, ConflictError) as error:
            _logger.error("gives up telling %s of entry %d (%s): %s", self._announcer.name, entry.id, entry.text, error)
        except Exception:
            # A defect in one announcement must neither keep back the rest nor end the daemon, which would
            # come upon the same entry again after every restart.
            _logger.exception("gives up telling %s of entry %d (%s)", self._announcer.name, entry.id, entry.text)
        else:
            return True
        self._failures.inc()
        self._dropped.inc()
        return False

    async def _patiently(self, deed: Callable[_P, Awaitable[_T]], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do it, again and again while it fails for a reason that may pass. Says so once for each reason."""
        failed, said = 0, ""

        async def attempt() -> _T:
            if failed:
                await self._measure()
            return await deed(*args, **kwargs)

        def on_failure(error: Exception, failures: int) -> None:
            nonlocal failed, said
            if isinstance(error, ConflictError) or (isinstance(error, RemoteError) and not error.retry):
                raise error
            failed = failures
            self._failures.inc()
            if str(error) != said:
                _logger.warning("%s waits and tries again: %s", self._announcer.name, error)
                said = str(error)

        done = await retry(self._clock, self._backoff, attempt, (RemoteError, StoreError), on_failure)
        if failed:
            _logger.info("%s is told again, after %d failed attempts", self._announcer.name, failed)
        return done

    async def _measure(self) -> None:
        if self._position is None:
            return
        try:
            self._lag.set(await self._store.journal_end() - self._position)
        except StoreError:
            pass  # Whatever is tried next says so.

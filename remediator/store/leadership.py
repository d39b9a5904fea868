"""Leader election among the processes that share a database.

An SQLite file admits one process, by a lock on a file beside it. The kernel releases the lock when its holder ends.
Processes that share a PostgreSQL take turns by a lease in it. The leader renews the lease. It expires by the database's
clock, and has an epoch that fences the writes of earlier holders.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Protocol

from remediator.errors import LeaseError, StoreError
from remediator.model.clock import Backoff, SystemClock, retry, rfc3339, steady
from remediator.store.interface import Lease
from remediator.store.sql_store import SharedStore

log = logging.getLogger(__name__)

_LOOK = 0.5
"""Seconds between reads of a lease that another process holds."""
_REAL_TIME = SystemClock()
_BACKOFF = Backoff(first=_LOOK, longest=_LOOK)
_SOON = 0.01
"""Seconds after the end of a lease, by this process' estimate of the database's clock, until the next attempt to take
it."""
_RENEWALS = 5
"""How many times a lease is renewed in the time in which it would expire."""
_RETRY = 0.2
_GIVE_UP = 0.6
"""The share of the lease's time without a renewal after which its holder stands down. It needs the rest to end its
commands."""
_RELEASE_WITHIN = 2.0
_CLOCK_WITHIN = 1.0
"""Maximum seconds that a read of the database's clock may take. A slower answer is not used."""


class Leadership(Protocol):
    """Whether this process leads, and which process does."""

    @property
    def leads(self) -> bool:
        """Whether this process leads, as far as it knows."""
        ...

    @property
    def leader(self) -> Lease | None:
        """The lease at the last read, without a holder once it has expired. None if no other process can lead."""
        ...

    def holds(self) -> bool:
        """Whether no other process can lead at this moment."""
        ...

    async def attempt(self) -> bool:
        """Try to lead. Returns whether this process leads now. StoreError if that is unknown."""
        ...

    async def acquire(self) -> None:
        """Return once this process leads."""

    async def keep(self) -> None:
        """Return once this process no longer leads."""

    async def hand_over(self) -> None:
        """Stop leading, so that another process can lead at once."""


class SoleLeadership:
    """The leadership of a process that has its database to itself."""

    leads = True
    leader = None

    def holds(self) -> bool:
        return True

    async def attempt(self) -> bool:
        return True

    async def acquire(self) -> None:
        pass

    async def keep(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def hand_over(self) -> None:
        pass


class FileLease:
    """The lease on a database file: `<database>.lock`, whose text names the holder."""

    def __init__(self, database: str, now: Callable[[], float] = time.time) -> None:
        # One lock file per database, even if links give it several names.
        self.path = f"{os.path.realpath(database)}.lock"
        self._now = now
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lease without waiting. LeaseError names the process that holds it."""
        if self._file is not None:
            return
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LeaseError(f"cannot lead: cannot open {self.path}: {error.strerror}") from None
        # If others could open the file, they could lock it.
        with contextlib.suppress(OSError):
            os.fchmod(file, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(file, 4096, 0).decode(errors="replace")
            os.close(file)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise LeaseError(f"cannot lead: {holder or f'another process holds {self.path}'}") from None
            raise LeaseError(f"cannot lead: cannot lock {self.path}: {error.strerror}") from None
        self._file = file
        try:
            os.ftruncate(file, 0)
            holder = f"process {os.getpid()} on {socket.gethostname()} holds {self.path} since {rfc3339(self._now())}"
            os.pwrite(file, holder.encode(), 0)
        except OSError as error:
            # The lock is held nevertheless. Only its text, for people, is missing.
            log.warning("cannot write who leads to %s: %s", self.path, error.strerror)

    def release(self) -> None:
        """Release the lease. The file stays: without it, two processes could hold a lock of this name."""
        if self._file is not None:
            os.ftruncate(self._file, 0)
            # Closing the file is not enough: a command that is being started shares it until it has begun.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            os.close(self._file)
            self._file = None


class SharedLease:
    """The leadership of one process among those that share a database.

    `name` and `url` show people which process it is. A lease holds for `ttl` seconds without renewal. `on_leader` is
    called with the name of a new leader.
    """

    def __init__(
        self,
        store: SharedStore,
        name: str,
        url: str,
        ttl: float,
        *,
        on_leader: Callable[[str], None] = lambda name: None,
        steady: Callable[[], float] = steady,
    ) -> None:
        self._store = store
        self._name = name
        self._url = url
        self._ttl = ttl
        self._on_leader = on_leader
        self._steady = steady
        self._epoch: int | None = None
        self._until = self._give_up_at = 0.0
        self._lost: int | None = None
        """The epoch of a lease that could not be renewed in time. Its renewal may still arrive late, and is then
        undone."""
        self._seen: Lease | None = None
        self.in_step = False
        """Whether the database's clock is known."""
        self._ahead = time.time() - steady()
        self._trouble = ""

    @property
    def leads(self) -> bool:
        return self._epoch is not None

    @property
    def leader(self) -> Lease | None:
        seen = self._seen
        if seen is None or self.leads or (seen.expires_at > self.now() and seen.epoch != self._lost):
            return seen
        return Lease("", "", seen.epoch, seen.since, seen.expires_at, seen.clock)

    def holds(self) -> bool:
        return self._epoch is not None and self._steady() < self._until

    def now(self) -> float:
        """The time by the database's clock, which all processes that share it use."""
        return self._steady() + self._ahead

    async def attempt(self) -> bool:
        if self.leads:
            return True
        asked = self._steady()
        lease = await self._store.lease()
        self._note(lease, asked)
        if not lease.expired:
            return False
        asked = self._steady()
        lease, taken = await self._store.claim_lease(self._name, self._url, self._ttl)
        self._note(lease, asked)
        if taken:
            self._epoch = self._store.fence.epoch = lease.epoch
            self._hold_from(asked)
        return taken

    async def acquire(self) -> None:
        def on_failure(error: Exception, failures: int) -> None:
            self._log_trouble("cannot tell who leads, tries again", error)

        while True:
            if await retry(_REAL_TIME, _BACKOFF, self.attempt, StoreError, on_failure):
                return
            self._trouble = ""
            await asyncio.sleep(self._until_next_attempt())

    async def keep(self) -> None:
        pause = self._ttl / _RENEWALS
        while self._epoch is not None:
            await asyncio.sleep(pause)
            asked = self._steady()
            try:
                async with asyncio.timeout(max(0.0, self._give_up_at - asked)):
                    lease = await self._store.renew_lease(self._epoch, self._ttl)
            except (StoreError, TimeoutError) as error:
                pause = _RETRY
                self._log_trouble("cannot renew its lease, tries again", error)
                if self._steady() >= self._give_up_at:
                    log.error("leads no more: its lease could not be renewed in time")
                    self._stand_down()
                continue
            pause, self._trouble = self._ttl / _RENEWALS, ""
            self._note(lease, asked)
            if lease.epoch != self._epoch:
                log.error("leads no more: %s does, in epoch %d", lease.holder, lease.epoch)
                self._stand_down()
            else:
                self._hold_from(asked)

    async def hand_over(self) -> None:
        self._stand_down()
        epoch, self._lost = self._lost, None
        if epoch is not None:
            try:
                async with asyncio.timeout(_RELEASE_WITHIN):
                    await self._store.release_lease(epoch)
            except (StoreError, TimeoutError) as error:
                reason = str(error) or "the database does not answer"
                log.warning("cannot give its lease back, which ends within %g seconds: %s", self._ttl, reason)

    def _until_next_attempt(self) -> float:
        """Seconds to wait: at most until the other's lease expires, so that another process leads within its time."""
        left = self._seen.expires_at - self.now() if self._seen is not None else _LOOK
        return min(max(left, _SOON), _LOOK)

    def _hold_from(self, asked: float) -> None:
        # The database counts from a time after this process asked.
        self._until = asked + self._ttl
        self._give_up_at = asked + self._ttl * _GIVE_UP

    def _stand_down(self) -> None:
        if self._epoch is not None:
            self._lost = self._epoch
        self._epoch = self._store.fence.epoch = None

    def _note(self, lease: Lease, asked: float) -> None:
        answered = self._steady()
        if lease.epoch != (self._seen.epoch if self._seen else None) and lease.holder and not lease.expired:
            log.info("%s leads, in epoch %d", lease.holder, lease.epoch)
            self._on_leader(lease.holder)
        self._seen = lease
        if answered - asked <= _CLOCK_WITHIN:
            self._ahead = lease.clock - (asked + answered) / 2
            self.in_step = True

    def _log_trouble(self, what: str, error: Exception) -> None:
        reason = str(error) or "the database does not answer"
        if reason != self._trouble:
            log.error("%s: %s", what, reason)
        self._trouble = reason

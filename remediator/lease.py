"""Leadership on one machine: a lock on a file beside the database, so that two processes never work on one.

The kernel lets go of the lock when its holder ends, however it ends; nothing has to be cleaned up after a crash.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable

from remediator.clock import rfc3339
from remediator.errors import LeaseError


class FileLease:
    """The lease on a database file: `<database>.lock`, whose text names the holder."""

    def __init__(self, database: str, now: Callable[[], float] = time.time) -> None:
        self.path = f"{database}.lock"
        self._now = now
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lease, at once or not at all. LeaseError names the process that holds it."""
        if self._file is not None:
            return
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LeaseError(f"cannot lead: cannot open {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            holder = f"process {os.getpid()} on {socket.gethostname()} holds {self.path} since {rfc3339(self._now())}"
            os.pwrite(file, holder.encode(), 0)
        except OSError as error:
            holder = os.pread(file, 4096, 0).decode(errors="replace")
            os.close(file)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise LeaseError(f"cannot lead: {holder or f'another process holds {self.path}'}") from None
            raise LeaseError(f"cannot lead: cannot lock {self.path}: {error.strerror}") from None
        self._file = file

    def release(self) -> None:
        """Give the lease up. The file stays: to remove it would let two processes hold a lock of this name."""
        if self._file is not None:
            os.ftruncate(self._file, 0)
            # To close the file is not enough: a command that is just being started shares it until it has begun.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            os.close(self._file)
            self._file = None

"""The threads that read: each query on a connection of its own, as one moment's view of what is committed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from remediator.errors import ConflictError, StoreError

T = TypeVar("T")


class Reader:
    """Runs queries on the connections it is given, as many at once as there are. To be used from one event loop."""

    def __init__(self, connections: Sequence[sqlite3.Connection], path: str) -> None:
        self._path = path
        self._connections = tuple(connections)
        self._idle: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        for connection in connections:
            self._idle.put(connection)
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(len(self._connections), "store-reader")

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What a query gives. StoreError when the database cannot be read, or is closed."""
        if self._pool is None:
            raise StoreError(f"cannot read the database {self._path}: it is closed")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, query)

    async def close(self) -> None:
        """Finish what was asked for and close the connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)
            for connection in self._connections:
                connection.close()

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._idle.get()
        try:
            return read_at_once(connection, self._path, query)
        finally:
            self._idle.put(connection)


def read_at_once(connection: sqlite3.Connection, path: str, query: Callable[[sqlite3.Connection], T]) -> T:
    """What a query gives, in one transaction, so that all of it is one moment's view. StoreError when it cannot be told."""
    try:
        connection.execute("BEGIN")
        try:
            return query(connection)
        finally:
            connection.execute("ROLLBACK")
    except (OverflowError, UnicodeError) as error:
        raise ConflictError(f"cannot read the database {path}: {error}") from None
    except sqlite3.Error as error:
        raise StoreError(f"cannot read the database {path}: {error}") from None

"""The threads that read. Each query has its own connection and sees what was committed at one moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from remediator.errors import StoreError
from remediator.store.database import Connection, Database

T = TypeVar("T")


class Reader:
    """Runs queries on the given connections, one on each at a time. Use it from one event loop."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = tuple(connections)
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        for connection in connections:
            self._idle.put(connection)
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(len(self._connections), "store-reader")

    async def read(self, query: Callable[[Database], T]) -> T:
        """The result of a query. StoreError if the database cannot be read, or is closed."""
        if self._pool is None:
            raise StoreError("cannot read the database: it is closed")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, query)

    async def close(self) -> None:
        """Finish the submitted queries and close the connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)
            for connection in self._connections:
                connection.close()

    def _read(self, query: Callable[[Database], T]) -> T:
        connection = self._idle.get()
        try:
            return read_at_once(connection, query)
        finally:
            self._idle.put(connection)


def read_at_once(connection: Connection, query: Callable[[Database], T]) -> T:
    """The result of a query in one transaction, so that all of it is of one moment. StoreError if the database cannot
    be read."""
    try:
        connection.begin(write=False)
        try:
            return query(connection)
        finally:
            connection.roll_back()
    except Exception as error:  # noqa: BLE001
        raise connection.explain(error, "read") from None

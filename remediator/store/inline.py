"""Reading and writing on one connection in the caller's own thread, for a database in memory.

Nothing waits for a disk there, so threads and group commit would bring no gain. Everything also happens in the same
order each time. As with `Writer` and `Reader`, an operation is one transaction, and is undone if it fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from remediator.errors import StoreError
from remediator.store.database import Connection, Database
from remediator.store.reader import read_at_once

A = TypeVar("A")
T = TypeVar("T")


class InlineExecutor:
    """Both the writer and the reader of a store. Use it from one event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._closed = False

    def submit(self, work: Callable[[Database], T], rows: int = 1) -> asyncio.Future[T]:
        """Run this at once. The future has its result or its error. StoreError if the database is closed."""
        if self._closed:
            raise StoreError("cannot write to the database: it is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(self._do(work))
        except Exception as error:  # noqa: BLE001
            # Any error belongs to the caller who waits for the future.
            future.set_exception(self._connection.explain(error, "write to"))
        return future

    def submit_many(
        self, many: Callable[[Database, list[A]], list[T]], argument: A, rows: int = 1
    ) -> asyncio.Future[T]:
        """Run this at once for one argument."""
        return self.submit(lambda db: many(db, [argument])[0], rows)

    async def read(self, query: Callable[[Database], T]) -> T:
        """The result of a query. StoreError if the database cannot be read, or is closed."""
        if self._closed:
            raise StoreError("cannot read the database: it is closed")
        return read_at_once(self._connection, query)

    async def close(self) -> None:
        """Close the database. Its content is lost."""
        self._closed = True
        self._connection.close()

    def _do(self, work: Callable[[Database], T]) -> T:
        connection = self._connection
        connection.begin(write=True)
        try:
            done = work(connection)
        except BaseException:
            connection.roll_back()
            raise
        connection.commit()
        return done

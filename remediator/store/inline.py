"""Reading and writing on one connection in the caller's own thread: for a database that lives in memory.

Nothing waits for a disk there, so threads and group commit would only cost; and what happens happens in the same order
every time. What holds for `Writer` and `Reader` holds here: an operation is one transaction, undone when it fails.
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
    """Both the writer and the reader of a store. To be used from one event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._closed = False

    def submit(self, work: Callable[[Database], T], rows: int = 1) -> asyncio.Future[T]:
        """Do this at once; the future has its result, or why it failed. StoreError when the database is closed."""
        if self._closed:
            raise StoreError("cannot write to the database: it is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(self._do(work))
        except Exception as error:  # noqa: BLE001
            # Whatever it is, it belongs to the one who waits for the future.
            future.set_exception(self._connection.explain(error, "write to"))
        return future

    def submit_many(
        self, many: Callable[[Database, list[A]], list[T]], argument: A, rows: int = 1
    ) -> asyncio.Future[T]:
        """Do this for an argument, at once."""
        return self.submit(lambda db: many(db, [argument])[0], rows)

    async def read(self, query: Callable[[Database], T]) -> T:
        """What a query gives. StoreError when the database cannot be read, or is closed."""
        if self._closed:
            raise StoreError("cannot read the database: it is closed")
        return read_at_once(self._connection, query)

    async def close(self) -> None:
        """Close the database; its content is gone with it."""
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

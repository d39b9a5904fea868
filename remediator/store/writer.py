"""The one thread that writes. It commits together what waits together (group commit).

The flush to disk is the cost of a write, so all waiting operations share one. An operation that fails is undone alone,
and the others of its batch are kept. A future is resolved only after the commit. One call into the event loop resolves
all futures of a batch.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from itertools import groupby
from operator import attrgetter
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from remediator.errors import StoreError
from remediator.store.database import Connection, Database

A = TypeVar("A")
T = TypeVar("T")

CAPACITY = 50_000
"""How many rows may wait. Further ones are refused."""

_BATCH = 1_000
"""The approximate number of rows in one transaction. It limits how long the event loop is busy with a batch's
futures."""


Many = Callable[[Database, list[Any]], list[Any]]
"""One operation for several arguments, with one result for each."""


class _Job(NamedTuple):
    many: Many
    argument: Any
    rows: int
    future: asyncio.Future[Any]


_many_of: Callable[[_Job], Many] = attrgetter("many")


class _Done(NamedTuple):
    job: _Job
    result: Any
    error: BaseException | None


class Writer:
    """Runs operations on the given connection, in the order in which they are submitted. Use it from the event loop
    that made it."""

    def __init__(self, connection: Connection, capacity: int = CAPACITY) -> None:
        self._connection = connection
        self._capacity = capacity
        self._waiting = 0
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._inbox: SimpleQueue[_Job | None] = SimpleQueue()
        # A process may end without closing the store: nobody was told that an uncommitted write is stored.
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Database], T], rows: int = 1) -> asyncio.Future[T]:
        """Submit an operation. The future has its result after the commit.

        `rows` is its approximate size. StoreError if too much waits already, or if the writer is closed.
        """
        return self.submit_many(lambda db, _: [work(db)], None, rows)

    def submit_many(
        self, many: Callable[[Database, list[A]], list[T]], argument: A, rows: int = 1
    ) -> asyncio.Future[T]:
        """Submit an operation for one argument. It runs together with others of the same operation that wait as
        well."""
        if self._closed:
            raise StoreError("cannot write to the database: it is closed")
        if self._waiting and self._waiting + rows > self._capacity:
            raise StoreError("cannot write to the database: too much is waiting to be written")
        self._waiting += rows
        job = _Job(many, argument, rows, self._loop.create_future())
        self._inbox.put(job)
        return job.future

    async def close(self) -> None:
        """Commit the submitted operations, end the thread and close the connection."""
        if not self._closed:
            self._closed = True
            self._inbox.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    def _deliver(self, batch: list[_Done]) -> None:
        for job, result, error in batch:
            self._waiting -= job.rows
            # The caller may have given up waiting. The submitted operation is done nevertheless.
            if job.future.done():
                continue
            if error is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(error)

    # Everything below runs in the thread.

    def _run(self) -> None:
        while batch := self._gather():
            self._schedule_callback(self._deliver, self._commit(batch))
        self._connection.close()
        self._schedule_callback(self._ended.set_result, None)

    def _schedule_callback(self, callback: Callable[[Any], object], argument: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, argument)
        except RuntimeError:
            # The loop is closed: nobody waits for the result.
            pass

    def _gather(self) -> list[_Job]:
        """The waiting operations, up to a batch. Blocks until there is one. Empty if the writer has to end."""
        first = self._inbox.get()
        if first is None:
            return []
        batch, rows = [first], first.rows
        while rows < _BATCH:
            try:
                job = self._inbox.get_nowait()
            except Empty:
                break
            if job is None:
                # The end mark stays for the next batch.
                self._inbox.put(None)
                break
            batch.append(job)
            rows += job.rows
        return batch

    def _commit(self, batch: list[_Job]) -> list[_Done]:
        connection = self._connection
        try:
            connection.begin(write=True)
        except Exception as error:  # noqa: BLE001
            # While closing, do not wait for a database that does not answer.
            return self._fail_all([*batch, *self._take_rest()] if self._closed else batch, error)
        try:
            done = [each for many, jobs in groupby(batch, _many_of) for each in self._do(many, list(jobs))]
        except Exception:  # noqa: BLE001
            # One of them failed. Run each again on its own, to find out which failed and to keep the others. Operations
            # read nothing but the database, so they can be repeated. Savepoints cost as much as half an operation, and
            # failures are rare, so savepoints are not set at once.
            connection.roll_back()
        else:
            return self._finish(batch, done)
        try:
            connection.begin(write=True)
            done = [self._do_alone(job) for job in batch]
        except Exception as error:  # noqa: BLE001
            connection.roll_back()
            return self._fail_all(batch, error)
        return self._finish(batch, done)

    def _take_rest(self) -> list[_Job]:
        """Everything else that waits. The end mark stays in the queue."""
        jobs = [job for job in iter(self._inbox.get, None) if job is not None]
        self._inbox.put(None)
        return jobs

    def _finish(self, batch: list[_Job], done: list[_Done]) -> list[_Done]:
        try:
            self._connection.commit()
        except Exception as error:  # noqa: BLE001
            # Never repeated: a commit whose answer was lost may have taken place.
            self._connection.roll_back()
            return self._fail_all(batch, error)
        return done

    def _fail_all(self, batch: list[_Job], error: Exception) -> list[_Done]:
        explained = self._connection.explain(error, "write to")
        return [_Done(job, None, explained) for job in batch]

    def _do(self, many: Many, jobs: list[_Job]) -> list[_Done]:
        results = many(self._connection, [job.argument for job in jobs])
        return [_Done(job, result, None) for job, result in zip(jobs, results, strict=True)]

    def _do_alone(self, job: _Job) -> _Done:
        connection = self._connection
        connection.execute("SAVEPOINT operation")
        try:
            (done,) = self._do(job.many, [job])
        except Exception as error:
            # Any error belongs to the caller who submitted the operation, and to no other of the batch.
            if not connection.in_transaction:
                # The database has given up the whole transaction, as SQLite may if the disk is full.
                raise
            connection.execute("ROLLBACK TO SAVEPOINT operation")
            done = _Done(job, None, connection.explain(error, "write to"))
        connection.execute("RELEASE SAVEPOINT operation")
        return done

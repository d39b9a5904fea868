"""A connection to PostgreSQL that reconnects by itself, and the SQL that it shares with SQLite in PostgreSQL's words.

Writing transactions of all processes take turns by one advisory lock, as they do in an SQLite file. So row numbers are
committed in order, and followers of the journal rely on that. A lease that is read in such a transaction stays true
until its commit. Nothing outlives a transaction at the server (no session settings, no prepared statements), so a
pooler may be in between.

The wait for a server that does not answer is limited. `statement_timeout` and similar settings make the server give up.
If it is silent altogether, its connection is cut from this side.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any

import psycopg
from psycopg import RawCursor
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from remediator.errors import ConflictError, StoreError, UnavailableError
from remediator.store.database import Parameters, Rows

log = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Maximum seconds of the server for one statement, for a lock, or until the next statement."""
_SILENCE = 8.0
"""Seconds until a silent transaction is abandoned."""
_LOCK = 0x52454D44
"""The number of the advisory lock: `REMD`."""

_CONNECTION: dict[str, str] = {
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "8000",
    "application_name": "remediator",
    "client_encoding": "UTF8",
}
_SETTINGS = (
    "SET LOCAL search_path TO remediator;"
    f" SET LOCAL statement_timeout TO {_PATIENCE * 1000:.0f};"
    f" SET LOCAL lock_timeout TO {_PATIENCE * 1000:.0f};"
    f" SET LOCAL idle_in_transaction_session_timeout TO {_PATIENCE * 1000:.0f};"
)
_BEGIN_READ = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_SETTINGS}"
_BEGIN_WRITE = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_SETTINGS} SELECT pg_advisory_xact_lock({_LOCK})"


class Address:
    """Where a database is, and as which user to connect. StoreError if there is no such address."""

    def __init__(self, url: str, password_file: str) -> None:
        try:
            given = conninfo_to_dict(url)
        except psycopg.Error as error:
            raise StoreError(f"cannot read the address of the database: {sentence(error)}") from None
        self._parameters: dict[str, Any] = {**_CONNECTION, **given}
        self._password_file = password_file
        host, port = given.get("host") or "localhost", given.get("port")
        self.name = f"{host}{f':{port}' if port else ''}/{given.get('dbname') or given.get('user') or ''}"

    def parameters(self) -> dict[str, Any]:
        """Connection parameters for libpq. OperationalError if the password cannot be read."""
        if not self._password_file:
            return self._parameters
        try:
            with open(self._password_file, encoding="utf-8") as file:
                return {**self._parameters, "password": file.read().strip()}
        except (OSError, UnicodeError) as error:
            raise psycopg.OperationalError(f"cannot read {self._password_file}: {error}") from None


class PostgresRow:
    """One row: its columns by name or by position."""

    __slots__ = ("_columns", "_values")

    def __init__(self, values: Sequence[Any], columns: Mapping[str, int]) -> None:
        self._values = values
        self._columns = columns

    def __getitem__(self, column: str | int) -> Any:
        return self._values[column if isinstance(column, int) else self._columns[column]]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _rows(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], PostgresRow]:
    columns = {column.name: place for place, column in enumerate(cursor.description or ())}
    return lambda values: PostgresRow(values, columns)


class PostgresConnection:
    """A `Connection`. One thread uses it at a time, except for `cut_if_silent`.

    It connects at first use, and again after the connection was lost. Only a transaction under way is lost with it.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: psycopg.Connection[Any] | None = None
        self._closing = threading.Lock()
        self._busy_since: float | None = None

    def execute(self, sql: str, parameters: Parameters = (), /) -> Rows:
        text, order = _translate(sql)
        return self._live().execute(text.encode(), _given(parameters, order))

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> object:
        text, order = _translate(sql)
        with self._live().cursor() as cursor:
            cursor.executemany(text.encode(), [_given(each, order) for each in parameters])
        return None

    @property
    def in_transaction(self) -> bool:
        connection = self._connection
        return connection is not None and connection.info.transaction_status in (
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
        )

    def begin(self, *, write: bool) -> None:
        known = self._connection is not None
        try:
            self._begin(write)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
            # Other processes keep the database busy. The connection itself is good.
            self.roll_back()
            raise
        except psycopg.Error:
            # A connection that was lost while idle costs nothing. A server that has become read-only is of no use, and
            # the same address may now lead to another one.
            self._give_up()
            if not known:
                raise
            self._begin_again(write)

    def _begin(self, write: bool) -> None:
        self._busy_since = time.monotonic()
        self._connect().execute((_BEGIN_WRITE if write else _BEGIN_READ).encode())

    def _begin_again(self, write: bool) -> None:
        try:
            self._begin(write)
        except psycopg.Error:
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._busy_since = None
        self._drop()

    def commit(self) -> None:
        self._live().execute(b"COMMIT")
        self._busy_since = None

    def roll_back(self) -> None:
        connection, self._busy_since = self._connection, None
        if connection is None:
            return
        try:
            if connection.info.transaction_status is not TransactionStatus.IDLE:
                connection.execute(b"ROLLBACK")
        except psycopg.Error:
            self._drop()

    def explain(self, error: Exception, deed: str) -> Exception:
        text = f"cannot {deed} the database {self._address.name}: {sentence(error)}"
        # The last two are for values that no database takes: integers beyond 64 bits, and text that is not Unicode.
        if isinstance(error, psycopg.IntegrityError | psycopg.DataError | OverflowError | UnicodeError):
            return ConflictError(text)
        if isinstance(error, psycopg.Error):
            return UnavailableError(text) if _passes(error) else StoreError(text)
        return error

    def close(self) -> None:
        self._drop()

    def cut_if_silent(self) -> None:
        """Cut the connection, from another thread, if its transaction has been under way for too long."""
        with self._closing:
            connection, since = self._connection, self._busy_since
            if connection is None or since is None or time.monotonic() - since < _SILENCE:
                return
            log.error("cuts its connection to the database %s, which has gone silent", self._address.name)
            with (
                contextlib.suppress(OSError, psycopg.Error),
                socket.socket(fileno=os.dup(connection.fileno())) as connection_socket,
            ):
                connection_socket.shutdown(socket.SHUT_RDWR)

    def _live(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            raise psycopg.OperationalError("the connection was lost")
        return self._connection

    def _connect(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            self._connection = psycopg.connect(
                **self._address.parameters(),
                autocommit=True,
                prepare_threshold=None,
                cursor_factory=RawCursor,
                row_factory=_rows,
            )
        return self._connection

    def _drop(self) -> None:
        with self._closing:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()


class Watch:
    """A thread that cuts connections whose server is silent."""

    def __init__(self, connections: Sequence[PostgresConnection]) -> None:
        self._connections = connections
        self._ending = threading.Event()
        threading.Thread(target=self._run, name="store-watch", daemon=True).start()

    def close(self) -> None:
        self._ending.set()

    def _run(self) -> None:
        while not self._ending.wait(1.0):
            for connection in self._connections:
                connection.cut_if_silent()


_TOKEN = re.compile(r"'(?:[^']|'')*'|\?(?P<number>\d*)|(?<!:):(?P<name>[a-z_]+)")


@cache
def _translate(sql: str) -> tuple[str, tuple[str | int, ...]]:
    """A statement with PostgreSQL's parameters, and for each of them the index of the given parameter."""
    order: list[str | int] = []

    def number(found: re.Match[str]) -> str:
        if found[0].startswith("'"):
            return found[0]
        given: str | int = found["name"] or (int(found["number"]) - 1 if found["number"] else len(order))
        if given not in order or not (found["name"] or found["number"]):
            order.append(given)
        return f"${order.index(given) + 1}"

    return _TOKEN.sub(number, sql), tuple(order)


def _given(parameters: Parameters, order: tuple[str | int, ...]) -> list[Any]:
    return [_plain(parameters[which]) for which in order]  # type: ignore[index]


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        # psycopg would make it a decimal number. An integer column would be compared with that without an error.
        raise OverflowError("an integer does not fit into 64 bits")
    # PostgreSQL's texts have no NUL.
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def sentence(error: Exception) -> str:
    """A message of the server or of libpq in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    # libpq quotes an address that it cannot read, with the password in it.
    return re.sub(r"(?<=//)[^@/]*(?=@)", "…", text)


def _passes(error: psycopg.Error) -> bool:
    """Whether an error comes from a server that is away or overloaded. The statement and the user are then not the
    cause."""
    state = error.sqlstate or ""
    if state:
        return state.startswith(("08", "53", "57P"))
    text = str(error)
    passing = (
        "starting up",
        "shutting down",
        "recovery mode",
        "too many",
        "remaining connection slots",
        "No space left",
    )
    refused = "FATAL:" in text or text.startswith("cannot read")
    return isinstance(error, psycopg.OperationalError) and (not refused or any(words in text for words in passing))

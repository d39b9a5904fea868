"""SQLite: a database in one file or in memory, its migrations, and a connection to it.

A file is a database of remediator if its header has remediator's application id. Any other file is refused before
SQLite touches it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from functools import cache

from remediator.errors import ConflictError, StoreError, UnavailableError
from remediator.store.inline import InlineExecutor
from remediator.store.migrations import migrations
from remediator.store.reader import Reader
from remediator.store.sql_store import SqlStore
from remediator.store.writer import CAPACITY, Writer

APPLICATION_ID = 0x52454D44
"""`REMD`, at offset 68 of the file (SQLite file format, section 1.3.17)."""

_MAGIC = b"SQLite format 3\x00"
_BUSY = 5.0
MEMORY = ":memory:"
"""The path of a database in memory."""


_READERS = 2


async def open_sqlite(path: str, capacity: int = CAPACITY) -> SqlStore:
    """The store in this file. A missing file is created, and an older one is brought up to date.

    `capacity` is how many rows may wait to be written. Raises StoreError, with what to do about it, if the file cannot
    be opened, is not remediator's, or was written by a later version.
    """
    writer, *readers = await asyncio.to_thread(_open, path)
    return SqlStore(Writer(writer, capacity), Reader(readers))


def open_in_memory() -> SqlStore:
    """A store in memory that ends with its process. Nothing waits for a disk, and no thread is used."""
    inline = InlineExecutor(SqliteConnection(open_memory(), MEMORY))
    return SqlStore(inline, inline)


def _open(path: str) -> list[SqliteConnection]:
    connections = [open_database(path)]
    try:
        for _ in range(_READERS):
            connections.append(open_reader(path))
    except StoreError:
        for connection in connections:
            connection.close()
        raise
    return [SqliteConnection(connection, path) for connection in connections]


class SqliteConnection:
    """A `Connection`. One thread uses it at a time."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self._path = path
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.close = connection.close

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def begin(self, *, write: bool) -> None:
        self.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def commit(self) -> None:
        self.execute("COMMIT")

    def roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self.execute("ROLLBACK")
            except sqlite3.Error:
                # SQLite ends the transaction nevertheless. The first error is the one to report.
                pass

    def explain(self, error: Exception, deed: str) -> Exception:
        # The last two are for values that no database takes: integers beyond 64 bits, and text that is not Unicode.
        if isinstance(error, sqlite3.IntegrityError | OverflowError | UnicodeError):
            return ConflictError(f"cannot {deed} the database {self._path}: {error}")
        if isinstance(error, sqlite3.Error):
            return _failure(f"cannot {deed} the database {self._path}: {error}", error)
        return error


def open_database(path: str) -> sqlite3.Connection:
    """The connection that writes, to a database of remediator that is up to date. A missing file is created. StoreError
    if it cannot be opened, is another program's, or was written by a later version."""
    try:
        _create(path)
        _recover(path)
        _refuse_foreign(path)
        connection = _connect(path)
    except OSError as error:
        raise _failure(f"cannot open the database {path}: {_remedy(path, error)}", error) from None
    except sqlite3.Error as error:
        raise _failure(f"cannot open the database {path}: {error}", error) from None
    try:
        _migrate(path, connection)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(
                f"cannot open the database {path}: its file system does not support write-ahead logging; use a local one"
            )
        connection.execute("PRAGMA synchronous = FULL")
        # A burst leaves a large log behind. It is cut to this size once it has been copied into the database.
        connection.execute("PRAGMA journal_size_limit = 16777216")
    except sqlite3.Error as error:
        connection.close()
        raise _failure(f"cannot open the database {path}: {error}", error) from None
    except StoreError:
        connection.close()
        raise
    return connection


def open_reader(path: str) -> sqlite3.Connection:
    """One more connection, which sees what is committed and writes nothing."""
    try:
        connection = _connect(path)
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise StoreError(f"cannot open the database {path}: {error}") from None
    return connection


def back_up(path: str, target: str) -> int:
    """Copy the database as of one moment to a new file, while others read and write it. Returns the size of the copy.

    The copy gets its name once it is complete, checked and on the disk. StoreError, and no copy, if the database is not
    remediator's or cannot be read, or if the copy cannot be written.
    """
    part = f"{target}.part"
    if os.path.lexists(target):
        raise StoreError(f"cannot back up to {target}: it exists already; name another file")
    if not os.path.exists(path):
        raise StoreError(f"cannot back up the database {path}: there is none")
    try:
        _refuse_foreign(path)
        # The file keeps the output of commands, so only its owner may read it.
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise StoreError(
            f"cannot back up to {target}: {part} is in the way, left by a backup that was cut short, or still under way;"
            " delete it, or name another file"
        ) from None
    except OSError as error:
        raise StoreError(f"cannot back up to {target}: {_remedy(target, error)}") from None
    try:
        _copy(path, part)
        os.link(part, target)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot back up the database {path} to {target}: {error}") from None
    finally:
        os.unlink(part)
    return os.path.getsize(target)


def _copy(path: str, part: str) -> None:
    connection = _connect(path)
    try:
        connection.execute("VACUUM INTO ?", (part,))
    finally:
        connection.close()
    copy = _connect(part)
    try:
        found = copy.execute("PRAGMA quick_check").fetchone()[0]
    finally:
        copy.close()
    if found != "ok":
        raise sqlite3.DatabaseError(f"the copy is damaged: {found}")
    with open(part, "rb") as file:
        os.fsync(file.fileno())


def open_memory() -> sqlite3.Connection:
    """The only connection to a new database in memory."""
    connection = sqlite3.connect(MEMORY, isolation_level=None)
    connection.deserialize(_empty())
    _prepare(connection)
    return connection


@cache
def _empty() -> bytes:
    """A new database with all tables in it. Copying it is quicker than making the tables each time."""
    connection = _connect(MEMORY)
    try:
        _migrate(MEMORY, connection)
        return connection.serialize()
    finally:
        connection.close()


def _connect(path: str) -> sqlite3.Connection:
    # One thread uses a connection at a time, but not always the thread that opened it.
    connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    _prepare(connection)
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")


def _create(path: str) -> None:
    """Create an empty file if there is none. Only its owner may read it, because it keeps the output of commands."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _recover(path: str) -> None:
    """Let SQLite undo a transaction whose writer died, such as the very first one, which makes the header."""
    if os.path.exists(f"{path}-journal"):
        connection = _connect(path)
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        finally:
            connection.close()


def _refuse_foreign(path: str) -> None:
    with open(path, "rb") as file:
        header = file.read(100)
    if not header:
        return
    if not header.startswith(_MAGIC):
        raise StoreError(
            f"cannot open the database {path}: it is not an SQLite database, and is left as it is; name another file"
        )
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StoreError(
            f"cannot open the database {path}: it belongs to another program, and is left as it is; name another file"
        )


def _migrate(path: str, connection: sqlite3.Connection) -> None:
    scripts = migrations()
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(scripts):
        raise StoreError(
            f"cannot open the database {path}: a later remediator wrote it (schema {version}, this one knows"
            f" {len(scripts)}), and it is left as it is; upgrade remediator, or name another file"
        )
    for number, script in enumerate(scripts[version:], start=version + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {script}\n"
                f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT;"
            )
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise _failure(f"cannot bring the database {path} to schema {number}: {error}", error) from None


def _failure(text: str, error: OSError | sqlite3.Error) -> StoreError:
    """The error with this text. It may pass if there is no space, or if the disk or another process is the cause."""
    if isinstance(error, OSError):
        return UnavailableError(text) if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else StoreError(text)
    # The lower byte is the kind of error.
    kind = getattr(error, "sqlite_errorcode", 0) & 0xFF
    passing = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return UnavailableError(text) if kind in passing else StoreError(text)


def _remedy(path: str, error: OSError) -> str:
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        return f"there is no folder {folder}; create it, or name another file"
    if os.path.isdir(path):
        return "it is a folder; name a file in it"
    if isinstance(error, PermissionError):
        return f"permission denied; let this user read and write the file and its folder {folder}"
    return error.strerror or str(error)

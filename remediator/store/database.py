"""The `Database` and `Connection` protocols of the table modules, and the SQL that SQLite and PostgreSQL have in
common.

That SQL keeps to a few rules. Parameters are `?`, `?1` or `:name`. To find a row that a constraint refuses, a statement
uses `ON CONFLICT DO NOTHING` and returns no row: PostgreSQL gives up the whole transaction after an error. Many values
are one JSON object of arrays. `json_each(…)`, `value ->> 0` and CAST read it, which both databases have. Values that
are JSON themselves are in it as texts, so that both databases leave them unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

Parameters = Sequence[Any] | Mapping[str, Any]


class Row(Protocol):
    """A row: its columns by name or by position."""

    def __getitem__(self, column: Any, /) -> Any: ...


class Rows(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """What a table module runs statements on, within the caller's transaction."""

    def execute(self, sql: str, parameters: Parameters = ..., /) -> Rows:
        """Run one statement."""
        ...

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> object:
        """Run one statement once for each of the parameters."""
        ...


class Connection(Database, Protocol):
    """The connection that `Writer`, `Reader` and `InlineExecutor` hold, and whose transactions they begin and end."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open. A failed one counts until it is undone."""
        ...

    def begin(self, *, write: bool) -> None:
        """Begin a transaction. A writing one has the database to itself until it ends. A reading one sees the state of
        one moment."""
        ...

    def commit(self) -> None: ...

    def roll_back(self) -> None:
        """Undo the open transaction, if there is one. Raises nothing."""
        ...

    def explain(self, error: Exception, deed: str) -> Exception:
        """The exception to raise for an error: StoreError or ConflictError for the database's own errors ("cannot
        {deed} the database …"), and any other error unchanged."""
        ...

    def close(self) -> None: ...

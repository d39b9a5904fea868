"""A database as the table modules see it: one connection, and the SQL that SQLite and PostgreSQL have in common.

That SQL keeps to a few rules. Parameters are `?`, `?1` or `:name`. A row that a constraint refuses is found by
`ON CONFLICT DO NOTHING` and no row returned, as PostgreSQL gives up the whole transaction after an error. Many values
are given as one JSON object of arrays and read by `json_each(…)`, `value ->> 0` and CAST, which both databases have;
texts in it that are JSON themselves are given as texts, so that both leave them as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

Parameters = Sequence[Any] | Mapping[str, Any]


class Row(Protocol):
    """A row: its columns by name or by place."""

    def __getitem__(self, column: Any, /) -> Any: ...


class Rows(Protocol):
    """What a statement gives."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """What a table module works on, within the caller's transaction."""

    def execute(self, sql: str, parameters: Parameters = ..., /) -> Rows:
        """Run one statement."""
        ...

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> object:
        """Run one statement with each of these."""
        ...


class Connection(Database, Protocol):
    """What `Writer`, `Reader` and `InlineExecutor` hold: a connection whose transactions they begin and end."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, or was until it failed."""
        ...

    def begin(self, *, write: bool) -> None:
        """Begin a transaction. One that writes has the database to itself until it ends; one that reads sees one
        moment's view."""
        ...

    def commit(self) -> None: ...

    def roll_back(self) -> None:
        """Undo the open transaction, if there is one; raises nothing."""
        ...

    def explain(self, error: Exception, deed: str) -> Exception:
        """The exception to raise for an error: StoreError or ConflictError for the database's own ("cannot {deed} the
        database …"), any other unchanged."""
        ...

    def close(self) -> None: ...

"""The daemon, made to kill itself at a write boundary: `python victim.py serve …`, with what to do in the environment.

CHAOS_KILL is `OPERATION:before:N` or `OPERATION:after:N`: kill -9 right before, or right after, the commit of the N-th
transaction with that operation of the store in it, in which case nobody hears of the commit. Without it nothing is
different from the real program. Nothing of the program is replaced: its commits are only counted. Alerts are compared
with Alertmanager's every few seconds, and not every minute, and with one that has just started, as a sweep's Alertmanager
is younger than those that are believed otherwise, and is never restarted. That is what makes good for an end that
Alertmanager does not tell: it does not when the daemon died before it could say that it had heard of the beginning.
"""

from __future__ import annotations

import contextvars
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from remediator.cli import main
from remediator.engine import reconcile
from remediator.store.sql_store import SharedStore, SqlStore
from remediator.store.sqlite import SqliteConnection
from remediator.store.writer import Writer

OPERATIONS = (
    "put_alerts",
    "settle",
    "open_incident",
    "begin_step",
    "end_step",
    "hold_incident",
    "close_incident",
    "move_cursor",
    "put_annotation",
)
SHARED_OPERATIONS = ("claim_lease", "renew_lease")

_current: contextvars.ContextVar[str] = contextvars.ContextVar("operation", default="")


def arm(plan: str, told: Path) -> None:
    """Have the process kill itself as planned, and leave a file that says it did."""
    operation, when, number = plan.split(":")
    left = int(number)
    batch: set[str] = set()

    def name(store: type, method: str) -> None:
        plain: Callable[..., Any] = getattr(store, method)

        async def named(self: Any, *args: Any, **kwargs: Any) -> Any:
            _current.set(method)
            return await plain(self, *args, **kwargs)

        setattr(store, method, named)

    for method in OPERATIONS:
        name(SqlStore, method)
    for method in SHARED_OPERATIONS:
        name(SharedStore, method)

    submit = Writer.submit_many

    def submit_named(self: Writer, many: Callable[[Any, Any], Any], argument: Any, rows: int = 1) -> Any:
        method = _current.get()

        def noted(db: Any, arguments: Any) -> Any:
            batch.add(method)
            return many(db, arguments)

        return submit(self, noted, argument, rows)

    def die() -> None:
        told.write_text(plan)
        os.kill(os.getpid(), signal.SIGKILL)

    def watch(connection: type) -> None:
        commit: Callable[[Any], None] = connection.commit  # type: ignore[attr-defined]

        def counted(self: Any) -> None:
            nonlocal left
            hit = operation in batch
            batch.clear()
            left -= hit
            if hit and left == 0 and when == "before":
                die()
            commit(self)
            if hit and left == 0:
                die()

        connection.commit = counted  # type: ignore[attr-defined]

    Writer.submit_many = submit_named  # type: ignore[method-assign, assignment]
    watch(SqliteConnection)
    try:
        from remediator.store.psycopg_connection import PostgresConnection
    except ImportError:
        return
    watch(PostgresConnection)


if __name__ == "__main__":
    reconcile.YOUNG = 0.0
    reconcile.INTERVAL = reconcile.SILENCES = 5.0
    if given := os.environ.get("CHAOS_KILL"):
        arm(given, Path(os.environ["CHAOS_TOLD"]))
    sys.exit(main())

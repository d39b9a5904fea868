"""Databases as earlier versions wrote them, with something in every table, and what has to be found in them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from store.makers import SUCCEEDED, T0, make_alert, make_plan, new_incident

from remediator.model.action import Outcome
from remediator.model.incident import Disposition, Verdict
from remediator.store.interface import Store

VERSIONS = {
    number: Path(__file__).with_name(f"version_{number}.sql").read_text(encoding="utf-8") for number in (1, 2, 3, 4)
}
"""The SQL that makes a database of each version in SQLite."""

TABLES = ("alerts", "annotations", "counters", "cursors", "incidents", "journal", "pauses", "services", "step_runs")


def rows_of(version: int) -> dict[str, tuple[list[str], list[tuple[object, ...]]]]:
    """What is in each table that the version has: its columns and its rows."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(VERSIONS[version])
        found = {}
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        for table in filter(there.__contains__, TABLES):
            cursor = connection.execute(f"SELECT * FROM {table}")
            found[table] = ([str(column[0]) for column in cursor.description], cursor.fetchall())
        return found
    finally:
        connection.close()


async def check_that_it_is_read_and_written(store: Store) -> None:
    """Everything that was stored is there, and work goes on after it."""
    [stored] = await store.firing_alerts()
    assert stored.alert == make_alert()
    assert (stored.disposition, stored.incident) == (Disposition.OPENED, 1)
    closed, opened = await store.incident(1), await store.incident(2)
    assert closed is not None
    assert opened is not None
    assert closed.verdict is Verdict.RECOVERED
    assert [run.outcome for run in closed.runs] == [Outcome.SUCCEEDED, Outcome.SKIPPED]
    assert closed.plan == make_plan()
    assert opened.running is not None
    assert opened.hold is None
    assert [pause.author for pause in await store.pauses(T0)] == ["ada"]
    assert [service.name for service in await store.added_services()] == ["search"]
    assert (await store.cursor("grafana"), await store.annotation("incident:1")) == (3, 77)
    entries = await store.journal()
    assert [entry.id for entry in entries] == list(range(1, 10))

    assert (await store.put_alerts([make_alert()], T0)).repeated == 1
    await store.end_step(opened.running.id, SUCCEEDED, T0 + 9)
    assert (await store.open_incident(new_incident("new"))).id == 3

"""The store in one SQLite file: what the contract in `remediator.store` says, carried out by threads.

Writes go through the one `Writer`; reads run on connections of their own, in threads of their own, and see what is
committed. The event loop does neither. A store in memory does both at once, on one connection, without threads.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence

from remediator.actions import Result
from remediator.alert import Alert
from remediator.errors import StoreError
from remediator.health import Health
from remediator.incident import (
    Approval,
    Closing,
    Entry,
    Hold,
    Incident,
    Pause,
    Settlement,
    StepRun,
    StoredAlert,
    Verdict,
)
from remediator.matcher import Matcher
from remediator.rulebook import Service
from remediator.store import (
    Accepted,
    NewIncident,
    Summary,
    alert_table,
    incident_table,
    journal_table,
    operator_tables,
    retention,
    step_table,
)
from remediator.store.inline import Inline
from remediator.store.reader import Reader
from remediator.store.schema import MEMORY, open_database, open_memory, open_reader
from remediator.store.writer import CAPACITY, Writer

_READERS = 2


async def open_sqlite(path: str, capacity: int = CAPACITY) -> SqliteStore:
    """The store in this file, which is made when there is none, and brought up to date when it is older.

    `capacity` is how many rows may wait to be written. Raises StoreError, with what to do about it, when the file
    cannot be opened, is not ours, or was written by a later version.
    """
    connection, *readers = await asyncio.to_thread(_open, path)
    return SqliteStore(Writer(connection, path, capacity), Reader(readers, path))


def open_in_memory() -> SqliteStore:
    """A store of the same kind that is gone with its process: nothing waits for a disk, and no thread is used."""
    inline = Inline(open_memory(), MEMORY)
    return SqliteStore(inline, inline)


def _open(path: str) -> list[sqlite3.Connection]:
    connections = [open_database(path)]
    try:
        for _ in range(_READERS):
            connections.append(open_reader(path))
    except StoreError:
        for connection in connections:
            connection.close()
        raise
    return connections


class SqliteStore:
    """A `Store`; what each method does is said there. To be used from the event loop it was opened in."""

    def __init__(self, writer: Writer | Inline, reader: Reader | Inline) -> None:
        self._writer = writer
        self._reader = reader

    async def close(self) -> None:
        await self._reader.close()
        await self._writer.close()

    # Alerts.

    async def put_alerts(self, alerts: Sequence[Alert], now: float) -> Accepted:
        return await self._writer.submit(lambda db: alert_table.put(db, alerts, now), len(alerts))

    async def alerts_since(self, seq: int, limit: int = 10_000) -> list[StoredAlert]:
        return await self._reader.read(lambda db: alert_table.since(db, seq, limit))

    async def firing_alerts(self) -> list[StoredAlert]:
        return await self._reader.read(alert_table.firing)

    async def alerts(
        self, *, service: str = "", firing_only: bool = False, before: int | None = None, limit: int = 50
    ) -> list[StoredAlert]:
        return await self._reader.read(lambda db: alert_table.page(db, service, firing_only, before, limit))

    async def alerts_with(self, fingerprint: str) -> list[StoredAlert]:
        return await self._reader.read(lambda db: alert_table.of_fingerprint(db, fingerprint))

    async def settle(self, settlements: Sequence[Settlement], now: float) -> None:
        await self._writer.submit(lambda db: alert_table.settle(db, settlements, now), len(settlements))

    # Incidents.

    async def open_incident(self, new: NewIncident, settlements: Sequence[Settlement] = ()) -> Incident:
        return await self._writer.submit(lambda db: incident_table.open_new(db, new, settlements), 1 + len(settlements))

    async def begin_step(
        self,
        incident: int,
        step: int,
        attempt: int,
        action: str,
        text: str,
        call: str,
        now: float,
        deadline: float,
    ) -> StepRun:
        return await self._writer.submit(
            lambda db: step_table.begin(db, incident, step, attempt, action, text, call, now, deadline)
        )

    async def end_step(self, run: int, result: Result, now: float, call: str = "") -> StepRun:
        return await self._writer.submit(lambda db: step_table.end(db, run, result, now, call))

    async def hold_incident(self, incident: int, hold: Hold | None, now: float) -> None:
        await self._writer.submit(lambda db: incident_table.hold(db, incident, hold, now))

    async def pass_over(self, incident: int, step: int, action: str, text: str, now: float) -> StepRun:
        return await self._writer.submit(lambda db: step_table.pass_over(db, incident, step, action, text, now))

    async def close_incident(self, incident: int, verdict: Verdict, text: str, health: Health, now: float) -> Incident:
        return await self._writer.submit(lambda db: incident_table.close(db, incident, verdict, text, health, now))

    async def answer(self, incident: int, answer: Approval) -> Incident:
        return await self._writer.submit(lambda db: incident_table.answer(db, incident, answer))

    async def open_incidents(self) -> list[Incident]:
        return await self._reader.read(incident_table.all_open)

    async def incident(self, id: int) -> Incident | None:
        return await self._reader.read(lambda db: incident_table.one(db, id))

    async def incidents(
        self, *, service: str = "", open_only: bool = False, before: int | None = None, limit: int = 50
    ) -> list[Incident]:
        return await self._reader.read(lambda db: incident_table.page(db, service, open_only, before, limit))

    async def closings_since(self, since: float) -> list[Closing]:
        return await self._reader.read(lambda db: incident_table.closings(db, since))

    async def last_closed(self, since: float) -> list[Incident]:
        return await self._reader.read(lambda db: incident_table.last_closed(db, since))

    async def runs_since(self, since: float) -> list[StepRun]:
        return await self._reader.read(lambda db: step_table.since(db, since))

    async def summary(self) -> Summary:
        return await self._reader.read(incident_table.summary)

    # Pauses.

    async def add_pause(
        self, matchers: Sequence[Matcher], starts_at: float, ends_at: float, author: str, comment: str
    ) -> Pause:
        return await self._writer.submit(
            lambda db: operator_tables.add_pause(db, matchers, starts_at, ends_at, author, comment)
        )

    async def end_pause(self, id: int, author: str, now: float) -> Pause:
        return await self._writer.submit(lambda db: operator_tables.end_pause(db, id, author, now))

    async def pauses(self, now: float) -> list[Pause]:
        return await self._reader.read(lambda db: operator_tables.pauses(db, now))

    # Services added at run time.

    async def add_service(self, service: Service, author: str, now: float) -> None:
        await self._writer.submit(lambda db: operator_tables.add_service(db, service, author, now))

    async def remove_service(self, name: str, author: str, now: float) -> None:
        await self._writer.submit(lambda db: operator_tables.remove_service(db, name, author, now))

    async def added_services(self) -> list[Service]:
        return await self._reader.read(operator_tables.added_services)

    # The journal and those who follow it.

    async def journal(
        self, *, after: int = 0, service: str = "", incident: int | None = None, limit: int = 500
    ) -> list[Entry]:
        return await self._reader.read(lambda db: journal_table.entries(db, after, service, incident, limit))

    async def recent_journal(self, *, service: str = "", before: int | None = None, limit: int = 50) -> list[Entry]:
        return await self._reader.read(lambda db: journal_table.recent_entries(db, service, before, limit))

    async def journal_end(self) -> int:
        return await self._reader.read(journal_table.end)

    async def cursor(self, name: str) -> int | None:
        return await self._reader.read(lambda db: journal_table.cursor(db, name))

    async def move_cursor(self, name: str, entry: int) -> None:
        await self._writer.submit(lambda db: journal_table.move_cursor(db, name, entry))

    async def annotation(self, key: str) -> int | None:
        return await self._reader.read(lambda db: journal_table.annotation(db, key))

    async def put_annotation(self, key: str, annotation: int, cursor: str, entry: int) -> None:
        await self._writer.submit(lambda db: journal_table.put_annotation(db, key, annotation, cursor, entry))

    async def forget(self, before: float) -> int:
        went = 0
        for forget in retention.IN_ORDER:
            # One step at a time, so that other writes come in between.
            while step := await self._writer.submit(lambda db, forget=forget: forget(db, before)):  # type: ignore[misc]
                went += step
        return went

"""Implements the contract of `remediator.store.interface` with the table modules, on SQLite or PostgreSQL.

All writes go through the one writer. Reads run beside it and see what is committed. `sqlite` and `postgresql` open it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from remediator.model.action import Result
from remediator.model.alert import Alert, Source
from remediator.model.health import Health
from remediator.model.incident import (
    Approval,
    Entry,
    Hold,
    Incident,
    IncidentSummary,
    Pause,
    Settlement,
    StepRun,
    StoredAlert,
    Verdict,
)
from remediator.model.matcher import Matcher
from remediator.model.rules import Service
from remediator.store.database import Database
from remediator.store.inline import InlineExecutor
from remediator.store.interface import Accepted, Lease, NewIncident, Summary
from remediator.store.reader import Reader
from remediator.store.tables import alerts as alert_table
from remediator.store.tables import clock_repair, retention
from remediator.store.tables import incidents as incident_table
from remediator.store.tables import journal as journal_table
from remediator.store.tables import lease as lease_table
from remediator.store.tables import operators as operator_tables
from remediator.store.tables import steps as step_table
from remediator.store.tables.lease import Fence
from remediator.store.writer import Writer

A = TypeVar("A")
T = TypeVar("T")


_PANIC = "panic"
"""The name of the cursor that keeps the time of the last panic."""


class SqlStore:
    """A `Store`, which documents the methods. Use it from the event loop that opened it."""

    def __init__(
        self, writer: Writer | InlineExecutor, reader: Reader | InlineExecutor, fence: Fence | None = None
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._fence = fence
        # One function for each, so that the writer has what waits of one operation done at a stretch.
        self._settle_many = self._fenced(alert_table.settle_many)
        self._open_many = self._fenced(incident_table.open_many)
        self._hold_many = self._fenced(incident_table.hold_many)

    async def close(self) -> None:
        await self._reader.close()
        await self._writer.close()

    async def _lead(self, work: Callable[[Database], T], rows: int = 1) -> T:
        """Submit a write that only the leader may make."""
        fence = self._fence
        if fence is None:
            return await self._writer.submit(work, rows)

        def fenced(db: Database) -> T:
            fence.check(db)
            return work(db)

        return await self._writer.submit(fenced, rows)

    def _fenced(self, many: Callable[[Database, list[A]], list[T]]) -> Callable[[Database, list[A]], list[T]]:
        """An operation for several arguments, which only the leader may do."""
        fence = self._fence
        if fence is None:
            return many

        def fenced(db: Database, arguments: list[A]) -> list[T]:
            fence.check(db)
            return many(db, arguments)

        return fenced

    # Alerts.

    async def put_alerts(self, alerts: Sequence[Alert], now: float) -> Accepted:
        if any(alert.source is Source.THRESHOLD for alert in alerts):
            # A leader that was stopped and wakes up would report breaches that nobody evaluates any more.
            (accepted,) = await self._lead(lambda db: alert_table.put_many(db, [(alerts, now)]), len(alerts))
            return accepted
        return await self._writer.submit_many(alert_table.put_many, (alerts, now), len(alerts))

    async def alerts_since(self, seq: int, limit: int = 10_000) -> list[StoredAlert]:
        return await self._reader.read(lambda db: alert_table.since(db, seq, limit))

    async def firing_alerts(self) -> list[StoredAlert]:
        return await self._reader.read(alert_table.firing)

    async def undecided_alerts(self, limit: int = 1_000) -> list[StoredAlert]:
        return await self._reader.read(lambda db: alert_table.undecided(db, limit))

    async def alerts(
        self, *, service: str = "", firing_only: bool = False, before: int | None = None, limit: int = 50
    ) -> list[StoredAlert]:
        return await self._reader.read(lambda db: alert_table.newest(db, service, firing_only, before, limit))

    async def alerts_with(self, fingerprint: str) -> list[StoredAlert]:
        return await self._reader.read(lambda db: alert_table.of_fingerprint(db, fingerprint))

    async def settle(self, settlements: Sequence[Settlement], now: float) -> None:
        await self._writer.submit_many(self._settle_many, (settlements, now), len(settlements))

    # Incidents.

    async def open_incident(self, new: NewIncident, settlements: Sequence[Settlement] = ()) -> Incident:
        return await self._writer.submit_many(self._open_many, (new, settlements), 1 + len(settlements))

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
        return await self._lead(
            lambda db: step_table.begin(db, incident, step, attempt, action, text, call, now, deadline)
        )

    async def end_step(self, run: int, result: Result, now: float, call: str = "") -> StepRun:
        return await self._writer.submit(lambda db: step_table.end(db, run, result, now, call))

    async def hold_incident(self, incident: int, hold: Hold | None, now: float) -> None:
        await self._writer.submit_many(self._hold_many, (incident, hold, now))

    async def offer_step(self, incident: int, step: int) -> None:
        await self._lead(lambda db: incident_table.offer_step(db, incident, step))

    async def pass_over(self, incident: int, step: int, action: str, text: str, now: float) -> StepRun:
        return await self._lead(lambda db: step_table.pass_over(db, incident, step, action, text, now))

    async def close_incident(self, incident: int, verdict: Verdict, text: str, health: Health, now: float) -> Incident:
        write = self._writer.submit if verdict is Verdict.DISMISSED else self._lead
        return await write(lambda db: incident_table.close(db, incident, verdict, text, health, now))

    async def answer(self, incident: int, answer: Approval) -> Incident:
        return await self._writer.submit(lambda db: incident_table.answer(db, incident, answer))

    async def open_incidents(self) -> list[Incident]:
        return await self._reader.read(incident_table.all_open)

    async def incident(self, id: int) -> Incident | None:
        return await self._reader.read(lambda db: incident_table.one(db, id))

    async def incidents(
        self, *, service: str = "", open_only: bool = False, before: int | None = None, limit: int = 50
    ) -> list[Incident]:
        return await self._reader.read(lambda db: incident_table.newest(db, service, open_only, before, limit))

    async def incident_summaries(self, since: float) -> list[IncidentSummary]:
        return await self._reader.read(lambda db: incident_table.summaries(db, since))

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

    # The journal and its followers.

    async def record_unreadable(self, texts: Sequence[str], receiver: str, now: float) -> None:
        await self._writer.submit(lambda db: journal_table.record_unreadable(db, texts, receiver, now), len(texts))

    async def journal(
        self, *, after: int = 0, service: str = "", incident: int | None = None, limit: int = 500
    ) -> list[Entry]:
        return await self._reader.read(lambda db: journal_table.entries(db, after, service, incident, limit))

    async def recent_journal(self, *, service: str = "", before: int | None = None, limit: int = 50) -> list[Entry]:
        return await self._reader.read(lambda db: journal_table.recent_entries(db, service, before, limit))

    async def journal_end(self) -> int:
        return await self._reader.read(journal_table.end)

    async def last_panic(self) -> float | None:
        return await self._reader.read(lambda db: journal_table.cursor(db, _PANIC))

    async def put_panic(self, at: float) -> None:
        await self._lead(lambda db: journal_table.move_cursor(db, _PANIC, math.ceil(at)))

    async def cursor(self, name: str) -> int | None:
        return await self._reader.read(lambda db: journal_table.cursor(db, name))

    async def move_cursor(self, name: str, entry: int) -> None:
        await self._lead(lambda db: journal_table.move_cursor(db, name, entry))

    async def annotation(self, key: str) -> int | None:
        return await self._reader.read(lambda db: journal_table.annotation(db, key))

    async def put_annotation(self, key: str, annotation: int, cursor: str, entry: int) -> None:
        await self._lead(lambda db: journal_table.put_annotation(db, key, annotation, cursor, entry))

    async def repair_clock(self, now: float) -> int:
        return await self._lead(lambda db: clock_repair.repair_clock(db, now))

    async def forget(self, before: float) -> int:
        deleted = 0
        for forget in retention.IN_ORDER:
            # One step at a time, so that other writes can run in between.
            while step := await self._lead(lambda db, forget=forget: forget(db, before)):  # type: ignore[misc]
                deleted += step
        return deleted


class SharedStore(SqlStore):
    """A `Store` that several processes share. A lease decides which of them leads."""

    def __init__(self, writer: Writer, reader: Reader, fence: Fence, closed: Callable[[], None]) -> None:
        super().__init__(writer, reader, fence)
        self.fence = fence
        self._closed = closed

    async def close(self) -> None:
        await super().close()
        self._closed()

    async def lease(self) -> Lease:
        """The current lease."""
        return await self._reader.read(lease_table.read)

    async def claim_lease(self, holder: str, url: str, ttl: float) -> tuple[Lease, bool]:
        """Take the lease for `ttl` seconds if it has expired. Returns the lease after that, and whether it was
        taken."""
        return await self._writer.submit(lambda db: lease_table.claim(db, holder, url, ttl))

    async def renew_lease(self, epoch: int, ttl: float) -> Lease:
        """Extend the lease of this epoch by `ttl` seconds. Returns the lease after that, which another process may
        hold."""
        return await self._writer.submit(lambda db: lease_table.renew(db, epoch, ttl))

    async def release_lease(self, epoch: int) -> None:
        """Let the lease of this epoch expire now."""
        await self._writer.submit(lambda db: lease_table.release(db, epoch))

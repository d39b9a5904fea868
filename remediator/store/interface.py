"""The store's contract: one method per domain operation, each one transaction together with its journal entry.

`Store` is the contract. The table modules keep it, in SQL that both databases have in common. SQLite (`sqlite`) is one
file for one process. PostgreSQL (`postgresql`) is a database that several processes share, and one of them leads.

The invariants are unique indexes of the database: one open incident per service, one running step per incident, one row
per (incident, step, attempt). A write that breaks one raises ConflictError and changes nothing. A leader's write by
another process raises FencedError. A store that cannot be read or written raises StoreError.

Times are seconds since the epoch and always come from the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from remediator.model.action import Result
from remediator.model.alert import Alert, Source
from remediator.model.health import Health
from remediator.model.incident import (
    Approval,
    Disposition,
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
from remediator.model.rules import Plan, Service


class NewIncident(msgspec.Struct, frozen=True):
    """What is known when an incident opens. The fields are those of `Incident`."""

    service: str
    runbook: str
    opened_at: float
    health: Health
    text: str
    plan: Plan
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    source: Source = Source.ALERTMANAGER
    thresholds: tuple[str, ...] = ()
    forced: bool = False
    relapse_of: int | None = None
    first_step: int = 0
    first_attempt: int = 1
    owes: tuple[str, ...] = ()


class Accepted(msgspec.Struct, frozen=True):
    """The counts of a batch of alerts by what the intake did with them. `own` are remediator's own pages, which are not
    kept. `changed` is new + resolved + fired again."""

    new: int = 0
    repeated: int = 0
    resolved: int = 0
    own: int = 0

    @property
    def changed(self) -> int:
        return self.new + self.resolved


class Summary(msgspec.Struct, frozen=True):
    """Figures over all kept incidents: their number by verdict, and the mean time from open to close of the recovered
    ones."""

    open: int
    verdicts: dict[str, int]
    mean_time_to_recovery: float | None
    dispositions: dict[str, int]


class Lease(msgspec.Struct, frozen=True):
    """The process that leads among those that share a database. `clock` is the time of the database's clock at the
    read."""

    holder: str
    url: str
    epoch: int
    since: float
    expires_at: float
    clock: float

    @property
    def expired(self) -> bool:
        return self.expires_at <= self.clock


class Store(Protocol):
    """Everything that the engine, the web pages and the announcers remember."""

    async def close(self) -> None:
        """Finish the accepted writes and close the database."""

    # Alerts. Any replica accepts them, except those of thresholds, which only the leader writes. The engine settles
    # them.

    async def put_alerts(self, alerts: Sequence[Alert], now: float) -> Accepted:
        """Commit alerts by (fingerprint, starts_at).

        A firing alert that is stored as firing is repeated. One that is stored as resolved fires again and is new. A
        resolved alert that is stored as firing is resolved. One that was never seen is resolved too, and settled with
        that.

        Of Alertmanager's alerts of one fingerprint, only the one that began last can fire, and so it is for those of
        thresholds. The others are resolved with it, and not counted.
        """
        ...

    async def alerts_since(self, seq: int, limit: int = 10_000) -> list[StoredAlert]:
        """Alerts changed after this sequence number, in its order."""
        ...

    async def firing_alerts(self) -> list[StoredAlert]:
        """Every firing alert, by sequence number."""
        ...

    async def undecided_alerts(self, limit: int = 1_000) -> list[StoredAlert]:
        """Alerts without a disposition, firing or not, by sequence number."""
        ...

    async def settle(self, settlements: Sequence[Settlement], now: float) -> None:
        """Record what became of alerts. Their sequence numbers do not change. Those that neither opened nor joined nor
        resolved get a journal entry if their disposition or gate has changed."""

    # Incidents. Only the leader writes them, except by `answer`, and by `end_step`, which records a fact.

    async def open_incident(self, new: NewIncident, settlements: Sequence[Settlement] = ()) -> Incident:
        """Open an incident and settle its alerts (their `incident` is filled in here). If it is a relapse, the step
        runs of the earlier incident count against budgets again. ConflictError if the service has an open incident."""
        ...

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
        """Commit that a step will run. Its command may be spawned only after this. Clears the hold."""
        ...

    async def end_step(self, run: int, result: Result, now: float, call: str = "") -> StepRun:
        """Commit how a step run ended. ConflictError if it has ended already. `call` replaces the stored call, if
        given."""
        ...

    async def hold_incident(self, incident: int, hold: Hold | None, now: float) -> None:
        """Record which gate holds an incident, or that none holds it any more. Journalled if the gate has changed."""

    async def offer_step(self, incident: int, step: int) -> None:
        """Record that the `if` of a step was true, which decides it once."""

    async def pass_over(self, incident: int, step: int, action: str, text: str, now: float) -> StepRun:
        """Record that a step was left out (outcome skipped), and why."""
        ...

    async def close_incident(self, incident: int, verdict: Verdict, text: str, health: Health, now: float) -> Incident:
        """Close an incident. RECOVERED redeems its step runs. DISMISSED is an operator's decision, so any process may
        write it, but not while a step runs."""
        ...

    async def answer(self, incident: int, answer: Approval) -> Incident:
        """Record an operator's yes or no. ConflictError if the incident is closed or answered already."""
        ...

    async def open_incidents(self) -> list[Incident]:
        """Open incidents with their runs, oldest first."""
        ...

    async def incident(self, id: int) -> Incident | None:
        """One incident with its runs."""
        ...

    async def incidents(
        self, *, service: str = "", open_only: bool = False, before: int | None = None, limit: int = 50
    ) -> list[Incident]:
        """Incidents with their runs, newest first, with an id below `before` (keyset pages)."""
        ...

    async def incident_summaries(self, since: float) -> list[IncidentSummary]:
        """How the incidents ended that closed at or after this time, in the order in which they closed."""
        ...

    async def last_closed(self, since: float) -> list[Incident]:
        """Each service's last incident, with its runs, if it closed at or after this time."""
        ...

    async def runs_since(self, since: float) -> list[StepRun]:
        """Step runs started at or after this time that ran or still run, without the gathering of evidence, oldest
        first."""
        ...

    async def alerts(
        self, *, service: str = "", firing_only: bool = False, before: int | None = None, limit: int = 50
    ) -> list[StoredAlert]:
        """Alerts, newest change first, with a sequence number below `before`."""
        ...

    async def alerts_with(self, fingerprint: str) -> list[StoredAlert]:
        """The alerts of this fingerprint. The one that began last comes first."""
        ...

    async def summary(self) -> Summary:
        """Figures for the system's health page."""
        ...

    # Pauses.

    async def add_pause(
        self, matchers: Sequence[Matcher], starts_at: float, ends_at: float, author: str, comment: str
    ) -> Pause:
        """Pause healing. Journalled with the author and the reason."""
        ...

    async def end_pause(self, id: int, author: str, now: float) -> Pause:
        """End a pause now. ConflictError if no pause has this id, or if it has ended."""
        ...

    async def pauses(self, now: float) -> list[Pause]:
        """Pauses that have not ended."""
        ...

    # Services added at run time.

    async def add_service(self, service: Service, author: str, now: float) -> None:
        """Remember a service that no rule file names. ConflictError if the name is taken."""

    async def remove_service(self, name: str, author: str, now: float) -> None:
        """Forget a service added at run time. ConflictError if there is none of this name."""

    async def added_services(self) -> list[Service]:
        """Services added at run time, by name."""
        ...

    # The journal and its followers.

    async def record_unreadable(self, texts: Sequence[str], receiver: str, now: float) -> None:
        """Record in the journal why alerts of a notification were not taken in."""

    async def journal(
        self, *, after: int = 0, service: str = "", incident: int | None = None, limit: int = 500
    ) -> list[Entry]:
        """Journal entries with an id above `after`, oldest first."""
        ...

    async def recent_journal(self, *, service: str = "", before: int | None = None, limit: int = 50) -> list[Entry]:
        """Journal entries with an id below `before`, newest first."""
        ...

    async def journal_end(self) -> int:
        """The id of the newest entry. 0 if there is none."""
        ...

    async def last_panic(self) -> float | None:
        """When the last panic was, by `put_panic`."""
        ...

    async def put_panic(self, at: float) -> None:
        """Remember that there is a panic at this time."""

    async def cursor(self, name: str) -> int | None:
        """The id of the last entry that a follower has handled. None if it has never followed."""
        ...

    async def move_cursor(self, name: str, entry: int) -> None:
        """Remember the id of the last entry that a follower has handled."""

    async def annotation(self, key: str) -> int | None:
        """The Grafana annotation written for `incident:ID` or `run:ID`."""
        ...

    async def put_annotation(self, key: str, annotation: int, cursor: str, entry: int) -> None:
        """Remember an annotation and move the cursor of its follower, in one transaction."""

    async def repair_clock(self, now: float) -> int:
        """Move times of past events that lie in the future to `now`, after the clock was set back. Deadlines move with
        them.

        Returns the number of changed rows. Pauses and the journal are unchanged, because others have seen them.
        """
        ...

    async def forget(self, before: float) -> int:
        """Delete what ended before this time: closed incidents and their runs, resolved alerts, ended pauses, journal
        entries. Returns the number of deleted rows."""
        ...


__all__ = ["Accepted", "Disposition", "Lease", "NewIncident", "Store", "Summary"]

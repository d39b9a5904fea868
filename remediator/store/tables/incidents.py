"""Incidents: opening, holding, answering and closing them, and reading them with their step runs. `Store` says what
each function promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from remediator.errors import ConflictError
from remediator.model.alert import Source
from remediator.model.health import Health
from remediator.model.incident import Approval, EntryKind, Hold, Incident, IncidentSummary, Settlement, StepRun, Verdict
from remediator.model.rules import Plan
from remediator.store.database import Database, Row
from remediator.store.interface import NewIncident, Summary
from remediator.store.tables import alerts as alert_table
from remediator.store.tables import steps as step_table
from remediator.store.tables.columns import encode, few, has_nul, many
from remediator.store.tables.journal import TOP, NewEntry, with_comment, write_entries, write_entry
from remediator.store.tables.steps import dashboard, open_row

_OPEN = """
    INSERT INTO incidents
        (opened_at, service, runbook, health, text, plan, labels, annotations, source, thresholds, forced,
        relapse_of, first_step, first_attempt, owes)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id
"""
_OPEN_MANY = """
    INSERT INTO incidents
        (opened_at, service, runbook, health, text, plan, labels, annotations, source, thresholds, forced,
        relapse_of, first_step, first_attempt, owes)
    SELECT :at, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
        value ->> 8, CAST(value ->> 9 AS BIGINT), CAST(value ->> 10 AS BIGINT), CAST(value ->> 11 AS BIGINT),
        CAST(value ->> 12 AS BIGINT), value ->> 13
    FROM json_each(:incidents) WHERE true ORDER BY CAST(key AS BIGINT) ON CONFLICT DO NOTHING RETURNING id, service
"""
_OPEN_ID = "SELECT id FROM incidents WHERE service = ? AND closed_at IS NULL"
_OPEN_AMONG = """
    SELECT id, service, hold FROM incidents
    WHERE closed_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each(?))
"""
_HOLD = """
    UPDATE incidents SET hold = new.value ->> 1 FROM json_each(?) AS new
    WHERE incidents.id = CAST(new.value ->> 0 AS BIGINT)
"""
_OFFER = "UPDATE incidents SET offered = ? WHERE id = ?"
_ANSWER = "UPDATE incidents SET approval = ? WHERE id = ? RETURNING *"
_CLOSE = """
    UPDATE incidents SET closed_at = ?, verdict = ?, closing = ?, hold = NULL
    WHERE id = ? AND closed_at IS NULL RETURNING *
"""
_RUNNING = "SELECT action FROM step_runs WHERE incident = ? AND ended_at IS NULL"
_REDEEM = "UPDATE step_runs SET redeemed = ? WHERE incident = ?"

_ONE = "SELECT * FROM incidents WHERE id = ?"
# The plus keeps SQLite from scanning all incidents for their order.
_ALL_OPEN = "SELECT * FROM incidents WHERE closed_at IS NULL ORDER BY +id"
_NEWEST = "SELECT * FROM incidents WHERE id < ? ORDER BY id DESC LIMIT ?"
_NEWEST_OF_SERVICE = "SELECT * FROM incidents WHERE service = ? AND id < ? ORDER BY id DESC LIMIT ?"
_NEWEST_OPEN = "SELECT * FROM incidents WHERE closed_at IS NULL AND id < ? ORDER BY id DESC LIMIT ?"
_NEWEST_OPEN_OF_SERVICE = (
    "SELECT * FROM incidents WHERE closed_at IS NULL AND service = ? AND id < ? ORDER BY id DESC LIMIT ?"
)

_SUMMARIES = """
    SELECT id, service, closed_at, verdict, relapse_of, EXISTS (
        SELECT 1 FROM step_runs WHERE incident = incidents.id AND step >= 0
        AND (outcome IS NULL OR outcome NOT IN ('refused', 'skipped', 'not_started'))
    ) AS ran
    FROM incidents WHERE closed_at IS NOT NULL AND closed_at >= ? ORDER BY closed_at, id
"""
# The empty text keeps SQLite from scanning all incidents for their services.
_LAST_CLOSED = """
    SELECT * FROM incidents WHERE id IN
        (SELECT max(id) FROM incidents WHERE closed_at IS NOT NULL AND closed_at >= ? GROUP BY service || '')
    ORDER BY id
"""

_COUNT_OPEN = "SELECT count(*) FROM incidents WHERE closed_at IS NULL"
_COUNT_VERDICTS = "SELECT verdict, count(*) FROM incidents WHERE closed_at IS NOT NULL GROUP BY verdict"
_MEAN_TIME = "SELECT avg(closed_at - opened_at) FROM incidents WHERE closed_at IS NOT NULL AND verdict = 'recovered'"
_COUNT_DISPOSITIONS = "SELECT disposition, count(*) FROM alerts WHERE disposition IS NOT NULL GROUP BY disposition"

_decode_approval = msgspec.json.Decoder(Approval).decode
_decode_hold = msgspec.json.Decoder(Hold).decode
_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_plan = msgspec.json.Decoder(Plan).decode
_decode_texts = msgspec.json.Decoder(dict[str, str]).decode


def open_many(db: Database, given: Sequence[tuple[NewIncident, Sequence[Settlement]]]) -> list[Incident]:
    """Open incidents in this order: at a stretch those that share the time."""
    opened: list[Incident] = []
    for at, alike in groupby(given, lambda one: one[0].opened_at):
        opened += _open(db, at, list(alike))
    return opened


def _open(db: Database, at: float, given: Sequence[tuple[NewIncident, Sequence[Settlement]]]) -> list[Incident]:
    ids = _insert(db, at, [new for new, _ in given])
    incidents: list[Incident] = []
    settlements: list[Settlement] = []
    entries: list[NewEntry] = []
    for new, settled in given:
        id = ids.get(new.service)
        if id is None:
            open_id = db.execute(_OPEN_ID, (new.service,)).fetchone()["id"]
            raise ConflictError(f"cannot open an incident of {new.service}: incident {open_id} of it is open")
        incidents.append(Incident(id=id, **msgspec.structs.asdict(new)))
        if new.relapse_of is not None:
            db.execute(_REDEEM, (0, new.relapse_of))
        settlements += [msgspec.structs.replace(one, incident=id) for one in settled]
        data = {
            "runbook": new.runbook,
            "health": new.health,
            "labels": new.labels,
            "annotations": new.annotations,
            "thresholds": new.thresholds,
            "source": new.source,
            "relapse_of": new.relapse_of,
            **dashboard(new.plan),
        }
        entries.append(NewEntry(EntryKind.INCIDENT_OPENED, new.text, new.service, id, data))
    alert_table.settle_many(db, [(settlements, at)])
    write_entries(db, at, entries)
    return incidents


def _insert(db: Database, at: float, news: Sequence[NewIncident]) -> dict[str, int]:
    """The numbers of new incidents by service, without those that one is open of."""
    rows = [
        (
            new.service,
            new.runbook,
            new.health,
            new.text,
            encode(new.plan),
            encode(new.labels),
            encode(new.annotations),
            new.source,
            encode(new.thresholds),
            int(new.forced),
            new.relapse_of,
            new.first_step,
            new.first_attempt,
            encode(new.owes),
        )
        for new in news
    ]
    if few(rows) or has_nul(text for new in news for text in (new.service, new.runbook, new.text)):
        ids: dict[str, int] = {}
        for row in rows:
            opened = db.execute(_OPEN, (at, *row)).fetchone()
            if opened is None:
                ids.pop(row[0], None)
            else:
                ids[row[0]] = opened["id"]
        return ids
    opened = db.execute(_OPEN_MANY, {"at": at, "incidents": many(rows)})
    numbers = {row["service"]: row["id"] for row in opened}
    # Of two of one service the second is one too many, whichever it is.
    twice = [name for name, count in Counter(row[0] for row in rows).items() if count > 1]
    return {name: id for name, id in numbers.items() if name not in twice}


def hold_many(db: Database, given: Sequence[tuple[int, Hold | None, float]]) -> list[None]:
    """Set or lift holds in this order: at a stretch those that share the time and no incident."""
    for at, alike in groupby(given, lambda one: one[2]):
        holds = [(incident, hold) for incident, hold, _ in alike]
        if few(holds) or len(dict(holds)) < len(holds):
            for one in holds:
                _hold(db, [one], at)
        else:
            _hold(db, holds, at)
    return [None] * len(given)


def _hold(db: Database, holds: Sequence[tuple[int, Hold | None]], now: float) -> None:
    """Set or lift holds of different incidents."""
    opened = {row["id"]: row for row in db.execute(_OPEN_AMONG, (encode({incident: 0 for incident, _ in holds}),))}
    entries: list[NewEntry] = []
    for incident, hold in holds:
        row = opened.get(incident)
        if row is None:
            purpose = "set a hold" if hold else "lift a hold"
            raise ConflictError(f"cannot {purpose}: incident {incident} is not open")
        held, service = "" if row["hold"] is None else _decode_hold(row["hold"]).gate, row["service"]
        if hold is not None and hold.gate != held:
            data = {"gate": hold.gate, "until": hold.until}
            entries.append(NewEntry(EntryKind.HELD, hold.text, service, incident, data))
        elif hold is None and held:
            text = f"{held} holds no more"
            entries.append(NewEntry(EntryKind.RELEASED, text, service, incident, {"gate": held}))
    db.execute(_HOLD, (many([(incident, None if hold is None else encode(hold)) for incident, hold in holds]),))
    write_entries(db, now, entries)


def offer_step(db: Database, incident: int, step: int) -> None:
    open_row(db, incident, f"offer step {step}")
    db.execute(_OFFER, (step, incident))


def answer(db: Database, incident: int, given: Approval) -> Incident:
    word = "approved" if given.approved else "denied"
    opened = db.execute(_ONE, (incident,)).fetchone()
    if opened is None:
        raise ConflictError(f"cannot answer incident {incident}: there is none")
    if opened["closed_at"] is not None:
        raise ConflictError(
            f"cannot answer incident {incident}: it is too late, it was closed as {opened['verdict']}"
            f" ({opened['closing']})"
        )
    if opened["approval"] is not None:
        before = _decode_approval(opened["approval"])
        raise ConflictError(
            f"cannot answer incident {incident}: {before.author} has"
            f" {'approved' if before.approved else 'denied'} it already"
        )
    row = db.execute(_ANSWER, (encode(given), incident)).fetchone()
    data = {"approved": given.approved, "author": given.author, "comment": given.comment}
    text = f"{given.author} {word} it{with_comment(given.comment)}"
    write_entry(db, given.at, EntryKind.ANSWERED, text, data, opened["service"], incident)
    return _whole(db, row)


def close(db: Database, incident: int, verdict: Verdict, text: str, health: Health, now: float) -> Incident:
    if verdict is Verdict.DISMISSED and (running := db.execute(_RUNNING, (incident,)).fetchone()) is not None:
        action = running["action"]
        raise ConflictError(f"cannot dismiss incident {incident} while {action} runs: wait until the step has ended")
    row = db.execute(_CLOSE, (now, verdict, text, incident)).fetchone()
    if row is None:
        raise ConflictError(f"cannot close incident {incident}: it is not open")
    if verdict is Verdict.RECOVERED:
        db.execute(_REDEEM, (1, incident))
    # An operator's request ends in the same transaction as the incident that it led to. Else it would lead to another
    # one.
    alert_table.end_requests(db, incident, now)
    closed = _whole(db, row)
    last = closed.last_run
    data = {
        "verdict": verdict,
        "runbook": closed.runbook,
        "opened_at": closed.opened_at,
        "action": "none" if last is None else last.action,
        "health": health,
        **dashboard(closed.plan),
    }
    write_entry(db, now, EntryKind.INCIDENT_CLOSED, text, data, closed.service, incident)
    return closed


def one(db: Database, id: int) -> Incident | None:
    row = db.execute(_ONE, (id,)).fetchone()
    return None if row is None else _whole(db, row)


def all_open(db: Database) -> list[Incident]:
    return _with_runs(db.execute(_ALL_OPEN).fetchall(), step_table.of_open_incidents(db))


def newest(db: Database, service: str, open_only: bool, before: int | None, limit: int) -> list[Incident]:
    below = TOP if before is None else before
    if service:
        query = _NEWEST_OPEN_OF_SERVICE if open_only else _NEWEST_OF_SERVICE
        rows = db.execute(query, (service, below, limit)).fetchall()
    else:
        rows = db.execute(_NEWEST_OPEN if open_only else _NEWEST, (below, limit)).fetchall()
    return _with_runs(rows, step_table.of_incidents(db, rows))


def summaries(db: Database, since: float) -> list[IncidentSummary]:
    return [
        IncidentSummary(
            row["id"],
            row["service"],
            row["closed_at"],
            Verdict(row["verdict"]),
            relapse_of=row["relapse_of"],
            ran=bool(row["ran"]),
        )
        for row in db.execute(_SUMMARIES, (since,))
    ]


def last_closed(db: Database, since: float) -> list[Incident]:
    rows = db.execute(_LAST_CLOSED, (since,)).fetchall()
    return _with_runs(rows, step_table.of_incidents(db, rows))


def summary(db: Database) -> Summary:
    return Summary(
        open=db.execute(_COUNT_OPEN).fetchone()[0],
        verdicts=dict(db.execute(_COUNT_VERDICTS).fetchall()),
        mean_time_to_recovery=db.execute(_MEAN_TIME).fetchone()[0],
        dispositions=dict(db.execute(_COUNT_DISPOSITIONS).fetchall()),
    )


def _whole(db: Database, row: Row) -> Incident:
    return _with_runs([row], step_table.of_incidents(db, [row]))[0]


def _with_runs(rows: list[Row], runs: Iterable[StepRun]) -> list[Incident]:
    of_incident: dict[int, list[StepRun]] = {}
    for run in runs:
        of_incident.setdefault(run.incident, []).append(run)
    return [_incident(row, tuple(of_incident.get(row["id"], ()))) for row in rows]


def _incident(row: Row, runs: tuple[StepRun, ...]) -> Incident:
    return Incident(
        id=row["id"],
        service=row["service"],
        runbook=row["runbook"],
        opened_at=row["opened_at"],
        health=Health(row["health"]),
        text=row["text"],
        plan=_decode_plan(row["plan"]),
        labels=_decode_texts(row["labels"]),
        annotations=_decode_texts(row["annotations"]),
        source=Source(row["source"]),
        thresholds=_decode_names(row["thresholds"]),
        forced=bool(row["forced"]),
        relapse_of=row["relapse_of"],
        first_step=row["first_step"],
        first_attempt=row["first_attempt"],
        owes=_decode_names(row["owes"]),
        offered=row["offered"],
        hold=None if row["hold"] is None else _decode_hold(row["hold"]),
        approval=None if row["approval"] is None else _decode_approval(row["approval"]),
        closed_at=row["closed_at"],
        verdict=None if row["verdict"] is None else Verdict(row["verdict"]),
        closing=row["closing"],
        runs=runs,
    )

"""Step runs: beginning and ending them, passing steps over, and reading them.

Every write except the end of a run needs an open incident. `Store` says what each function promises.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from remediator.errors import ConflictError
from remediator.model.action import Outcome, Result
from remediator.model.incident import EntryKind, StepRun
from remediator.model.rules import Dashboard, Plan
from remediator.store.database import Database, Row
from remediator.store.tables.columns import encode
from remediator.store.tables.journal import write_entry

_BEGIN = """
    INSERT INTO step_runs (incident, service, runbook, step, attempt, action, started_at, deadline, text, call)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING *
"""
_SKIP = """
    INSERT INTO step_runs
        (incident, service, runbook, step, attempt, action, started_at, deadline, ended_at, outcome, text, call)
    VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, 'skipped', ?, '') ON CONFLICT DO NOTHING RETURNING *
"""
_END = """
    UPDATE step_runs SET ended_at = ?1, outcome = ?2, text = ?3, output = ?4, exit_code = ?5,
        call = CASE WHEN ?6 = '' THEN call ELSE ?6 END
    WHERE id = ?7 AND ended_at IS NULL RETURNING *
"""
_OPEN_INCIDENT = "SELECT * FROM incidents WHERE id = ? AND closed_at IS NULL"
_PLAN_OF = "SELECT plan FROM incidents WHERE id = ?"
_CLEAR_HOLD = "UPDATE incidents SET hold = NULL WHERE id = ? AND hold IS NOT NULL"
_RUNS_OF = "SELECT * FROM step_runs WHERE incident IN (SELECT CAST(key AS BIGINT) FROM json_each(?)) ORDER BY id"
# Here and below the plus keeps SQLite from scanning all runs for their order, as CROSS JOIN does.
_OPEN_RUNS = """
    SELECT step_runs.* FROM incidents CROSS JOIN step_runs
    WHERE step_runs.incident = incidents.id AND incidents.closed_at IS NULL ORDER BY +step_runs.id
"""
_SINCE = """
    SELECT * FROM step_runs
    WHERE started_at >= ? AND step >= 0 AND (outcome IS NULL OR outcome NOT IN ('refused', 'skipped', 'not_started'))
    ORDER BY +id
"""


class _Shown(msgspec.Struct):
    dashboard: Dashboard | None = None


class _ShownPlan(msgspec.Struct):
    """The part of a plan that says where its annotations go."""

    service: _Shown
    runbook: _Shown


_decode_shown = msgspec.json.Decoder(_ShownPlan).decode


def begin(
    db: Database,
    incident: int,
    step: int,
    attempt: int,
    action: str,
    text: str,
    call: str,
    now: float,
    deadline: float,
) -> StepRun:
    opened = open_row(db, incident, f"begin step {step} ({action})")
    row = db.execute(
        _BEGIN,
        (incident, opened["service"], opened["runbook"], step, attempt, action, now, deadline, text, call),
    ).fetchone()
    if row is None:
        raise ConflictError(
            f"cannot begin attempt {attempt} of step {step} ({action}) of incident {incident}:"
            " another step of it is running, or this attempt was made already"
        )
    if opened["hold"] is not None:
        db.execute(_CLEAR_HOLD, (incident,))
    run = _step_run(row)
    data = {
        "step": step,
        "attempt": attempt,
        "action": action,
        "call": call,
        "runbook": run.runbook,
        **dashboard(_decode_shown(opened["plan"])),
    }
    write_entry(db, now, EntryKind.STEP_STARTED, text, data, run.service, incident, run.id)
    return run


def end(db: Database, run: int, result: Result, now: float, call: str) -> StepRun:
    row = db.execute(_END, (now, result.outcome, result.text, result.output, result.exit_code, call, run)).fetchone()
    if row is None:
        raise ConflictError(f"cannot end step run {run}: it has ended already, or never began")
    ended = _step_run(row)
    data = {
        "step": ended.step,
        "attempt": ended.attempt,
        "action": ended.action,
        "outcome": result.outcome,
        "exit_code": result.exit_code,
        "output": result.output,
        "call": ended.call,
        "started_at": ended.started_at,
        "runbook": ended.runbook,
        **dashboard(_decode_shown(db.execute(_PLAN_OF, (ended.incident,)).fetchone()["plan"])),
    }
    write_entry(db, now, EntryKind.STEP_ENDED, result.text, data, ended.service, ended.incident, run)
    return ended


def pass_over(db: Database, incident: int, step: int, action: str, text: str, now: float) -> StepRun:
    opened = open_row(db, incident, f"pass over step {step} ({action})")
    row = db.execute(
        _SKIP, (incident, opened["service"], opened["runbook"], step, action, now, now, now, text)
    ).fetchone()
    if row is None:
        raise ConflictError(
            f"cannot pass over step {step} ({action}) of incident {incident}: it was passed over already"
        )
    run = _step_run(row)
    data = {"step": step, "action": action, "runbook": run.runbook}
    write_entry(db, now, EntryKind.PASSED_OVER, text, data, run.service, incident, run.id)
    return run


def since(db: Database, since: float) -> list[StepRun]:
    return [_step_run(row) for row in db.execute(_SINCE, (since,))]


def of_incidents(db: Database, incidents: list[Row]) -> Iterable[StepRun]:
    return map(_step_run, db.execute(_RUNS_OF, (encode({str(row["id"]): 0 for row in incidents}),)))


def of_open_incidents(db: Database) -> Iterable[StepRun]:
    return map(_step_run, db.execute(_OPEN_RUNS))


def open_row(db: Database, incident: int, purpose: str) -> Row:
    """The row of an incident that has to be open. If it is not, ConflictError names the purpose."""
    row: Row | None = db.execute(_OPEN_INCIDENT, (incident,)).fetchone()
    if row is None:
        raise ConflictError(f"cannot {purpose}: incident {incident} is not open")
    return row


def dashboard(plan: Plan | _ShownPlan) -> dict[str, Any]:
    """Where the annotations of an entry go, for announcers. Empty if the rules name no dashboard."""
    dashboard = plan.runbook.dashboard or plan.service.dashboard
    return {} if dashboard is None else {"dashboard": {"uid": dashboard.uid, "panel": dashboard.panel}}


def _step_run(row: Row) -> StepRun:
    return StepRun(
        id=row["id"],
        incident=row["incident"],
        service=row["service"],
        runbook=row["runbook"],
        step=row["step"],
        attempt=row["attempt"],
        action=row["action"],
        started_at=row["started_at"],
        deadline=row["deadline"],
        ended_at=row["ended_at"],
        outcome=None if row["outcome"] is None else Outcome(row["outcome"]),
        text=row["text"],
        call=row["call"],
        output=row["output"],
        exit_code=row["exit_code"],
        redeemed=bool(row["redeemed"]),
    )

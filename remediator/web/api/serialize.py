"""Serializes domain objects for the API and the event stream: plain mappings for JSON, times in RFC 3339.

Plans are left out on purpose: an action's environment and headers may hold secrets.
"""

from __future__ import annotations

import math
from typing import Any

from remediator.actions.render import describe
from remediator.actions.titles import incident_context, run_title, step_title
from remediator.decision.case import ServiceView, Why
from remediator.decision.next_step import find_next_step
from remediator.model.clock import rfc3339
from remediator.model.health import Reading
from remediator.model.incident import Entry, Hold, Incident, Pause, StepRun, StoredAlert
from remediator.model.paging import PageAlert
from remediator.web.context import Leader

Json = dict[str, Any]


def serialize_time(seconds: float | None) -> str | None:
    """A time in RFC 3339, or null for an event that has not happened."""
    return rfc3339(seconds) if seconds else None


def serialize_value(value: float | None) -> float | str | None:
    """A number, or the text that Prometheus writes for one that JSON does not know."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def serialize_service(view: ServiceView) -> Json:
    """A service."""
    return {
        "name": view.name,
        "labels": view.labels,
        "health": view.health,
        "text": view.judgement.text,
        "since": serialize_time(view.judgement.since),
        "seenAt": serialize_time(view.judgement.at),
        "readings": [serialize_reading(reading) for reading in view.judgement.readings],
        "firingAlerts": view.alerts,
        "runbook": view.runbook,
        "target": view.target,
        "dependsOn": view.depends_on,
        "incident": view.incident,
        "hold": serialize_hold(view.hold),
        "decision": view.decision,
    }


def serialize_reading(reading: Reading) -> Json:
    """The reading of a threshold for a service."""
    return {
        "threshold": reading.threshold,
        "health": reading.health,
        "sight": reading.query_status,
        "value": serialize_value(reading.value),
        "series": reading.series,
        "text": reading.text,
        "since": serialize_time(reading.since),
        "seenAt": serialize_time(reading.at),
    }


def serialize_hold(hold: Hold | None) -> Json | None:
    """A gate's reason not to act."""
    if hold is None:
        return None
    return {
        "gate": hold.gate,
        "text": hold.text,
        "until": serialize_time(hold.until),
        "since": serialize_time(hold.since),
        "wayOut": hold.way_out,
    }


def serialize_alert(stored: StoredAlert) -> Json:
    """An alert and what became of it."""
    alert = stored.alert
    return {
        "seq": stored.seq,
        "fingerprint": alert.fingerprint,
        "status": "firing" if alert.firing else "resolved",
        "startsAt": serialize_time(alert.starts_at),
        "endsAt": serialize_time(alert.ends_at),
        "labels": alert.labels,
        "annotations": alert.annotations,
        "source": alert.source,
        "generatorURL": alert.generator_url,
        "receivedAt": serialize_time(stored.received_at),
        "updatedAt": serialize_time(stored.updated_at),
        "service": stored.service,
        "disposition": stored.disposition,
        "gate": stored.gate,
        "text": stored.text,
        "incident": stored.incident,
    }


def serialize_incident(incident: Incident) -> Json:
    """An incident with its step runs."""
    answer = incident.approval
    return {
        "id": incident.id,
        "service": incident.service,
        "runbook": incident.runbook,
        "open": incident.open,
        "openedAt": serialize_time(incident.opened_at),
        "closedAt": serialize_time(incident.closed_at),
        "health": incident.health,
        "text": incident.text,
        "verdict": incident.verdict,
        "closing": incident.closing,
        "source": incident.source,
        "forced": incident.forced,
        "mode": incident.plan.runbook.mode,
        "labels": incident.labels,
        "annotations": incident.annotations,
        "thresholds": incident.thresholds,
        "relapseOf": incident.relapse_of,
        "owed": incident.owed,
        "hold": serialize_hold(incident.hold),
        "approval": None
        if answer is None
        else {
            "approved": answer.approved,
            "author": answer.author,
            "comment": answer.comment,
            "at": serialize_time(answer.at),
        },
        "steps": [{"name": step.name, "action": step.action} for step in incident.plan.runbook.steps],
        "runs": [serialize_run(run, run_title(incident, run)) for run in incident.runs],
        "next": _serialize_next(incident),
    }


def _serialize_next(incident: Incident) -> Json | None:
    """The step whose turn it is, in words, and its call as far as it is known beforehand."""
    next_step = find_next_step(incident) if incident.open and incident.running is None else None
    if next_step is None:
        return None
    plan, step, context = incident.plan, next_step.step, incident_context(incident)
    return {"name": step.name, "summary": step_title(plan, step, context), "call": describe(plan, step, context)}


def serialize_run(run: StepRun, summary: str) -> Json:
    """One execution of a step. `step` is null for the gathering of evidence, and for an action that puts something
    back. `summary` says in words what it does."""
    return {
        "id": run.id,
        "step": None if run.step < 0 else run.step,
        "title": run.title,
        "summary": summary,
        "attempt": run.attempt,
        "action": run.action,
        "startedAt": serialize_time(run.started_at),
        "deadline": serialize_time(run.deadline),
        "endedAt": serialize_time(run.ended_at),
        "outcome": run.outcome,
        "text": run.text,
        "call": run.call,
        "exitCode": run.exit_code,
        "output": run.output,
    }


def serialize_entry(entry: Entry) -> Json:
    """An entry of the journal."""
    return {
        "id": entry.id,
        "at": serialize_time(entry.at),
        "kind": entry.kind,
        "service": entry.service,
        "incident": entry.incident,
        "run": entry.run,
        "text": entry.text,
    }


def serialize_pause(pause: Pause) -> Json:
    """A pause."""
    return {
        "id": pause.id,
        "matchers": [str(matcher) for matcher in pause.matchers],
        "startsAt": serialize_time(pause.starts_at),
        "endsAt": serialize_time(pause.ends_at),
        "author": pause.author,
        "comment": pause.comment,
    }


def serialize_page_alert(page: PageAlert) -> Json:
    """A page to people that fires now."""
    return {
        "labels": page.labels,
        "annotations": page.annotations,
        "startsAt": serialize_time(page.starts_at),
        "path": page.path,
    }


def serialize_leader(leader: Leader) -> Json:
    """Who leads among the processes that share the store."""
    return {
        "name": leader.name,
        "url": leader.url,
        "since": serialize_time(leader.since),
        "epoch": leader.epoch,
        "me": leader.me,
    }


def serialize_why(why: Why) -> Json:
    """The account of a service."""
    return {
        "service": serialize_service(why.service),
        "alerts": [serialize_alert(stored) for stored in why.alerts],
        "incident": None if why.incident is None else serialize_incident(why.incident),
        "gates": [{"gate": gate, "hold": serialize_hold(hold)} for gate, hold in why.gates],
        "facts": why.facts,
    }

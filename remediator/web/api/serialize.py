"""What the API and the event stream show of each thing: plain mappings for JSON, times in RFC 3339.

Plans are left out on purpose: an action's environment and headers may hold secrets.
"""

from __future__ import annotations

import math
from typing import Any

from remediator.decision.case import ServiceView, Why
from remediator.model.clock import rfc3339
from remediator.model.health import Reading
from remediator.model.incident import Entry, Hold, Incident, Pause, StepRun, StoredAlert
from remediator.model.paging import PageAlert
from remediator.web.context import Leader

Shape = dict[str, Any]


def time_shape(seconds: float | None) -> str | None:
    """RFC 3339, or null for what has not happened."""
    return rfc3339(seconds) if seconds else None


def value_shape(value: float | None) -> float | str | None:
    """A number, or the text Prometheus writes for one that JSON does not know."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def service_shape(view: ServiceView) -> Shape:
    """A service."""
    return {
        "name": view.name,
        "labels": view.labels,
        "health": view.health,
        "text": view.judgement.text,
        "since": time_shape(view.judgement.since),
        "seenAt": time_shape(view.judgement.at),
        "readings": [reading_shape(reading) for reading in view.judgement.readings],
        "firingAlerts": view.alerts,
        "runbook": view.runbook,
        "target": view.target,
        "dependsOn": view.depends_on,
        "incident": view.incident,
        "hold": hold_shape(view.hold),
        "decision": view.decision,
    }


def reading_shape(reading: Reading) -> Shape:
    """What a threshold said of a service."""
    return {
        "threshold": reading.threshold,
        "health": reading.health,
        "sight": reading.sight,
        "value": value_shape(reading.value),
        "series": reading.series,
        "text": reading.text,
        "since": time_shape(reading.since),
        "seenAt": time_shape(reading.at),
    }


def hold_shape(hold: Hold | None) -> Shape | None:
    """A gate's reason not to act."""
    if hold is None:
        return None
    return {
        "gate": hold.gate,
        "text": hold.text,
        "until": time_shape(hold.until),
        "since": time_shape(hold.since),
        "wayOut": hold.way_out,
    }


def alert_shape(stored: StoredAlert) -> Shape:
    """An alert and what became of it."""
    alert = stored.alert
    return {
        "seq": stored.seq,
        "fingerprint": alert.fingerprint,
        "status": "firing" if alert.firing else "resolved",
        "startsAt": time_shape(alert.starts_at),
        "endsAt": time_shape(alert.ends_at),
        "labels": alert.labels,
        "annotations": alert.annotations,
        "source": alert.source,
        "generatorURL": alert.generator_url,
        "receivedAt": time_shape(stored.received_at),
        "updatedAt": time_shape(stored.updated_at),
        "service": stored.service,
        "disposition": stored.disposition,
        "gate": stored.gate,
        "text": stored.text,
        "incident": stored.incident,
    }


def incident_shape(incident: Incident) -> Shape:
    """An incident with its step runs."""
    answer = incident.approval
    return {
        "id": incident.id,
        "service": incident.service,
        "runbook": incident.runbook,
        "open": incident.open,
        "openedAt": time_shape(incident.opened_at),
        "closedAt": time_shape(incident.closed_at),
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
        "hold": hold_shape(incident.hold),
        "approval": None
        if answer is None
        else {
            "approved": answer.approved,
            "author": answer.author,
            "comment": answer.comment,
            "at": time_shape(answer.at),
        },
        "steps": [{"name": step.name, "action": step.action} for step in incident.plan.runbook.steps],
        "runs": [run_shape(run) for run in incident.runs],
    }


def run_shape(run: StepRun) -> Shape:
    """One execution of a step; `step` is null for the gathering of evidence, and for what puts something back."""
    return {
        "id": run.id,
        "step": None if run.step < 0 else run.step,
        "title": run.title,
        "attempt": run.attempt,
        "action": run.action,
        "startedAt": time_shape(run.started_at),
        "deadline": time_shape(run.deadline),
        "endedAt": time_shape(run.ended_at),
        "outcome": run.outcome,
        "text": run.text,
        "call": run.call,
        "exitCode": run.exit_code,
        "output": run.output,
    }


def entry_shape(entry: Entry) -> Shape:
    """A line of the journal."""
    return {
        "id": entry.id,
        "at": time_shape(entry.at),
        "kind": entry.kind,
        "service": entry.service,
        "incident": entry.incident,
        "run": entry.run,
        "text": entry.text,
    }


def pause_shape(pause: Pause) -> Shape:
    """A pause."""
    return {
        "id": pause.id,
        "matchers": [str(matcher) for matcher in pause.matchers],
        "startsAt": time_shape(pause.starts_at),
        "endsAt": time_shape(pause.ends_at),
        "author": pause.author,
        "comment": pause.comment,
    }


def page_shape(page: PageAlert) -> Shape:
    """What people are being told."""
    return {
        "labels": page.labels,
        "annotations": page.annotations,
        "startsAt": time_shape(page.starts_at),
        "path": page.path,
    }


def leader_shape(leader: Leader) -> Shape:
    """Who leads among the processes that share the store."""
    return {
        "name": leader.name,
        "url": leader.url,
        "since": time_shape(leader.since),
        "epoch": leader.epoch,
        "me": leader.me,
    }


def why_shape(why: Why) -> Shape:
    """The account of a service."""
    return {
        "service": service_shape(why.service),
        "alerts": [alert_shape(stored) for stored in why.alerts],
        "incident": None if why.incident is None else incident_shape(why.incident),
        "gates": [{"gate": gate, "hold": hold_shape(hold)} for gate, hold in why.gates],
        "facts": why.facts,
    }

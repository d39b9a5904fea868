"""Small builders of services, runbooks, judgements, incidents and cases for tests."""

from __future__ import annotations

from typing import Any

import msgspec

from remediator.decision.assessment import Choice, PrometheusStatus
from remediator.decision.case import Case
from remediator.model.action import Outcome
from remediator.model.alert import Alert, Source, fingerprint
from remediator.model.health import UNSEEN, Health, Judgement, QueryStatus, Reading
from remediator.model.incident import DIAGNOSE, Incident, StepRun, StoredAlert
from remediator.model.rules import Limits, Plan, Runbook, Service, Step, Target, TargetRef, Verify

NOW = 1_000_000.0


def service(name: str = "checkout", **fields: Any) -> Service:
    labels = {"service": name, **fields.pop("labels", {})}
    return Service(name, labels=labels, **{"target": TargetRef("command"), **fields})


def step(name: str = "restart", **fields: Any) -> Step:
    return Step(name, fields.pop("action", name), **fields)


def runbook(*steps: Step, **fields: Any) -> Runbook:
    given: dict[str, Any] = {
        "name": "web",
        "verify": Verify(healthy_for=15.0, within=120.0),
        "limits": Limits(cooldown=600.0),
        **fields,
    }
    return Runbook(steps=steps or (step(),), **given)


def plan(*steps: Step, target: Target | None = None, **fields: Any) -> Plan:
    return Plan(service(), runbook(*steps, **fields), target)


def judgement(
    health: Health | str, *, at: float = NOW, since: float = NOW - 60, threshold: str = "error_ratio"
) -> Judgement:
    health = Health(health)
    if health is Health.UNKNOWN:
        reading = Reading(threshold, health, at, since, QueryStatus.NO_DATA, text=f"{threshold}: no data")
    else:
        value = {"healthy": 0.0, "degraded": 0.07, "failed": 0.2}[health]
        reading = Reading(threshold, health, at, since, QueryStatus.SEEN, value, {}, f"{threshold} {value:g}")
    return Judgement(health, at, since, reading.text, (reading,))


def stored(
    name: str = "ErrorRatioHigh",
    *,
    at: float = NOW - 30,
    source: Source = Source.ALERTMANAGER,
    seq: int = 1,
    **labels: str,
) -> StoredAlert:
    every = {"alertname": name, "service": "checkout", **labels}
    return StoredAlert(seq, Alert(fingerprint(every), at, None, every, source=source), at, at)


def run(
    id: int = 1,
    *,
    index: int = 0,
    attempt: int = 1,
    action: str = "restart",
    outcome: Outcome | None = Outcome.SUCCEEDED,
    started: float = NOW - 20,
    ended: float | None = NOW - 10,
    incident: int = 7,
    **fields: Any,
) -> StepRun:
    return StepRun(
        id=id,
        incident=incident,
        service="checkout",
        runbook="web",
        step=index,
        attempt=attempt,
        action=action,
        started_at=started,
        deadline=started + 60,
        ended_at=ended if outcome is not None else None,
        outcome=outcome,
        **fields,
    )


def evidence(id: int = 99) -> StepRun:
    return run(id, index=DIAGNOSE, action="diagnose")


def incident(the_plan: Plan | None = None, *runs: StepRun, **fields: Any) -> Incident:
    the_plan = the_plan or plan()
    given: dict[str, Any] = {
        "id": 7,
        "service": "checkout",
        "runbook": the_plan.runbook.name,
        "opened_at": NOW - 40,
        "health": Health.FAILED,
        "text": "is failed",
        "labels": {"service": "checkout"},
        "thresholds": ("error_ratio",),
        **fields,
    }
    return Incident(plan=the_plan, runs=runs, **given)


def case(health: Health | str = "failed", the_incident: Incident | None = None, **fields: Any) -> Case:
    judged = fields.pop("judgement", None) or judgement(health)
    if "alerts" not in fields:
        fields["alerts"] = (stored(),)
    if the_incident is None and "choice" not in fields and fields["alerts"]:
        fields["choice"] = Choice(fields["alerts"][0], fields.pop("the_plan", None) or plan(), judged)
    fields.setdefault("prometheus_status", PrometheusStatus(NOW, NOW - 3600, NOW - 3600))
    return Case(now=NOW, service=service(), judgement=judged, incident=the_incident, **fields)


def at(the_case: Case, **fields: Any) -> Case:
    return msgspec.structs.replace(the_case, **fields)


__all__ = [
    "NOW",
    "UNSEEN",
    "at",
    "case",
    "evidence",
    "incident",
    "judgement",
    "plan",
    "run",
    "runbook",
    "service",
    "step",
    "stored",
]

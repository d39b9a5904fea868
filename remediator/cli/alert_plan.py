"""What the rules would do about one alert: the engine's own decision on a service without a history.

Nothing is run, and nothing is remembered: the case is made of the alert, of what thresholds say of its service, and of
the config. `decide` and the gates are those of `serve`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from remediator.actions.render import perform
from remediator.clients.prometheus.client import Answer
from remediator.config.policy import Policy
from remediator.decision import decide as d
from remediator.decision.assessment import Choice, PrometheusStatus, choose, judge
from remediator.decision.case import Case, Window
from remediator.decision.gates import GATES, name_of
from remediator.model.action import Call, Outcome, Result
from remediator.model.alert import Alert, fingerprint
from remediator.model.durations import format_duration
from remediator.model.health import Health, Judgement, QueryStatus, Reading
from remediator.model.incident import Incident, StoredAlert
from remediator.model.matcher import Matcher
from remediator.model.rulebook import Rulebook, merged_labels
from remediator.model.rules import Runbook, Service

_LONG_AGO = 86_400.0


class GateState(msgspec.Struct, frozen=True):
    """One gate: whether it holds now, and the sentence that says why, or what it waits for at the time."""

    gate: str
    holds: bool
    text: str


class AlertPlan(msgspec.Struct, frozen=True):
    """What would be done about an alert. `reason` says why nothing would be; then there may be no runbook.

    `condition` names what has to be true besides the alert. `argv` is the command of the first step, `call` the same as
    text; both are empty when the step is no command.
    """

    labels: dict[str, str]
    service: str = ""
    runbook: str = ""
    step: str = ""
    call: str = ""
    argv: tuple[str, ...] = ()
    reason: str = ""
    condition: str = ""
    gates: tuple[GateState, ...] = ()


Readings = Callable[[Service], Judgement | None]
"""What thresholds say of a service now; None when that is not known."""


def plan_for(
    rulebook: Rulebook, policy: Policy, labels: Mapping[str, str], now: float, readings: Readings = lambda _: None
) -> AlertPlan:
    """What would be done about an alert with these labels that fires now.

    Without readings it is assumed that the service's thresholds agree with the alert.
    """
    labels = {name: value for name, value in labels.items() if value}
    alert = Alert(fingerprint(labels), now - 1, None, labels)
    service = rulebook.service_for(labels)
    if service is None:
        refusal = rulebook.refusal_for(labels)
        return AlertPlan(labels, reason=refusal or "no service owns it: no service's match fits its labels")
    thresholds = [threshold.name for threshold in rulebook.thresholds_for(service)]
    if not thresholds and not policy.heeds(alert):
        return AlertPlan(labels, service.name, reason=policy.why_unheeded(alert))
    seen = readings(service) if thresholds else None
    condition = ""
    if thresholds and seen is None:
        seen = _agreeing(rulebook, policy, service, alert, now)
        if not any(not runbook.corroborate for runbook in rulebook.runbooks_for(merged_labels(service, labels))):
            condition = f"if {' or '.join(thresholds)} says {seen.health}"
    case = _case(rulebook, policy, service, alert, seen, now)
    decision = d.decide(case)
    if not isinstance(decision, d.Open) or case.choice is None:
        contradicted = _contradiction(case, seen)
        return AlertPlan(labels, service.name, _runbook_name(case), reason=contradicted or decision.text)
    return _opened(labels, case, case.choice, decision, condition)


def _opened(labels: dict[str, str], case: Case, choice: Choice, decision: d.Open, condition: str) -> AlertPlan:
    plan, service = choice.plan, case.service
    incident = Incident(
        0, service.name, plan.runbook.name, case.now, decision.health, decision.text, plan,
        labels=merged_labels(service, labels), thresholds=decision.thresholds,
    )  # fmt: skip
    case = msgspec.structs.replace(case, incident=incident)
    next_step = case.next_step
    if next_step is None:
        return AlertPlan(labels, service.name, plan.runbook.name, reason=f"runbook {plan.runbook.name} has no step")
    step = next_step.step
    calls: list[Call] = []

    async def run(call: Call) -> Result:
        calls.append(call)
        return Result(Outcome.SUCCEEDED, "not run", 0, "1")

    async def query(_: str) -> Answer:
        return Answer(case.now, QueryStatus.BAD_DATA, error="not asked")

    result, text = asyncio.run(perform(plan, step, case.context, run, query))
    call = calls[-1] if calls and text else None
    reason = result.text if result.outcome is Outcome.REFUSED else ""
    gates = tuple(_gates(case, plan.runbook))
    return AlertPlan(
        labels,
        service.name,
        plan.runbook.name,
        step.name,
        text,
        call.argv if call is not None else (),
        reason,
        condition,
        gates,
    )


def _case(
    rulebook: Rulebook, policy: Policy, service: Service, alert: Alert, seen: Judgement | None, now: float
) -> Case:
    stored = StoredAlert(1, alert, now - 1, now - 1, service.name)
    status = PrometheusStatus(at=now, since=now - _LONG_AGO, back=now - _LONG_AGO, quiet_since=0.0)
    choice = choose(rulebook, service, seen, [stored], policy, status, now)
    judgement = choice.judgement if choice else judge(seen, [stored], policy, status, now, believe=False)
    window = next((one for one in policy.maintenance if one.open_for(service.labels, now)), None)
    return Case(
        now=now,
        service=service,
        judgement=judgement,
        policy=policy,
        alerts=(stored,),
        choice=choice,
        window=Window(window.name, window.closes(now), window.comment) if window is not None else None,
        prometheus_status=status,
    )


def _agreeing(rulebook: Rulebook, policy: Policy, service: Service, alert: Alert, now: float) -> Judgement:
    """What thresholds that agree with the alert would say: failed, or degraded where a runbook is only for that."""
    labels = merged_labels(service, alert.labels)
    whens = [runbook.when for runbook in rulebook.runbooks_for(labels)]
    degraded = whens and not any(Health.FAILED in when for when in whens)
    health = Health.DEGRADED if degraded else Health.FAILED
    readings = tuple(Reading(one.name, health, now, now - 1) for one in rulebook.thresholds_for(service))
    return Judgement(health, now, now - 1, "its thresholds agree with the alert", readings)


def _contradiction(case: Case, seen: Judgement | None) -> str:
    """The reason when thresholds see the service healthy."""
    if seen is None or seen.health is not Health.HEALTHY or case.choice is None:
        return ""
    names = ", ".join(reading.threshold for reading in seen.readings)
    return f"contradicted by threshold {names}: {seen.text}" if names else ""


def _runbook_name(case: Case) -> str:
    return case.choice.plan.runbook.name if case.choice is not None else ""


def _gates(case: Case, runbook: Runbook) -> list[GateState]:
    """All gates that hold now, and those that may hold then, in the order in which they are asked."""
    limits, step = runbook.limits, case.next_step.step if case.next_step is not None else None
    later: dict[str, str] = {
        "paused": "while an operator has paused it",
        "silenced": "while all that fires of it is silenced in Alertmanager",
        "dependency": f"while {', '.join(case.service.depends_on)} is in trouble" if case.service.depends_on else "",
        "panic": f"while {case.policy.panic} of the fleet turned bad at once" if case.policy.panic else "",
        "breaker": f"after {limits.breaker} heals that did not help" if limits.breaker else "",
        "cooldown": f"for {format_duration(limits.cooldown)} after it ran" if limits.cooldown else "",
        "rate_budget": f"after {', '.join(map(str, limits.rate))} commands" if limits.rate else "",
        "blast_radius": f"while {limits.blast_radius} of its services are being healed" if limits.blast_radius else "",
        "concurrency": f"while {case.policy.concurrent} commands run",
        "guard": f"while {step.unless} is true or cannot be told" if step is not None and step.unless else "",
    }
    found = []
    for check in GATES:
        gate, hold = str(name_of(check)), check(case)
        if hold is not None:
            # There is no incident yet whose number could be named.
            found.append(
                GateState(gate, True, hold.text.replace("remediator approve 0", "remediator approve INCIDENT"))
            )
        elif later.get(gate):
            found.append(GateState(gate, False, later[gate]))
    return found


def matcher_labels(matchers: Iterable[Matcher]) -> dict[str, str]:
    """The labels of an alert that is written as matchers. ValueError when one of them is no equality."""
    labels = {}
    for matcher in matchers:
        if matcher.op != "=":
            raise ValueError(f"{matcher} does not say which value the alert has: write {matcher.name}=…")
        labels[matcher.name] = matcher.value
    return labels


def as_json(plan: AlertPlan) -> dict[str, Any]:
    """The plan for programs."""
    return {
        "labels": plan.labels,
        "service": plan.service,
        "runbook": plan.runbook,
        "step": plan.step,
        "call": plan.call,
        "argv": list(plan.argv),
        "condition": plan.condition,
        "reason": plan.reason,
        "gates": [{"gate": gate.gate, "holds": gate.holds, "text": gate.text} for gate in plan.gates],
    }

"""The gates: every reason not to act now, in the order in which they are asked. `GATES` is the policy.

Each gate is a function from a case to a Hold, or None to let pass. The first that holds wins, and its sentence is what
people read everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

from remediator.case import Case
from remediator.durations import format_duration, rough_duration
from remediator.health import Health
from remediator.incident import Hold, Verdict
from remediator.rulebook import Mode, Rate

REOPEN = 60.0
"""Seconds for which a service that was given up, or whose incident was dismissed, is left alone at the least."""

Gate = Callable[[Case], Hold | None]


def auto_heal(case: Case) -> Hold | None:
    """The global switch, or a runbook in observe mode: decide and tell, run nothing."""
    if not case.policy.auto_heal:
        return Hold("auto_heal", f"auto_heal is off{_would(case)}")
    plan = case.plan
    if plan is not None and plan.runbook.mode is Mode.OBSERVE and not case.forced:
        return Hold("observe", f"runbook {plan.runbook.name} is in observe mode{_would(case)}")
    return None


def paused(case: Case) -> Hold | None:
    """An operator has paused healing for the service."""
    if not case.pauses:
        return None
    pause = max(case.pauses, key=lambda pause: pause.ends_at)
    left = rough_duration(pause.ends_at - case.now)
    because = f": {pause.comment}" if pause.comment else ""
    return Hold("paused", f"paused by {pause.author} for another {left}{because}", pause.ends_at)


def blind(case: Case) -> Hold | None:
    """The service's health is unknown: what cannot be seen is not touched."""
    if case.health is not Health.UNKNOWN:
        return None
    return Hold("blind", f"health is unknown: {case.judgement.text}")


def corroborated(case: Case) -> Hold | None:
    """An alert fires, but the service's thresholds see it healthy."""
    if case.incident is not None or case.asked or case.health is not Health.HEALTHY:
        return None
    name = case.choice.alert.alert.name if case.choice else ""
    return Hold("not_corroborated", f"alert {name} is not corroborated: {case.judgement.text}")


def dependency(case: Case) -> Hold | None:
    """Something the service depends on is in trouble: that is healed first."""
    if not case.dependencies:
        return None
    root = case.dependencies[0]
    return Hold("dependency", f"waits for {root.name}, which is {root.health}: {root.text}")


def cooldown(case: Case) -> Hold | None:
    """The same runbook ran for this service, or gave it up, a short while ago."""
    plan = case.plan
    if plan is None or case.forced:
        return None
    wait = plan.runbook.limits.cooldown
    if case.incident is None:
        previous = case.previous
        if previous is None or previous.closed_at is None or previous.runbook != plan.runbook.name:
            return None
        if previous.verdict not in (Verdict.EXHAUSTED, Verdict.DISMISSED):
            return None
        wait = max(wait, REOPEN)
        return _cooling(case.now, previous.closed_at + wait, f"incident {previous.id} was {previous.verdict}", wait)
    if case.incident.last_run is not None or case.last_heal is None:
        return None
    ended = case.last_heal.ended_at or case.last_heal.deadline
    return _cooling(case.now, ended + wait, f"{case.last_heal.action} was run", wait)


def rate_budget(case: Case) -> Hold | None:
    """As many commands as allowed were run in one of the windows, by this runbook or by all together."""
    plan = case.plan
    if plan is None:
        return None
    for rate in plan.runbook.limits.rate:
        until = _spent_until(rate, case.spent_here, case.now)
        if until is not None:
            left = rough_duration(until - case.now)
            text = f"runbook {plan.runbook.name} has used {_rate(rate)}: frees up in {left}"
            return Hold("rate_budget", text, until)
    for rate in case.policy.rate:
        until = _spent_until(rate, case.spent_anywhere, case.now)
        if until is not None:
            left = rough_duration(until - case.now)
            return Hold("rate_budget", f"all runbooks together have used {_rate(rate)}: frees up in {left}", until)
    return None


def blast_radius(case: Case) -> Hold | None:
    """Enough of the runbook's services are being healed already."""
    plan = case.plan
    if plan is None or plan.runbook.limits.blast_radius is None:
        return None
    most = plan.runbook.limits.blast_radius.of(case.reach)
    if case.healing < most:
        return None
    text = f"{case.healing} of {case.reach} services of runbook {plan.runbook.name} are being healed, at most {most}"
    return Hold("blast_radius", text)


def concurrency(case: Case) -> Hold | None:
    """As many commands as allowed are running."""
    if case.running < case.policy.concurrent:
        return None
    return Hold("concurrency", f"{case.running} of {case.policy.concurrent} commands are running")


def guard(case: Case) -> Hold | None:
    """The step's `unless` is true, or cannot be told."""
    rung = case.rung
    if rung is None or not rung.step.unless:
        return None
    answer = case.guards.get(rung.step.unless)
    if answer is None or answer.true is False:
        return None
    if answer.true is None:
        return Hold("guard", f"cannot tell whether {answer.expr} is true: {answer.text}")
    return Hold("guard", f"{rung.step.name} waits while {answer.expr}")


def approval(case: Case) -> Hold | None:
    """The runbook asks a person first."""
    plan, incident = case.plan, case.incident
    if plan is None or incident is None or plan.runbook.mode is not Mode.APPROVE or case.forced:
        return None
    if incident.approval is None:
        return Hold("approval", f"waits for approval: remediator approve {incident.id}{_would(case)}")
    if not incident.approval.approved:
        return Hold("approval", f"{incident.approval.author} denied it: {incident.approval.comment}")
    return None


GATES: tuple[Gate, ...] = (
    auto_heal,
    paused,
    blind,
    corroborated,
    dependency,
    cooldown,
    rate_budget,
    blast_radius,
    concurrency,
    guard,
    approval,
)

OPENING: tuple[Gate, ...] = (blind, corroborated, cooldown)
"""The gates that are asked before an incident is opened at all: without them there is no episode to speak of."""


def first_hold(case: Case, gates: tuple[Gate, ...] = GATES) -> Hold | None:
    """The hold of the first gate that does not let pass."""
    for gate in gates:
        hold = gate(case)
        if hold is not None:
            return hold
    return None


def _would(case: Case) -> str:
    rung = case.rung
    if rung is None:
        return ""
    return f": would run {rung.step.name}" + (f" ({case.would})" if case.would else "")


def _cooling(now: float, until: float, what: str, wait: float) -> Hold | None:
    if now >= until:
        return None
    left = rough_duration(until - now)
    return Hold("cooldown", f"{what}, and the cooldown of {format_duration(wait)} lasts another {left}", until)


def _rate(rate: Rate) -> str:
    return f"its {rate.count} commands in {format_duration(rate.window)}"


def _spent_until(rate: Rate, starts: tuple[float, ...], now: float) -> float | None:
    """When the window has room again, or None when it has now."""
    inside = [start for start in starts if start > now - rate.window]
    if len(inside) < rate.count:
        return None
    return sorted(inside)[len(inside) - rate.count] + rate.window

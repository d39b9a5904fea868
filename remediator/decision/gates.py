"""The gates: every reason not to act now, in the order in which they are asked. `GATES` is the policy.

Each gate is a function from a case to a Hold, or None to let pass. It has the name of its `Gate`, which has its traits.
The first gate that holds wins, and people read its sentence everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile

from remediator.decision.budgets import failures, spent_until, tripped_until
from remediator.decision.case import Case
from remediator.model.durations import format_duration, rough_duration
from remediator.model.gate import Gate, Trait
from remediator.model.health import Health
from remediator.model.incident import Hold, Verdict
from remediator.model.rules import Mode, Rate

REOPEN = 60.0
"""Minimum seconds for which a service is left alone after it was given up, or its incident was dismissed."""
SLOW_START = 300.0
"""Seconds after a panic for which only one command runs at a time."""

PROBE_AGAIN = 5.0
"""Seconds until the next probe of a target that could not be reached. They double with each failure."""
PROBE_LONGEST = 300.0

GateCheck = Callable[[Case], Hold | None]


def paused(case: Case) -> Hold | None:
    """An operator has paused healing for the service."""
    if not case.pauses:
        return None
    pause = max(case.pauses, key=lambda pause: pause.ends_at)
    text = f"paused by {pause.author} for another {_left(case, pause.ends_at)}{_because(pause.comment)}"
    return Hold(Gate.PAUSED, text, pause.ends_at, way_out=f"remediator resume {pause.id}")


def maintenance(case: Case) -> Hold | None:
    """A maintenance window of the config is open for the service."""
    window = case.window
    if window is None:
        return None
    left = f" for another {_left(case, window.until)}" if window.until is not None else ""
    text = f"maintenance window {window.name} is open{left}{_because(window.comment)}"
    return Hold(Gate.MAINTENANCE, text, window.until, way_out="change maintenance: in the config, and reload")


def silenced(case: Case) -> Hold | None:
    """Somebody has silenced all firing alerts of the service in Alertmanager: a person is working on it."""
    silence = case.silence
    if silence is None or case.asked:
        return None
    text = f"silenced by {silence.author} for another {_left(case, silence.ends_at)}{_because(silence.comment)}"
    return Hold(Gate.SILENCED, text, silence.ends_at, way_out=f"expire silence {silence.id} in Alertmanager")


def inhibited(case: Case) -> Hold | None:
    """Alertmanager inhibits the firing alerts of the service: another alert says more."""
    suppression = case.suppression
    if suppression is None or not suppression.inhibited_by or case.asked:
        return None
    by = ", ".join(suppression.inhibited_by)
    return Hold(Gate.INHIBITED, f"inhibited in Alertmanager by {by}", way_out=f"it ends with {by}")


def muted(case: Case) -> Hold | None:
    """A time interval of Alertmanager's configuration mutes the firing alerts of the service."""
    suppression = case.suppression
    if suppression is None or not suppression.muted_by or case.asked:
        return None
    by = ", ".join(suppression.muted_by)
    return Hold(Gate.MUTED, f"muted in Alertmanager by the time interval {by}", way_out="it ends with the interval")


def settling(case: Case) -> Hold | None:
    """The process has just started, or Prometheus has just returned, or a panic has just ended: observe for a while
    before acting on a backlog."""
    if not case.reconciled:
        return Hold(Gate.SETTLING, "has not compared its alerts with Alertmanager's yet")
    back, what = case.prometheus_status.back, "Prometheus has been seen"
    if case.panic is None and case.panicked_at is not None and case.panicked_at > back:
        back, what = case.panicked_at, "the panic has been over"
    until = back + case.policy.settle
    if case.now >= until:
        return None
    text = f"looks on for another {_left(case, until)}: {what} for {rough_duration(case.now - back)}"
    return Hold(Gate.SETTLING, text, until)


def blind(case: Case) -> Hold | None:
    """The service's health is unknown, or Prometheus does not answer: nothing that cannot be seen is touched."""
    if case.health is Health.UNKNOWN:
        return Hold(Gate.BLIND, f"health is unknown: {case.judgement.text}")
    unseen = case.now - case.prometheus_status.at
    if case.prometheus_status.answers and unseen <= case.policy.stale_after:
        return None
    ago = f"has not answered for {rough_duration(unseen)}" if case.prometheus_status.at else "has never answered"
    return Hold(Gate.BLIND, f"Prometheus {ago}, so nothing could be verified")


def not_corroborated(case: Case) -> Hold | None:
    """An alert fires, but the service's thresholds see it healthy."""
    if not case.alerts or case.incident is not None or case.asked or case.health is not Health.HEALTHY:
        return None
    name = (case.choice.alert if case.choice else case.alerts[0]).alert.name
    text = f"alert {name} is not corroborated: {case.judgement.text}"
    return Hold(Gate.NOT_CORROBORATED, text, way_out="corroborate: false in the runbook believes the alert by itself")


def target_unreachable(case: Case) -> Hold | None:
    """The target's probe has failed: its host, cluster or daemon cannot be reached, so no step is used up on it."""
    probe = case.probe
    if probe is None or not probe.failures or not case.probed:
        return None
    until = probe.at + min(PROBE_LONGEST, PROBE_AGAIN * 2.0 ** min(probe.failures - 1, 10))
    if case.now >= until:
        return None
    text = f"its target cannot be reached: {probe.text}: asks again in {_left(case, until)}"
    return Hold(Gate.TARGET_UNREACHABLE, text, until)


def dependency(case: Case) -> Hold | None:
    """A dependency of the service is in trouble, and has to be healed first. After that, services that failed with it
    get the time in which its own runbook expects a recovery."""
    plan, incident = case.plan, case.incident
    latest: Hold | None = None
    for root in case.dependencies:
        if root.healed_at is None:
            waits = "would wait" if case.observed else "waits"
            return Hold(Gate.DEPENDENCY, f"{waits} for {root.name}, which is {root.health}: {root.text}")
        if plan is None or incident is None or incident.opened_at > root.healed_at:
            continue
        until = root.healed_at + plan.runbook.verify.within
        if case.now < until and (latest is None or until > (latest.until or 0.0)):
            ago = rough_duration(case.now - root.healed_at)
            text = f"{root.name} was healed {ago} ago: gives it another {_left(case, until)} to recover with it"
            latest = Hold(Gate.DEPENDENCY, text, until)
    return latest


def panic(case: Case) -> Hold | None:
    """Too many services turned bad at once: the cause is the monitoring, the network, or something for people."""
    panicked = case.panic
    if panicked is None:
        return None
    text = f"{panicked.bad} of {panicked.total} services turned bad within a minute: holds everything"
    return Hold(
        Gate.PANIC, text, way_out="it ends when fewer of them are bad; raise limits: {panic: …} if this is usual"
    )


def breaker(case: Case) -> Hold | None:
    """Heals of the service failed too often: give it up for a while, then let one attempt through."""
    plan, incident = case.plan, case.incident
    if plan is None or plan.runbook.limits.breaker is None or case.forced:
        return None
    rate = plan.runbook.limits.breaker
    relapse_of = incident.relapse_of if incident else case.relapse.id if case.relapse else None
    ends = failures(case.closings, relapse_of)
    until = tripped_until(rate, ends)
    if until is None or case.now >= until:
        return None
    left = _left(case, until)
    text = f"{len(ends)} heals of it did not help or last, the breaker is {rate}: one attempt is let through in {left}"
    return Hold(Gate.BREAKER, text, until, way_out="force a heal; a recovery closes the breaker")


def cooldown(case: Case) -> Hold | None:
    """The same runbook ran for this service, or gave it up, a short while ago; or its command may still be at work."""
    plan, left_over = case.plan, case.previous.left_over(case.now) if case.previous else None
    if left_over is not None:
        text = f"{left_over.action}, whose end is unknown, may still be at work"
        return Hold(Gate.COOLDOWN, text, left_over.latest_end)
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
        return _cooling(case, previous.closed_at + wait, f"incident {previous.id} was {previous.verdict}", wait)
    if case.incident.last_run is not None:
        return None
    hold: Hold | None = None
    if case.last_heal is not None:
        ended = case.last_heal.ended_at or case.last_heal.deadline
        hold = _cooling(case, ended + wait, f"{case.last_heal.action} was run", wait)
    if hold is None and case.would_have is not None:
        since = case.would_have.started_at
        hold = _cooling(case, since + wait, f"{case.would_have.action} would have been run", wait)
    return hold


def rate_budget(case: Case) -> Hold | None:
    """The commands allowed in one of the windows were used up, by this runbook or by all together."""
    plan = case.plan
    if plan is None:
        return None
    for rate in plan.runbook.limits.rate:
        until = spent_until(rate, case.spent_here, case.now)
        if until is not None:
            return _spent(case, f"runbook {plan.runbook.name}", "has", rate, until)
    for rate in case.policy.rate:
        until = spent_until(rate, case.spent_anywhere, case.now)
        if until is not None:
            return _spent(case, "all runbooks together", "have", rate, until)
    return None


def blast_radius(case: Case) -> Hold | None:
    """Enough of the runbook's services are being healed already."""
    plan = case.plan
    if plan is None or plan.runbook.limits.blast_radius is None:
        return None
    most = plan.runbook.limits.blast_radius.of(case.reach)
    if case.healing < most:
        return None
    are = "would be healed at a time" if case.observed else "are being healed"
    text = f"{case.healing} of {case.reach} services of runbook {plan.runbook.name} {are}, at most {most}"
    return Hold(Gate.BLAST_RADIUS, text)


def concurrency(case: Case) -> Hold | None:
    """As many commands as allowed are running: one at a time shortly after a panic."""
    slow = case.panicked_at is not None and case.now < case.panicked_at + SLOW_START
    most = 1 if slow else case.policy.concurrent
    running = case.running + case.orphans
    if running < most:
        return None
    unseen = " or may still be at work" if case.orphans else ""
    why = ", shortly after a panic" if slow else ""
    return Hold(Gate.CONCURRENCY, f"{running} of {most} commands are running{unseen}{why}")


def guard(case: Case) -> Hold | None:
    """The step's `unless` is true or unknown."""
    next_step = case.next_step
    if next_step is None or not next_step.step.unless:
        return None
    answer = case.guards.get(next_step.step.unless)
    if answer is None or answer.true is False:
        return None
    if answer.true is None:
        return Hold(Gate.GUARD, f"cannot tell whether {answer.expr} is true: {answer.text}")
    waits = "would wait" if case.observed else "waits"
    return Hold(Gate.GUARD, f"{next_step.step.name} {waits} while {answer.expr}")


def approval(case: Case) -> Hold | None:
    """The runbook asks a person first, once for each incident."""
    plan, incident = case.plan, case.incident
    if plan is None or incident is None or case.mode is not Mode.APPROVE or case.forced:
        return None
    if incident.approval is None:
        if case.observed:
            return None  # Nobody is asked for what would not be run; `auto_heal` says that somebody would be.
        held = incident.hold
        asked_at = held.since if held is not None and held.gate is Gate.APPROVAL else case.now
        way_out = f"remediator approve {incident.id}, or deny {incident.id}"
        text = f"waits for approval: remediator approve {incident.id}{_would(case)}"
        return Hold(Gate.APPROVAL, text, asked_at + plan.runbook.approve_within, way_out=way_out)
    if not incident.approval.approved:
        text = f"{incident.approval.author} denied it{_because(incident.approval.comment)}"
        return Hold(Gate.APPROVAL, text, way_out=f"remediator dismiss {incident.id}, or force a heal")
    return None


def auto_heal(case: Case) -> Hold | None:
    """The global switch is off: decide and tell, run nothing."""
    if case.policy.auto_heal:
        return None
    way_out = "set auto_heal: true under global: in the config, and reload"
    return Hold(Gate.AUTO_HEAL, f"auto_heal is off{_would(case)}", way_out=way_out)


def observe(case: Case) -> Hold | None:
    """The runbook is in observe mode: decide and tell, run nothing."""
    plan, incident = case.plan, case.incident
    if plan is None or case.mode is not Mode.OBSERVE or case.forced:
        return None
    way_out = "give the runbook mode: approve or auto, and reload; or force a heal"
    if incident is not None and case.keeps_text:
        way_out = f"remediator dismiss {incident.id}: the next incident takes the runbook as it is now; or force a heal"
    return Hold(Gate.OBSERVE, f"runbook {plan.runbook.name} is in observe mode{_would(case)}", way_out=way_out)


GATES: tuple[GateCheck, ...] = (
    paused,
    maintenance,
    silenced,
    inhibited,
    muted,
    settling,
    blind,
    not_corroborated,
    target_unreachable,
    dependency,
    panic,
    breaker,
    cooldown,
    rate_budget,
    blast_radius,
    concurrency,
    guard,
    approval,
    auto_heal,
    observe,
)


def name_of(check: GateCheck) -> Gate:
    """The gate that a function asks."""
    return Gate[check.__name__.upper()]


def _with(trait: Trait) -> tuple[GateCheck, ...]:
    return tuple(check for check in GATES if trait in name_of(check).traits)


OPENING = _with(Trait.OPENING)
"""The gates that are asked before an incident is opened."""

UNDOING = _with(Trait.UNDOING)
"""The gates that are asked before something is put back."""

BEFORE_GUARDS = GATES[: GATES.index(guard)]
"""The gates that need no answer of a guard."""

_GUARDED = frozenset(map(name_of, GATES[GATES.index(guard) :]))
"""The gates that are asked once the guards have answered."""

OWN = frozenset(map(name_of, takewhile(lambda check: Trait.FLEET not in name_of(check).traits, GATES)))
"""The gates that hold independently of other services, and come before any that does not."""


def lasting(case: Case, hold: Hold) -> bool:
    """Whether time alone cannot change a hold before its `until`.

    It can if the hold counts from the last evaluation, if the hold may end at an unknown time, or if Prometheus is
    asked again at each check.
    """
    if case.panic is not None or case.asked:
        return False
    if hold.gate is Gate.BLIND:
        return case.health is Health.UNKNOWN and case.prometheus_status.answers
    if case.incident is None:
        # After some time trouble is no relapse any more, and then does not count as a failure.
        return hold.gate is not Gate.BREAKER or case.relapse is None
    next_step = case.next_step
    undecided = next_step is not None and next_step.step.if_ and case.incident.offered < next_step.index
    unless = next_step is not None and next_step.step.unless and hold.gate in _GUARDED
    asks = undecided or unless or hold.gate is Gate.APPROVAL
    return Trait.UNTIMED not in hold.gate.traits and not asks


def first_hold(case: Case, gates: tuple[GateCheck, ...] = GATES) -> Hold | None:
    """The hold of the first gate that holds; None if all let pass."""
    for gate in gates:
        hold = gate(case)
        if hold is not None:
            return hold
    return None


def _would(case: Case) -> str:
    next_step, incident = case.next_step, case.incident
    if incident is not None and incident.owed and case.health is Health.HEALTHY:
        return f": would put it back by {incident.owed[0]}"
    if next_step is None:
        return ""
    deed = f"run {next_step.step.name}" + (f": {case.would}" if case.would else "")
    if case.observed and incident is not None and case.mode is Mode.APPROVE and incident.approval is None:
        return f": would ask a person, and then {deed}"
    return f": would {deed}"


def _because(comment: str) -> str:
    return f": {comment}" if comment else ""


def _left(case: Case, until: float) -> str:
    return rough_duration(max(0.0, until - case.now))


def _cooling(case: Case, until: float, what: str, wait: float) -> Hold | None:
    if case.now >= until:
        return None
    text = f"{what}, and the cooldown of {format_duration(wait)} lasts another {_left(case, until)}"
    return Hold(Gate.COOLDOWN, text, until, way_out="force a heal")


def _spent(case: Case, whose: str, have: str, rate: Rate, until: float) -> Hold:
    used = f"{whose} {'would have' if case.observed else have} used its {rate.count} commands"
    text = f"{used} in {format_duration(rate.window)}: frees up in {_left(case, until)}"
    return Hold(Gate.RATE_BUDGET, text, until, way_out="a recovery gives back the runbook's own commands")

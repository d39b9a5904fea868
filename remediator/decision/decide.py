"""What to do about one service now: a pure function of its case. Each decision carries the sentence that explains it.

The first match wins. Without an incident: nothing is wrong, unless something has to be put back; no runbook applies; a
gate holds; open an incident.

With an incident: a step runs, so wait, or interrupt it once it is certainly over. The service was healthy for long
enough, so put back what was taken out, then close. Within the verify window, wait. No step is left, or nobody answered,
so close as exhausted. Pass a step over, also by its `if`, which decides once. Ask a guard. A gate holds. Probe the target.
Gather evidence. Run the step.
"""

from __future__ import annotations

import msgspec

from remediator.decision.assessment import breached, unseen
from remediator.decision.case import Case
from remediator.decision.gates import BEFORE_GUARDS, GATES, OPENING, REOPEN, UNDOING, blind, first_hold
from remediator.decision.next_step import NextStep, find_next_step, may_rerun
from remediator.model.action import Outcome
from remediator.model.durations import format_duration, rough_duration
from remediator.model.gate import Gate
from remediator.model.health import Health
from remediator.model.incident import DIAGNOSE, UNDO, Disposition, Hold, Incident, StepRun, Verdict
from remediator.model.rules import OnInterrupt

GUARD_FRESH = 5.0
"""Seconds for which the answer to a guard stays valid."""

PROBE_FRESH = 15.0
"""Seconds for which a successful probe of a target stays valid."""

UNDO_ATTEMPTS = 3
"""How many attempts to put something back are made before people are called."""

START_AGAIN = 5.0
"""Seconds until the next attempt at a step that the machine had no room to start."""

LOOK_AGAIN = 1.0
"""Seconds until the next decision while the last evaluation is too old for one."""


class Idle(msgspec.Struct, frozen=True):
    """Nothing has to be done. `disposition` is what becomes of alerts that fire nevertheless."""

    text: str
    disposition: Disposition | None = None


class Wait(msgspec.Struct, frozen=True):
    """Decide again at `until`, or when something happens."""

    text: str
    until: float


class Ask(msgspec.Struct, frozen=True):
    """Ask Prometheus these guards, or with `probe` run the target's probe. Then decide again."""

    text: str
    exprs: tuple[str, ...] = ()
    probe: bool = False


class Held(msgspec.Struct, frozen=True):
    """A gate does not let pass."""

    hold: Hold

    @property
    def text(self) -> str:
        return self.hold.text


class Open(msgspec.Struct, frozen=True):
    """Open an incident.

    `relapse` is the incident whose recovery did not last. `resume` is an incident that left something to put back; it
    is set only where no runbook was chosen.
    """

    text: str
    health: Health
    thresholds: tuple[str, ...]
    relapse: Incident | None = None
    resume: Incident | None = None

    @property
    def first(self) -> tuple[int, int]:
        """The index of the step that the incident begins with, and the attempt at it."""
        if self.relapse is None:
            return 0, 1
        next_step = find_next_step(self.relapse)
        return (next_step.index, next_step.attempt) if next_step else (len(self.relapse.plan.runbook.steps), 1)


class Gather(msgspec.Struct, frozen=True):
    """Run the target's `diagnose` before the first step."""

    text: str


class RunStep(msgspec.Struct, frozen=True):
    """Run a step."""

    text: str
    next_step: NextStep


class Undo(msgspec.Struct, frozen=True):
    """Put back what a step took out, by this action of the target."""

    text: str
    action: str
    attempt: int


class PassOver(msgspec.Struct, frozen=True):
    """Leave a step out."""

    text: str
    next_step: NextStep


class Interrupt(msgspec.Struct, frozen=True):
    """Write down that a step run's outcome is unknown."""

    text: str
    run: StepRun


class Close(msgspec.Struct, frozen=True):
    """Close the incident."""

    text: str
    verdict: Verdict


Decision = Idle | Wait | Ask | Held | Open | Gather | RunStep | Undo | PassOver | Interrupt | Close


def decide(case: Case) -> Decision:
    """The next thing to do for the case's service."""
    return _consider(case) if case.incident is None else _pursue(case, case.incident)


def _consider(case: Case) -> Decision:
    if not case.alerts:
        return _put_back_later(case) or Idle(case.judgement.text)
    if case.awaits_evaluation:
        newest = max(stored.received_at for stored in case.alerts)
        return Wait("evaluates its thresholds", newest + case.policy.patience)
    choice = case.choice
    if choice is None and not any(case.policy.heeds(stored.alert) for stored in case.alerts):
        return Idle(case.policy.why_unheeded(case.alerts[0].alert), Disposition.NOT_ACTIONABLE)
    if choice is None:
        return Idle(f"no runbook is for it when {case.health}: {case.judgement.text}", Disposition.NO_RUNBOOK)
    hold = first_hold(case, OPENING)
    if hold is not None:
        return Held(hold)
    if case.asked:
        alert = choice.alert.alert
        text = f"asked for by {alert.labels.get('author', 'an operator')}"
        comment = alert.annotations.get("comment", "")
        return Open(f"{text}: {comment}" if comment else text, case.health, breached(case.judgement))
    text, relapse = f"is {case.health}: {case.judgement.text}", case.relapse
    if relapse is not None and relapse.closed_at is not None:
        ago = rough_duration(case.now - relapse.closed_at)
        text = f"is {case.health} again, {ago} after incident {relapse.id} had recovered: {case.judgement.text}"
    return Open(text, case.health, breached(case.judgement), relapse)


def _put_back_later(case: Case) -> Decision | None:
    """Put back what an incident left taken out because the service had not recovered. This waits until the service is
    healthy."""
    before = case.previous
    if before is None or not before.owed or case.health is not Health.HEALTHY:
        return None
    runbook = before.plan.runbook
    until = case.judgement.since + runbook.verify.healthy_for
    if any(run.step == UNDO for run in before.runs):
        # An earlier attempt failed and people were called. The next attempt waits as long as any other heal.
        until = max(until, (before.closed_at or 0.0) + max(runbook.limits.cooldown, REOPEN))
    if case.judgement.at < until:
        return Wait(f"is healthy, and {before.owed[0]} is owed", max(until, case.now + LOOK_AGAIN))
    return Open(f"is healthy again: owes it {', '.join(before.owed)}", case.health, (), resume=before)


def _pursue(case: Case, incident: Incident) -> Decision:
    runbook, now = incident.plan.runbook, case.now
    running = incident.running
    if running is not None:
        if running.id not in case.live:
            return Interrupt(f"{running.action} was running when its owner died: its outcome is unknown", running)
        if now >= running.latest_end:
            return Interrupt(f"{running.action} is lost: its end is overdue, its outcome unknown", running)
        return Wait(f"{running.action} is running", running.latest_end)

    last = incident.last_run
    settled = _recovered(case, incident, last)
    if settled is not None:
        return settled
    if (
        last is not None
        and last.outcome is Outcome.UNKNOWN
        and last.step >= 0
        and runbook.steps[last.step].on_interrupt is OnInterrupt.ESCALATE
    ):
        return Close(f"{last.action} was interrupted and its on_interrupt is escalate", Verdict.EXHAUSTED)
    latest = incident.runs[-1] if incident.runs else None
    if latest is not None and latest.outcome is Outcome.NOT_STARTED and latest.ended_at is not None:
        again = latest.ended_at + START_AGAIN
        if now < again:
            return Wait(f"{latest.action} was not started, and is tried again", again)
    window = _window(incident, last)
    if window is not None and now < window:
        return Wait(f"verifies {last.action if last else ''}: {case.judgement.text}", window)
    if window is not None and case.judgement.at < window and now < window + case.policy.patience:
        # The last evaluation may be from before the step took effect. The verdict on the step needs one from after its
        # window.
        return Wait("looks once more before it goes on", now + LOOK_AGAIN)

    if case.health is Health.FAILED and case.choice is not None and case.choice.plan.runbook.name != runbook.name:
        text = f"is failed now, which runbook {case.choice.plan.runbook.name} is for: {case.judgement.text}"
        return Close(text, Verdict.SUPERSEDED)
    next_step = case.next_step
    if next_step is None and not case.health.bad and not case.asked:
        # Nobody can say whether the last step has helped, and unknown is no verdict.
        unclear = ", ".join(unseen(case.judgement, incident.thresholds)) or "its health"
        return Held(first_hold(case, (blind,)) or Hold(Gate.BLIND, f"cannot see {unclear}: {case.judgement.text}"))
    if next_step is None:
        owed = f"; {', '.join(incident.owed)} is owed" if incident.owed else ""
        text = f"{_spent(case, incident, last)} and it is {case.health}: {case.judgement.text}{owed}"
        return Close(text, Verdict.EXHAUSTED)
    if case.health.bad and case.health not in next_step.step.when and not case.asked:
        whens = " or ".join(next_step.step.when)
        text = f"{next_step.step.name} is for when it is {whens}, and it is {case.health}"
        # What cannot be seen now is no reason to go on to another step.
        unsure = blind(case)
        return Held(unsure) if unsure is not None else PassOver(text, next_step)
    if next_step.step.if_ and incident.offered < next_step.index:
        not_offered = _not_offered(case, next_step)
        if not_offered is not None:
            return not_offered
    unless = next_step.step.unless
    if unless and not _fresh(case, unless):
        # Whether a step is held needs no answer to its `unless` while another gate holds it.
        hold = first_hold(case, BEFORE_GUARDS)
        return Held(hold) if hold is not None else Ask(f"asks Prometheus before {next_step.step.name}", (unless,))
    hold = first_hold(case, GATES)
    if hold is not None:
        if hold.gate is Gate.APPROVAL and hold.until is not None and now >= hold.until:
            waited = format_duration(runbook.approve_within)
            return Close(f"nobody approved {next_step.step.name} within {waited}", Verdict.EXHAUSTED)
        return Held(hold)
    answer_at = incident.approval.at if incident.approval is not None else now
    if incident.idle_since < answer_at < now - runbook.approve_within:
        return Close(f"the approval of {next_step.step.name} has become too old to act on", Verdict.EXHAUSTED)
    unfinished = _unfinished(case, incident)
    if unfinished is not None:
        return unfinished
    if case.probed and (case.probe is None or case.probe.failures or now - case.probe.at > PROBE_FRESH):
        return Ask(f"asks whether its target can be reached before {next_step.step.name}", probe=True)
    gathered = any(run.step == DIAGNOSE for run in incident.runs)
    if last is None and not gathered and incident.plan.spec("diagnose") is not None:
        return Gather("gathers evidence")
    number = f", attempt {next_step.attempt}" if next_step.attempt > 1 else ""
    return RunStep(f"runs {next_step.step.name}{number}", next_step)


def _recovered(case: Case, incident: Incident, last: StepRun | None) -> Decision | None:
    """Close the incident if the service was healthy for long enough; wait if it is healthy, but not yet for so long."""
    if case.health is not Health.HEALTHY or (case.asked and last is None):
        return None
    missing = unseen(case.judgement, incident.thresholds)
    if missing:
        return None
    verify = incident.plan.runbook.verify
    seen_from = max(case.judgement.since, incident.opened_at if last is None else last.ended_at or case.now)
    # What counts is how long the service was seen healthy, not how long ago that began: the last evaluation may be old.
    so_far = case.judgement.at - seen_from
    if so_far < verify.healthy_for:
        text = f"healthy for {rough_duration(max(0.0, so_far))} of {format_duration(verify.healthy_for)}"
        return Wait(text, max(seen_from + verify.healthy_for, case.now + LOOK_AGAIN))
    if incident.owed:
        return _unfinished(case, incident) or _put_back(case, incident)
    if last is None:
        return Close(f"cleared by itself: {case.judgement.text}", Verdict.CLEARED)
    took = rough_duration(case.now - incident.opened_at)
    return Close(f"recovered after {last.action} in {took}: {case.judgement.text}", Verdict.RECOVERED)


def _spent(case: Case, incident: Incident, last: StepRun | None) -> str:
    """What the steps have led to when none is left. If nothing was run, it says why."""
    if last is not None:
        return "no step is left"
    before = case.previous
    if before is not None and before.id == incident.relapse_of and before.closed_at is not None:
        helped = next((run.action for run in reversed(before.runs) if run.step >= 0 and _ran(run)), "a heal")
        lasted = rough_duration(max(0.0, incident.opened_at - before.closed_at))
        if incident.first_step >= len(incident.plan.runbook.steps):
            return f"{helped} had helped for {lasted} only, the runbook has nothing after it,"
        return f"{helped} had helped for {lasted} only, no step after it was run,"
    left_out = next((run.text for run in reversed(incident.runs) if run.step >= 0 and run.text), "")
    return f"no step was run ({left_out})" if left_out else "no step was run"


def _ran(run: StepRun) -> bool:
    return run.outcome is None or run.outcome.ran


def _unfinished(case: Case, incident: Incident) -> Wait | None:
    """Wait for a run that was given up and may still be at work, such as the gathering of evidence by a dead leader."""
    run = incident.left_over(case.now)
    return (
        Wait(f"{run.action}, whose end is unknown, may still be at work", run.latest_end) if run is not None else None
    )


def _put_back(case: Case, incident: Incident) -> Decision:
    action = incident.owed[0]
    tried = sum(
        run.step == UNDO and run.action == action and run.outcome is not Outcome.NOT_STARTED for run in incident.runs
    )
    if tried >= UNDO_ATTEMPTS:
        return Close(f"cannot put it back: {action} failed {tried} times", Verdict.EXHAUSTED)
    hold = first_hold(case, UNDOING)
    return Held(hold) if hold is not None else Undo(f"is healthy: puts it back by {action}", action, tried + 1)


def _window(incident: Incident, last: StepRun | None) -> float | None:
    """Until when the last step has time to show its effect.

    A command that failed has none. One whose outcome is unknown may still be at work, so its own deadline counts as
    well.
    """
    if last is None or last.ended_at is None or last.outcome is Outcome.FAILED:
        return None
    if last.outcome is Outcome.UNKNOWN:
        own = 0.0 if may_rerun(incident, last) else last.ended_at + incident.plan.runbook.verify.within
        return max(last.latest_end, own)
    return last.ended_at + incident.plan.runbook.verify.within


def newly_offered(case: Case) -> NextStep | None:
    """The next step, when its `if` has just been seen to be true. That decides it once: a step that waits, as for a person,
    may wait for longer than its condition holds."""
    incident, next_step = case.incident, case.next_step
    if incident is None or next_step is None or not next_step.step.if_ or incident.offered >= next_step.index:
        return None
    seen = _fresh(case, next_step.step.if_) and blind(case) is None
    return next_step if seen and case.guards[next_step.step.if_].true else None


def _not_offered(case: Case, next_step: NextStep) -> Decision | None:
    """What to do while the next step is not offered: its `if` is not true, or not yet known."""
    name, condition = next_step.step.name, next_step.step.if_
    hold = blind(case)
    if hold is not None:
        return Held(hold)
    if not _fresh(case, condition):
        return Ask(f"asks Prometheus before {name}", tuple(filter(None, (condition, next_step.step.unless))))
    answer = case.guards[condition]
    if answer.true is None:
        return Held(Hold(Gate.GUARD, f"cannot tell whether {answer.expr} is true: {answer.text}"))
    return None if answer.true else PassOver(f"{name} is passed over: {answer.expr} is not true", next_step)


def _fresh(case: Case, expr: str) -> bool:
    return expr in case.guards and case.now - case.guards[expr].at <= GUARD_FRESH


__all__ = [
    "DIAGNOSE",
    "Ask",
    "Close",
    "Decision",
    "Gather",
    "Held",
    "Idle",
    "Interrupt",
    "Open",
    "PassOver",
    "RunStep",
    "Undo",
    "Wait",
    "decide",
    "newly_offered",
]

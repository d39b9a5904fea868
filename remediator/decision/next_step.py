"""Finds the next step of an incident's runbook. Pure."""

from __future__ import annotations

import msgspec

from remediator.model.action import Outcome
from remediator.model.incident import Incident, StepRun
from remediator.model.rules import OnInterrupt, Step


class NextStep(msgspec.Struct, frozen=True):
    """A step, and the number of the next attempt at it, from 1."""

    index: int
    step: Step
    attempt: int


def find_next_step(incident: Incident) -> NextStep | None:
    """The step after those that were run: the next attempt at the same step, or the first attempt at the next one. A
    relapse continues where the incident before it ended."""
    steps = incident.plan.runbook.steps
    runs = [run for run in incident.runs if run.step >= 0]
    if not runs:
        index = incident.first_step
        return NextStep(index, steps[index], incident.first_attempt) if index < len(steps) else None
    last = runs[-1]
    step = steps[last.step]
    not_started = sum(run.outcome is Outcome.NOT_STARTED and run.step == last.step for run in runs)
    again = last.outcome is not None and last.outcome.ran and last.attempt - not_started < step.attempts
    if again or last.outcome is Outcome.NOT_STARTED or may_rerun(incident, last):
        return NextStep(last.step, step, last.attempt + 1)
    index = last.step + 1
    return NextStep(index, steps[index], 1) if index < len(steps) else None


def may_rerun(incident: Incident, last: StepRun) -> bool:
    """Whether an interrupted step is run again. This happens only once in a row: a step that ends its own owner would
    run for ever."""
    steps = incident.plan.runbook.steps
    if last.outcome is not Outcome.UNKNOWN or last.step < 0 or steps[last.step].on_interrupt is not OnInterrupt.RERUN:
        return False
    earlier = [run for run in incident.runs if run.step == last.step and run.id != last.id]
    return not (earlier and earlier[-1].outcome is Outcome.UNKNOWN)

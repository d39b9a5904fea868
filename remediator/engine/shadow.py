"""What would have been run for services that are only observed. It counts against the budgets of what is observed, so that
observing shows what would happen, and never against those of what is really run."""

from __future__ import annotations

from remediator.decision.next_step import find_next_step
from remediator.engine.budget_usage import BudgetUsage
from remediator.model.action import Outcome
from remediator.model.gate import Trait
from remediator.model.incident import Incident, StepRun


class ShadowHeals:
    """The first step of each incident that no gate held but those of observing, from when on that was so. What it would
    have led to is not known. Those of open incidents are known again after a restart, by what holds them."""

    def __init__(self) -> None:
        self._usage = BudgetUsage()
        self._at: dict[int, float] = {}
        self._open: dict[str, set[int]] = {}
        """The open incidents among them, by runbook."""

    def put(self, incident: Incident) -> None:
        """Take in an incident as the store has it now."""
        if not incident.open:
            self._open.get(incident.runbook, set()).discard(incident.id)
        elif incident.hold is not None and Trait.TELLS_DEED in incident.hold.gate.traits:
            self.note(incident, incident.hold.since or incident.opened_at)

    def note(self, incident: Incident, at: float) -> None:
        """The next step of this incident would be run at this time."""
        next_step = find_next_step(incident)
        if incident.id in self._at or next_step is None or incident.owed:
            return
        self._at[incident.id] = at
        self._open.setdefault(incident.runbook, set()).add(incident.id)
        self._usage.put(
            StepRun(
                id=incident.id,
                incident=incident.id,
                service=incident.service,
                runbook=incident.runbook,
                step=next_step.index,
                attempt=next_step.attempt,
                action=next_step.step.name,
                started_at=at,
                deadline=at,
                ended_at=at,
                outcome=Outcome.SUCCEEDED,
            )
        )

    def starts(self, since: float, runbook: str = "", *, besides: int) -> tuple[float, ...]:
        """When steps would have been started for incidents besides one: those of a runbook, or all."""
        own = self._at.get(besides)
        starts = list(self._usage.spent(runbook, since) if runbook else self._usage.starts(since))
        if own in starts:
            starts.remove(own)
        return tuple(starts)

    def healing(self, runbook: str, *, besides: int) -> int:
        """For how many open incidents of a runbook besides one a step would have been run."""
        return len(self._open.get(runbook, set()) - {besides})

    def last(self, service: str, runbook: str, *, besides: int) -> StepRun | None:
        """What would have been run last for a service by a runbook in an earlier incident."""
        return self._usage.last(service, runbook, besides)

    def forget(self, before: float) -> None:
        """Drop what no window reaches back to."""
        self._usage.forget(before)
        still = set[int]().union(*self._open.values())
        self._at = {id: at for id, at in self._at.items() if at >= before or id in still}

"""The ledger answers as if it looked through all runs each time."""

from dataclasses import dataclass, field

import msgspec
from cases import run
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from remediator.engine.budget_usage import BudgetUsage
from remediator.model.action import Outcome
from remediator.model.incident import StepRun

RUNBOOKS, SERVICES, TIMES = ("web", "worker"), ("checkout", "search"), st.integers(0, 20).map(float)


@dataclass
class Everything:
    """All runs, to be looked through."""

    runs: dict[int, StepRun] = field(default_factory=dict)

    def counted(self) -> list[StepRun]:
        return [one for one in self.runs.values() if one.step >= 0 and (one.outcome is None or one.outcome.ran)]

    def starts(self, since: float) -> list[float]:
        return sorted(one.started_at for one in self.counted() if one.started_at > since)

    def spent(self, runbook: str, since: float) -> list[float]:
        mine = (one for one in self.counted() if one.runbook == runbook and not one.redeemed)
        return sorted(one.started_at for one in mine if one.started_at > since)

    def last(self, service: str, runbook: str, incident: int | None) -> StepRun | None:
        mine = (one for one in self.counted() if (one.service, one.runbook) == (service, runbook))
        return max((one for one in mine if one.incident != incident), key=lambda one: one.id, default=None)


class Bookkeeping(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.usage, self.everything = BudgetUsage(), Everything()

    @rule(
        id=st.integers(1, 12),
        at=TIMES,
        step=st.sampled_from([-1, 0, 1]),
        incident=st.integers(1, 4),
        runbook=st.sampled_from(RUNBOOKS),
        service=st.sampled_from(SERVICES),
        outcome=st.sampled_from([None, Outcome.SUCCEEDED, Outcome.SKIPPED]),
    )
    def put(
        self, id: int, at: float, step: int, incident: int, runbook: str, service: str, outcome: Outcome | None
    ) -> None:
        one = run(id, index=step, outcome=outcome, started=at, incident=incident)
        made = msgspec.structs.replace(one, runbook=runbook, service=service)
        self.usage.put(made)
        self.everything.runs[id] = made

    @rule(incident=st.integers(1, 4), redeemed=st.booleans())
    def mark(self, incident: int, redeemed: bool) -> None:
        (self.usage.refund if redeemed else self.usage.charge)(incident)
        for one in list(self.everything.runs.values()):
            if one.incident == incident:
                self.everything.runs[one.id] = msgspec.structs.replace(one, redeemed=redeemed)

    @rule(before=TIMES)
    def forget(self, before: float) -> None:
        self.usage.forget(before)
        runs = self.everything.runs.values()
        self.everything.runs = {one.id: one for one in runs if one.started_at >= before or one.outcome is None}

    @invariant()
    def answers_alike(self) -> None:
        for since in (-1.0, 4.0, 10.0):
            assert list(self.usage.starts(since)) == self.everything.starts(since)
            for runbook in RUNBOOKS:
                assert list(self.usage.spent(runbook, since)) == self.everything.spent(runbook, since)
        for service in SERVICES:
            for runbook in RUNBOOKS:
                for incident in (None, 1, 2):
                    found = self.usage.last(service, runbook, incident)
                    assert found == self.everything.last(service, runbook, incident)


Bookkeeping.TestCase.settings = settings(max_examples=60)
TestBudgetUsage = Bookkeeping.TestCase

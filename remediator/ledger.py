"""The ledger: the step runs that count against budgets, and the questions that gates ask of them."""

from __future__ import annotations

import msgspec

from remediator.incident import StepRun


class Ledger:
    """Step runs of the recent past, without evidence, what was put back, and what was never started. Answers are kept
    until a run changes: a burst of cases asks the same questions."""

    def __init__(self) -> None:
        self._runs: dict[int, StepRun] = {}
        self._by_runbook: dict[str, tuple[StepRun, ...]] = {}
        self._by_service: dict[str, list[StepRun]] | None = None
        self._starts: tuple[float, ...] | None = None

    def put(self, run: StepRun) -> None:
        """Take in a run as it is now."""
        if run.step >= 0 and (run.outcome is None or run.outcome.ran):
            self._runs[run.id] = run
        else:
            self._runs.pop(run.id, None)
        self._changed()

    def redeem(self, incident: int) -> None:
        """An incident recovered: its runs no longer count against its runbook."""
        self._mark(incident, redeemed=True)

    def charge(self, incident: int) -> None:
        """The recovery of an incident did not last: its runs count again."""
        self._mark(incident, redeemed=False)

    def forget(self, before: float) -> None:
        """Drop runs started earlier than this, which no window reaches back to."""
        old = [id for id, run in self._runs.items() if run.started_at < before and not run.running]
        for id in old:
            del self._runs[id]
        if old:
            self._changed()

    @property
    def starts(self) -> tuple[float, ...]:
        """When each run was started."""
        if self._starts is None:
            self._starts = tuple(run.started_at for run in self._runs.values())
        return self._starts

    def spent(self, runbook: str) -> tuple[float, ...]:
        """When the runs that count against a runbook's rates were started."""
        runs = self._by_runbook.get(runbook)
        if runs is None:
            runs = tuple(run for run in self._runs.values() if run.runbook == runbook and not run.redeemed)
            self._by_runbook[runbook] = runs
        return tuple(run.started_at for run in runs)

    def last(self, service: str, runbook: str, except_incident: int | None) -> StepRun | None:
        """The last run of a runbook for a service in any incident but this one."""
        if self._by_service is None:
            self._by_service = {}
            for run in self._runs.values():
                self._by_service.setdefault(run.service, []).append(run)
        runs = self._by_service.get(service, ())
        mine = (run for run in runs if run.runbook == runbook and run.incident != except_incident)
        return max(mine, key=lambda run: run.id, default=None)

    def _mark(self, incident: int, *, redeemed: bool) -> None:
        for run in list(self._runs.values()):
            if run.incident == incident and run.redeemed is not redeemed:
                self._runs[run.id] = msgspec.structs.replace(run, redeemed=redeemed)
                self._changed()

    def _changed(self) -> None:
        self._by_runbook.clear()
        self._by_service = self._starts = None

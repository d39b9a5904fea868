"""Budget usage: the step runs that count against rates and cooldowns, by time, runbook, service and incident."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TypeVar

import msgspec

from remediator.model.incident import StepRun

K = TypeVar("K")
V = TypeVar("V", int, tuple[float, int])

_Start = tuple[float, int]
"""When a run was started, and its number."""


class BudgetUsage:
    """Step runs of the recent past, without evidence, what was put back, and what was never started. Every question is
    answered by looking at the runs it is about, however many others there are."""

    def __init__(self) -> None:
        self._runs: dict[int, StepRun] = {}
        self._of_incident: dict[int, set[int]] = {}
        self._of_service: dict[tuple[str, str], list[int]] = {}
        """The runs of a service by a runbook, in the order of their numbers."""
        self._starts: list[_Start] = []
        self._spent: dict[str, list[_Start]] = {}
        """The starts that count against a runbook's rates; like all starts in the order of time."""

    def put(self, run: StepRun) -> None:
        """Take in a run as it is now."""
        self._drop(run.id)
        if run.step >= 0 and (run.outcome is None or run.outcome.ran):
            self._runs[run.id] = run
            self._of_incident.setdefault(run.incident, set()).add(run.id)
            insort(self._of_service.setdefault((run.service, run.runbook), []), run.id)
            insort(self._starts, (run.started_at, run.id))
            if not run.redeemed:
                insort(self._spent.setdefault(run.runbook, []), (run.started_at, run.id))

    def refund(self, incident: int) -> None:
        """An incident recovered: its runs no longer count against its runbook."""
        self._mark(incident, redeemed=True)

    def charge(self, incident: int) -> None:
        """The recovery of an incident did not last: its runs count again."""
        self._mark(incident, redeemed=False)

    def forget(self, before: float) -> None:
        """Drop runs started earlier than this, which no window reaches back to."""
        old = [id for _, id in self._starts[: bisect_left(self._starts, (before, 0))]]
        for id in old:
            if not self._runs[id].running:
                self._drop(id)

    def starts(self, since: float) -> tuple[float, ...]:
        """When each run was started that was so after this time; in order."""
        return _after(self._starts, since)

    def spent(self, runbook: str, since: float) -> tuple[float, ...]:
        """When the runs that count against a runbook's rates were started, if after this time; in order."""
        return _after(self._spent.get(runbook, []), since)

    def last(self, service: str, runbook: str, except_incident: int | None) -> StepRun | None:
        """The last run of a runbook for a service in any incident but this one."""
        ids = reversed(self._of_service.get((service, runbook), ()))
        runs = (self._runs[id] for id in ids)
        return next((run for run in runs if run.incident != except_incident), None)

    def _mark(self, incident: int, *, redeemed: bool) -> None:
        for run in [self._runs[id] for id in self._of_incident.get(incident, ())]:
            if run.redeemed is not redeemed:
                self.put(msgspec.structs.replace(run, redeemed=redeemed))

    def _drop(self, id: int) -> None:
        run = self._runs.pop(id, None)
        if run is None:
            return
        start = (run.started_at, id)
        _take(self._of_service, (run.service, run.runbook), id)
        _take(self._spent, run.runbook, start)
        del self._starts[bisect_left(self._starts, start)]
        of_incident = self._of_incident[run.incident]
        of_incident.discard(id)
        if not of_incident:
            del self._of_incident[run.incident]


def _after(starts: list[_Start], since: float) -> tuple[float, ...]:
    return tuple(at for at, _ in starts[bisect_left(starts, (since, 0)) :] if at > since)


def _take(lists: dict[K, list[V]], key: K, value: V) -> None:
    """Take a value out of a sorted list, if it is there; an empty list goes."""
    values = lists.get(key, [])
    place = bisect_left(values, value)
    if place < len(values) and values[place] == value:
        del values[place]
        if not values:
            del lists[key]

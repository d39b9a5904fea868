"""Stories for announcers to tell, and a clock that does not wait."""

from __future__ import annotations

import asyncio
import itertools

import cases

from remediator.model.action import Outcome, Result
from remediator.model.health import Health
from remediator.model.incident import Incident, StepRun, Verdict
from remediator.model.rules import Plan
from remediator.store.interface import NewIncident
from remediator.store.sql_store import SqlStore


class HastyClock:
    """A clock by which every wait is over at once; `waits` holds how long each would have been."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def now(self) -> float:
        return cases.NOW + sum(self.waits)

    async def wait(self, event: asyncio.Event, timeout: float) -> None:
        self.waits.append(timeout)
        await asyncio.sleep(0)


class Story:
    """Writes what an engine would, one second of story time apart."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self._seconds = itertools.count(int(cases.NOW))

    def now(self) -> float:
        return float(next(self._seconds)) + 0.1234567

    async def opens(self, name: str = "checkout", *, plan: Plan | None = None, **fields: object) -> Incident:
        new = {
            "service": name,
            "runbook": "web",
            "opened_at": self.now(),
            "health": Health.FAILED,
            "text": "error_ratio 0.2 > 0.1 for 15s",
            "plan": plan or cases.plan(),
            "labels": {"service": name, "alertname": "HighErrors"},
            **fields,
        }
        return await self.store.open_incident(NewIncident(**new))  # type: ignore[arg-type]

    async def begins(self, incident: Incident, step: int = 0, action: str = "restart", attempt: int = 1) -> StepRun:
        now = self.now()
        call = f"systemctl {action} {incident.service}"
        return await self.store.begin_step(incident.id, step, attempt, action, f"runs {action}", call, now, now + 60)

    async def ends(self, run: StepRun, outcome: Outcome = Outcome.SUCCEEDED, output: str = "done\n") -> StepRun:
        result = Result(outcome, f"it {outcome}", 0 if outcome is Outcome.SUCCEEDED else 1, output)
        return await self.store.end_step(run.id, result, self.now())

    async def closes(self, incident: Incident, verdict: Verdict = Verdict.RECOVERED) -> Incident:
        text = "healthy for 15s"
        return await self.store.close_incident(incident.id, verdict, text, Health.HEALTHY, self.now())

    async def heals(self, name: str = "checkout") -> Incident:
        """A whole incident, from open to recovered by one restart."""
        incident = await self.opens(name)
        await self.ends(await self.begins(incident))
        return await self.closes(incident)

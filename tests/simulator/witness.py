"""The witness: it knows what is really so in a story, sees every command begin, and holds each gate to its promise."""

from __future__ import annotations

from prometheus_client import Counter
from simulator.fleet import Fleet

from remediator.model.action import Call, Outcome, Result
from remediator.model.incident import Incident, StepRun, Verdict
from remediator.model.rules import Mode, Runbook
from remediator.simulation.scenario import EVALUATION, Scenario

SEEN_FOR = 2 * EVALUATION + 1
"""Seconds after which what goes on being so has certainly been seen."""


class Witness:
    """Stands between the engine's hands and the stage."""

    def __init__(self, scenario: Scenario, fleet: Fleet) -> None:
        self.scenario = scenario
        self.fleet = fleet
        self.bad_since: dict[str, float] = {}
        self.dark_since: float | None = None
        self.light_since = 0.0
        self.broken: list[str] = []
        """Promises that were not kept, as sentences."""
        self._accepted = self._decided = 0.0
        self._under_way: dict[str, int] = {}
        self._run = scenario.environment.run

    async def run(self, call: Call) -> Result:
        """Make a call as the stage does, after looking whether it may be made."""
        service = call.env["REMEDIATOR_SERVICE"]
        await self._look(service, call)
        self._under_way[service] = self._under_way.get(service, 0) + 1
        try:
            return await self._run(call)
        finally:
            self._under_way[service] -= 1

    async def _look(self, service: str, call: Call) -> None:
        scenario, now = self.scenario, self.scenario.environment.now
        process = scenario.process
        assert process is not None
        opened = {incident.service: incident for incident in await process.store.open_incidents()}
        incident = opened.get(service)
        if incident is None or incident.running is None:
            self._say(f"{call} was made for {service} without a committed step")
            return
        run, runbook = incident.running, incident.plan.runbook
        if self._under_way.get(service):
            self._say(f"{call} began while another command of {service} was running")
        if sum(self._under_way.values()) >= scenario.policy.concurrent:
            self._say(f"{call} was one too many at a time")
        if not scenario.policy.auto_heal:
            self._say(f"{call} was made though auto_heal is off")
        for pause in await process.store.pauses(now):
            if pause.starts_at < now and pause.holds({**incident.labels, **incident.plan.service.labels}, now):
                self._say(f"{call} was made though {service} is paused")
        if self.dark_since is not None and now - self.dark_since > SEEN_FOR:
            self._say(f"{call} was made while Prometheus was dark")
        if process.observer.panic(now) is not None:
            self._say(f"{call} was made in a panic")
        if run.step < 0:
            return
        self._look_at_causes(service, call, now)
        self._look_at_mode(incident, runbook, call)
        await self._look_at_budgets(incident, run, runbook, call, now)
        healing = [
            other
            for other in opened.values()
            if other.runbook == runbook.name and any(r.step >= 0 and _ran(r) for r in other.runs)
        ]
        if runbook.limits.blast_radius is not None:
            reach = sum((index in self.fleet.second) == (runbook.name == "second") for index in range(self._size))
            most = runbook.limits.blast_radius.of(reach)
            if len(healing) > most:
                self._say(f"{call} made {len(healing)} of {reach} services of {runbook.name} be healed, at most {most}")

    def _look_at_causes(self, service: str, call: Call, now: float) -> None:
        if self.dark_since is not None or now - self.light_since < SEEN_FOR:
            return
        below, todo = set[int](), [int(service[1:])]
        while todo:
            for index in self.fleet.depends_on[todo.pop()]:
                if index not in below:
                    below.add(index)
                    todo.append(index)
        for index in below - {self._size - 1}:
            since = self.bad_since.get(f"s{index}")
            if since is not None and now - since > SEEN_FOR:
                self._say(f"{call} was made though s{index}, which {service} depends on, was bad for {now - since:g}s")

    def _look_at_mode(self, incident: Incident, runbook: Runbook, call: Call) -> None:
        if self._forced(incident):
            return
        if runbook.mode is Mode.OBSERVE:
            self._say(f"{call} was made by a runbook in observe mode")
        if runbook.mode is Mode.APPROVE and (incident.approval is None or not incident.approval.approved):
            self._say(f"{call} was made though nobody approved it")

    async def _look_at_budgets(
        self, incident: Incident, run: StepRun, runbook: Runbook, call: Call, now: float
    ) -> None:
        process = self.scenario.process
        assert process is not None
        runs = await process.store.runs_since(now - 86400.0)
        mine = [other for other in runs if other.runbook == runbook.name and not other.redeemed]
        for rate in runbook.limits.rate:
            if sum(other.started_at > now - rate.window for other in mine) > rate.count:
                self._say(f"{call} was one more than {rate} of {runbook.name}")
        for rate in self.scenario.policy.rate:
            if sum(other.started_at > now - rate.window for other in runs) > rate.count:
                self._say(f"{call} was one more than {rate} of all runbooks")
        ladder = [other for other in incident.runs if other.step >= 0 and _ran(other)]
        before = [other for other in runs if other.service == run.service and other.incident != run.incident]
        same = [other for other in before if other.runbook == runbook.name]
        if not self._forced(incident) and len(ladder) == 1 and same:
            ended = same[-1].ended_at or same[-1].deadline
            if now - ended < runbook.limits.cooldown:
                self._say(f"{call} was made {now - ended:g}s after the last heal, within the cooldown")
        if before and before[-1].outcome is Outcome.UNKNOWN and now < before[-1].deadline:
            self._say(f"{call} was made while {before[-1].action} might still be at work")

    def _forced(self, incident: Incident) -> bool:
        """Whether an operator has overridden mode and cooldown, when it was opened or since."""
        process = self.scenario.process
        assert process is not None
        firing = process.state.firing.get(incident.service, {}).values()
        return incident.forced or any(stored.alert.labels.get("force") == "true" for stored in firing)

    def counted(self) -> None:
        """Take note of what the process has counted, which ends with it: what it took in, and what it decided."""
        process = self.scenario.process
        assert process is not None
        self._accepted += _sum(process.metrics.accepted)
        self._decided += _sum(process.metrics.alerts)

    async def at_the_end(self) -> list[str]:
        """What was not kept, with what is to be seen only at the end."""
        process = self.scenario.process
        assert process is not None
        for stored in await self.scenario.alerts():
            if stored.disposition is None:
                self._say(f"nobody knows what became of {stored.alert.name} of {stored.service or 'nobody'}")
        self.counted()
        if self._accepted != self._decided:
            self._say(f"{self._accepted:g} alerts were accepted and {self._decided:g} decided")
        for incident in await self.scenario.incidents():
            self._look_back(incident)
        return self.broken

    def _look_back(self, incident: Incident) -> None:
        ended = 0.0
        for run in incident.runs:
            if run.started_at < ended:
                self._say(f"two commands of incident {incident.id} overlap")
            ended = run.ended_at or run.deadline
        seen: set[tuple[int, int]] = set()
        for run in incident.runs:
            if (run.step, run.attempt) in seen:
                self._say(f"{run.title} of incident {incident.id} was run twice")
            seen.add((run.step, run.attempt))
        if incident.verdict is Verdict.RECOVERED and incident.owed:
            self._say(f"incident {incident.id} recovered and still owes {', '.join(incident.owed)}")

    def _say(self, sentence: str) -> None:
        self.broken.append(f"{self.scenario.now:g}s: {sentence}")

    @property
    def _size(self) -> int:
        return len(self.fleet.depends_on)


def _sum(counter: Counter) -> float:
    samples = (sample for family in counter.collect() for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


def _ran(run: StepRun) -> bool:
    return run.outcome is None or run.outcome.ran

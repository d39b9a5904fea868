"""Applying decisions: each one becomes what is written down, what is run, and when to decide again."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from remediator.decision import decide as d
from remediator.decision.assessment import Choice
from remediator.decision.case import Case
from remediator.decision.recheck import recheck
from remediator.engine.evaluations import Evaluations
from remediator.engine.schedule import Schedule
from remediator.engine.state import EngineState
from remediator.engine.step_tasks import StepTasks
from remediator.metrics import Metrics
from remediator.model.alert import Source
from remediator.model.gate import Gate
from remediator.model.incident import Disposition, Hold, Incident, Settlement, StoredAlert
from remediator.model.rulebook import merged_labels
from remediator.store.interface import NewIncident, Store

EVALUATE_WHEN_BLIND = 5.0
"""Seconds between the evaluations that are requested while nothing is seen."""
REQUEST_LIFE = 300.0
"""Seconds after which an operator's request that could not be carried out is dropped."""


class Applier:
    """Writes first, then changes the state, and schedules the service again."""

    def __init__(
        self,
        store: Store,
        state: EngineState,
        schedule: Schedule,
        step_tasks: StepTasks,
        metrics: Metrics,
        evaluations: Evaluations,
    ) -> None:
        self.waiting_for_slot: dict[str, None] = {}
        """Services that only the number of running commands holds, in the order in which they came."""
        self._waiting_for_room: dict[str, str] = {}
        """Services that only the blast radius of a runbook holds, with its name, in the same order."""
        self._store = store
        self._state = state
        self._schedule = schedule
        self._step_tasks = step_tasks
        self._metrics = metrics
        self._evaluations = evaluations

    async def apply(self, case: Case, decision: d.Decision) -> None:
        """Do what was decided. StoreError when it could not be written down; then nothing has changed."""
        self._queue(case, decision)
        if case.incident is None:
            if not isinstance(decision, d.Held):
                self._state.release_alerts(case.service.name)
            await self._without_incident(case, decision)
        else:
            await self._join(case, case.incident)
            await self._with_incident(case, case.incident, decision)
        again = recheck(case, decision)
        if again is not None:
            self._schedule.recheck(case.service.name, case.now, again)

    async def settle(self, settlements: list[Settlement], alerts: Iterable[StoredAlert], now: float) -> None:
        """Write down what became of alerts, and count each alert's first disposition."""
        await self._store.settle(settlements, now)
        self._settled(settlements, alerts)

    async def _without_incident(self, case: Case, decision: d.Decision) -> None:
        name, now = case.service.name, case.now
        match decision:
            case d.Open(resume=Incident() as before):
                await self._resume(case, before, decision)
            case d.Open() if case.choice is not None:
                await self._open(case, case.choice, decision)
            case d.Held(hold):
                self._state.hold_alerts(name, since(hold, self._state.waiting.get(name), now))
                self._evaluate_if_blind(hold, name, now)
                kind = Disposition.NOT_CORROBORATED if hold.gate is Gate.NOT_CORROBORATED else Disposition.HELD
                await self._settle_all(case, kind, hold.text, hold.gate)
                requests = [s for s in case.alerts if s.alert.source is Source.OPERATOR]
                if requests and now - max(s.received_at for s in requests) > REQUEST_LIFE:
                    await self._resolve_requests(case)
            case d.Idle(text, disposition):
                if disposition is not None:
                    await self._settle_all(case, disposition, text, "")
                    await self._resolve_requests(case)
            case d.Wait():
                pass
            case _:
                raise AssertionError(f"{decision} is not for a service without an incident")

    async def _with_incident(self, case: Case, incident: Incident, decision: d.Decision) -> None:
        name, now = case.service.name, case.now
        offered = d.newly_offered(case)
        if offered is not None and not isinstance(decision, d.Close):
            await self._store.offer_step(incident.id, offered.index)
            incident = msgspec.structs.replace(incident, offered=offered.index)
            self._state.put_incident(incident)
        match decision:
            case d.Held(hold):
                hold = since(hold, incident.hold, now)
                if incident.hold is None or incident.hold.gate != hold.gate:
                    await self._store.hold_incident(incident.id, hold, now)
                self._state.hold_incident(incident, hold)
                self._evaluate_if_blind(hold, name, now)
            case d.Wait():
                if incident.hold is not None:
                    await self._store.hold_incident(incident.id, None, now)
                    self._state.hold_incident(incident, None)
                # Not what was seen counts here, but when it was last tried: nothing is seen of a Prometheus that is down.
                if incident.running is None and now - self._evaluations.evaluated_at >= d.LOOK_AGAIN:
                    self._evaluations.evaluate([name])
            case d.Ask(_, exprs, probe):
                self._step_tasks.ask(case, exprs, probe=probe)
            case d.Gather() | d.RunStep() | d.Undo():
                run = await self._step_tasks.begin(case, incident, decision)
                self._schedule.put(name, run.latest_end)
            case d.PassOver(text, next_step):
                run = await self._store.pass_over(incident.id, next_step.index, next_step.step.name, text, now)
                self._state.put_run(run)
                self._schedule.put(name, now)
            case d.Interrupt(text, run):
                await self._step_tasks.interrupt(run, text, now)
                self._schedule.put(name, now)
            case d.Close(text, verdict):
                closed = await self._store.close_incident(incident.id, verdict, text, case.health, now)
                self._state.put_incident(closed)
                await self._resolve_requests(case)
                self._schedule.put(name, now)
                waiting = (other for other, runbook in self._waiting_for_room.items() if runbook == incident.runbook)
                self._schedule.put(next(waiting, name), now)
            case _:
                raise AssertionError(f"{decision} is not for a service with an incident")

    def _queue(self, case: Case, decision: d.Decision) -> None:
        """Keep the order of the services that wait until others come to their end."""
        name, gate = case.service.name, decision.hold.gate if isinstance(decision, d.Held) else None
        if case.observed:
            gate = None  # It would take the place of one for which something is run.
        if gate is Gate.CONCURRENCY:
            self.waiting_for_slot[name] = None
        else:
            self.waiting_for_slot.pop(name, None)
        if gate is Gate.BLAST_RADIUS and case.incident is not None:
            self._waiting_for_room[name] = case.incident.runbook
        else:
            self._waiting_for_room.pop(name, None)

    def _evaluate_if_blind(self, hold: Hold, name: str, now: float) -> None:
        """At an interval of 0 thresholds are evaluated only on request, and nothing else may request it."""
        if hold.gate is Gate.BLIND and now - self._evaluations.evaluated_at >= EVALUATE_WHEN_BLIND:
            self._evaluations.evaluate([name])

    async def _open(self, case: Case, choice: Choice, decision: d.Open) -> None:
        name, now, alert = case.service.name, case.now, choice.alert.alert
        settlements = [
            settlement(s, Disposition.OPENED if s is choice.alert else Disposition.JOINED, decision.text, name)
            for s in case.alerts
        ]
        incident = await self._store.open_incident(
            NewIncident(
                service=name,
                runbook=choice.plan.runbook.name,
                opened_at=now,
                health=decision.health,
                text=decision.text,
                plan=choice.plan,
                labels=merged_labels(case.service, alert.labels),
                annotations=alert.annotations,
                source=alert.source,
                thresholds=decision.thresholds,
                forced=case.forced,
                relapse_of=decision.relapse.id if decision.relapse else None,
                first_step=decision.first[0],
                first_attempt=decision.first[1],
                owes=case.previous.owed if case.previous else (),
            ),
            settlements,
        )
        filled = [msgspec.structs.replace(settlement, incident=incident.id) for settlement in settlements]
        self._settled(filled, case.alerts)
        self._state.put_incident(incident)
        self._schedule.put(name, now)

    async def _resume(self, case: Case, before: Incident, decision: d.Open) -> None:
        """Open an incident for what an earlier one has left to be put back."""
        incident = await self._store.open_incident(
            NewIncident(
                service=before.service,
                runbook=before.runbook,
                opened_at=case.now,
                health=decision.health,
                text=decision.text,
                plan=before.plan,
                labels=before.labels,
                annotations=before.annotations,
                source=before.source,
                owes=before.owed,
            )
        )
        self._state.put_incident(incident)
        self._schedule.put(before.service, case.now)

    async def _join(self, case: Case, incident: Incident) -> None:
        alerts = [stored for stored in case.alerts if stored.incident != incident.id]
        if alerts:
            text, name = f"joined incident {incident.id}", case.service.name
            settlements = [settlement(s, Disposition.JOINED, text, name, incident=incident.id) for s in alerts]
            await self.settle(settlements, alerts, case.now)

    async def _settle_all(self, case: Case, kind: Disposition, text: str, gate: str) -> None:
        alerts = [s for s in case.alerts if s.disposition is not kind or s.gate != gate]
        if alerts:
            settlements = [settlement(s, kind, text, case.service.name, gate) for s in alerts]
            await self.settle(settlements, alerts, case.now)

    def _settled(self, settlements: Iterable[Settlement], alerts: Iterable[StoredAlert]) -> None:
        for settled, stored in zip(settlements, alerts, strict=True):
            if stored.disposition is None:
                self._metrics.alerts.labels(settled.disposition).inc()
            self._state.settle(settled)

    async def _resolve_requests(self, case: Case) -> None:
        """An operator's request is over with the incident it led to."""
        requests = [s.alert for s in case.alerts if s.alert.source is Source.OPERATOR]
        if requests:
            over = [msgspec.structs.replace(alert, ends_at=case.now) for alert in requests]
            await self._store.put_alerts(over, case.now)
            for stored in case.alerts:
                if stored.alert.source is Source.OPERATOR:
                    self._state.drop_alert(case.service.name, stored.alert.key)


def since(hold: Hold, before: Hold | None, now: float) -> Hold:
    """A hold with the time at which its gate began to hold."""
    began = before.since if before is not None and before.gate == hold.gate else now
    return msgspec.structs.replace(hold, since=began)


def settlement(
    stored: StoredAlert,
    disposition: Disposition,
    text: str,
    service: str = "",
    gate: str = "",
    *,
    incident: int | None = None,
) -> Settlement:
    """What became of a stored alert."""
    return Settlement(stored.alert.key, disposition, text, service, gate, incident)

"""Observing: how the case of a service is made of the engine's state and the evaluations. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from remediator.actions.titles import step_title
from remediator.decision.assessment import Choice, PrometheusStatus, choose, covering, judge, suppressing
from remediator.decision.case import Case, Dependency, Panic, ServiceView, Window
from remediator.decision.dependencies import root_causes
from remediator.decision.escalation import may_call
from remediator.engine.evaluations import Evaluations
from remediator.engine.state import EngineState
from remediator.model.alert import Source
from remediator.model.gate import Gate, Trait
from remediator.model.health import Health, Judgement
from remediator.model.incident import Incident, StoredAlert, Verdict
from remediator.model.rules import Mode, Rate, Runbook, Service


class Observer:
    """Makes cases, and what is shown of them."""

    def __init__(self, state: EngineState, evaluations: Evaluations) -> None:
        self._state = state
        self._evaluations = evaluations

    def troubled_cases(self, now: float) -> dict[str, Case]:
        """The cases that may need a page, by service: being healed, given up, held without an incident, or waited for."""
        state = self._state
        healed = {
            name
            for name, one in state.open.items()
            # The page of a service that was given up names those that wait for it.
            if (one.hold is not None and one.hold.gate is Gate.DEPENDENCY and state.given_up)
            or may_call(one.plan, one.hold, one.idle_since, now)
        }
        waiting = {
            name
            for name, hold in state.waiting.items()
            # While Prometheus does not answer, one page says so for all that is blind.
            if Trait.PAGES_ALERTS in hold.gate.traits
            and (hold.gate is not Gate.BLIND or self._status_for(name).answers)
        }
        names = healed | state.given_up | waiting
        cases = {name: case for name in names if (case := self.observe(name, now)) is not None}
        for case in list(cases.values()):
            for root in case.dependencies:
                if root.name not in cases and (below := self.observe(root.name, now)) is not None:
                    cases[root.name] = below
        return cases

    def panic(self, now: float) -> Panic | None:
        """Whether so much of the fleet turned bad at once that it is not the services, by any Prometheus."""
        panics = (self._panic(source, now) for source in self._evaluations.statuses)
        return next((panic for panic in panics if panic is not None), None)

    def _panic(self, source: str, now: float) -> Panic | None:
        """The same of the services that one Prometheus sees."""
        return self._state.fleet.panic(self._state.policy.panic, lambda: self._seen_by(source), now, source)

    def _seen_by(self, source: str) -> set[str]:
        names = self._state.every_name()
        if len(self._evaluations.statuses) == 1:
            return names
        services = ((name, self._state.service(name)) for name in names)
        return {name for name, service in services if service and self._evaluations.source_of(service) == source}

    def observe(self, name: str, now: float) -> Case | None:
        """The case of a service at this time; None when there is no such service."""
        state = self._state
        incident = state.open.get(name)
        service = state.service(name)
        if service is None:
            return None
        alerts = tuple(sorted(state.firing.get(name, {}).values(), key=lambda stored: stored.seq))
        seen = self._seen(service, now)
        prometheus_status, source = self._status_for(name), self._evaluations.source_of(service)
        choice: Choice | None = None
        runbook: Runbook | None
        if incident is not None:
            believe = not incident.plan.runbook.corroborate
            judgement = judge(seen, alerts, state.policy, prometheus_status, now, believe=believe)
            runbook = incident.plan.runbook
            if judgement.health is Health.FAILED and Health.FAILED not in runbook.when and alerts:
                choice = choose(state.rulebook, service, seen, alerts, state.policy, prometheus_status, now)
        else:
            if alerts:
                choice = choose(state.rulebook, service, seen, alerts, state.policy, prometheus_status, now)
            judgement = (
                choice.judgement if choice else judge(seen, alerts, state.policy, prometheus_status, now, believe=False)
            )
            runbook = choice.plan.runbook if choice else None
        case = Case(
            now=now,
            service=service,
            judgement=judgement,
            policy=state.policy,
            alerts=alerts,
            awaits_evaluation=incident is None and self._awaits_evaluation(service, alerts, now),
            choice=choice,
            incident=incident,
            previous=state.previous.get(name),
            live=frozenset(state.live),
            running=len(state.live) + state.fleet.reserved,
            orphans=state.orphans(now),
            pauses=tuple(pause for pause in state.pauses if pause.holds(self._labels(service, incident), now)),
            window=self._window(self._labels(service, incident), now),
            silence=covering(state.silences, alerts, self._labels(service, incident), now, state.suppressed),
            suppression=suppressing(alerts, state.suppressed),
            prometheus_status=prometheus_status,
            reconciled=state.reconciled,
            panic=self._panic(source, now),
            panicked_at=state.fleet.panicked_by(source),
            current=state.rulebook.runbook(incident.runbook) if incident is not None else None,
            closings=state.closings.get(name, ()),
            dependencies=self._dependencies(service, now) if service.depends_on else (),
            guards=state.guards.get(name, {}),
            probe=state.probes.get(name),
            spent_anywhere=(*state.usage.starts(_since(state.policy.rate, now)), *state.fleet.reserved_starts()),
        )
        if runbook is None:
            return case
        healing, reach = (0, 1)
        if runbook.limits.blast_radius is not None:
            healing, reach = state.fleet.blast(runbook, name, state.rulebook, state.every_service, state.size())
        case = msgspec.structs.replace(
            case,
            last_heal=state.usage.last(name, runbook.name, incident.id if incident is not None else None),
            spent_here=(
                *state.usage.spent(runbook.name, _since(runbook.limits.rate, now)),
                *state.fleet.reserved_starts(runbook.name),
            ),
            healing=healing,
            reach=reach,
            would=self._would(case),
        )
        return self._with_shadow(case, incident, runbook) if incident is not None and case.observed else case

    def _with_shadow(self, case: Case, incident: Incident, runbook: Runbook) -> Case:
        """A case of what is only observed: what would have been run counts as if it had been."""
        shadow, now, besides = self._state.shadow, case.now, incident.id
        here = shadow.starts(_since(runbook.limits.rate, now), runbook.name, besides=besides)
        anywhere = shadow.starts(_since(self._state.policy.rate, now), besides=besides)
        last = shadow.last(case.service.name, runbook.name, besides=besides)
        return msgspec.structs.replace(
            case,
            spent_here=(*case.spent_here, *here),
            spent_anywhere=(*case.spent_anywhere, *anywhere),
            healing=case.healing + shadow.healing(runbook.name, besides=besides),
            would_have=last,
        )

    def view(self, name: str, now: float) -> ServiceView | None:
        """The service as it is shown."""
        case = self.observe(name, now)
        if case is None:
            return None
        incident = case.incident
        health = case.health
        if incident is not None and incident.last_run is not None and health is Health.HEALTHY:
            health = Health.RECOVERING
        return ServiceView(
            name=name,
            labels=dict(case.service.labels),
            health=health,
            judgement=case.judgement,
            alerts=len(case.alerts),
            runbook=case.plan.runbook.name if case.plan else self._usual_runbook(case.service),
            target=case.service.target.name if case.service.target else "",
            depends_on=case.service.depends_on,
            incident=incident.id if incident else None,
            hold=incident.hold if incident else None,
            decision=self._state.decided.get(name, ""),
        )

    def healths(self, now: float) -> Iterable[tuple[str, Health]]:
        """The health of every service known, for the metrics."""
        status_for, policy = self._status_for, self._state.policy
        for name in self._state.names():
            service = self._state.service(name)
            if service is None:
                continue
            alerts = tuple(self._state.firing.get(name, {}).values())
            health = judge(self._seen(service, now), alerts, policy, status_for(name), now, believe=False).health
            incident = self._state.open.get(name)
            recovering = health is Health.HEALTHY and incident is not None and incident.last_run is not None
            yield name, Health.RECOVERING if recovering else health

    def _dependencies(self, service: Service, now: float) -> tuple[Dependency, ...]:
        """The root causes below a service."""

        def trouble(below: Service) -> Dependency | None:
            name, before = below.name, self._state.previous.get(below.name)
            alerts = tuple(self._state.firing.get(name, {}).values())
            judged = judge(
                self._seen(below, now), alerts, self._state.policy, self._status_for(name), now, believe=False
            )
            if judged.health is not Health.HEALTHY or name in self._state.open:
                return Dependency(name, judged.health, judged.text)
            if before is not None and before.verdict in (Verdict.RECOVERED, Verdict.CLEARED):
                return Dependency(name, judged.health, before.closing, before.closed_at)
            return None

        return root_causes(service, self._state.service, trouble)

    def _window(self, labels: Mapping[str, str], now: float) -> Window | None:
        """The first maintenance window that is open for these labels."""
        for window in self._state.policy.maintenance:
            if window.open_for(labels, now):
                return Window(window.name, window.closes(now), window.comment)
        return None

    def _seen(self, service: Service, now: float) -> Judgement | None:
        """What the thresholds see of a service; None when none judges it."""
        return self._evaluations.judgement(service, now) if self._state.rulebook.thresholds_for(service) else None

    def _status_for(self, name: str) -> PrometheusStatus:
        """How Prometheus is seen by a service: what was silent with it says nothing of the time before."""
        service = self._state.service(name)
        prometheus_status = self._evaluations.status_for(service) if service is not None else PrometheusStatus()
        quiet_since = self._state.quiet_since.get(name, 0.0)
        unseen = "; ".join(self._state.unseen.get(name, {}).values())
        if not quiet_since and not unseen:
            return prometheus_status
        return msgspec.structs.replace(prometheus_status, quiet_since=quiet_since, unseen=unseen)

    def _awaits_evaluation(self, service: Service, alerts: tuple[StoredAlert, ...], now: float) -> bool:
        if not alerts or not self._state.wants_evaluation(service, now):
            return False
        newest = max((s.received_at for s in alerts if s.alert.source is not Source.THRESHOLD), default=0.0)
        return self._evaluations.evaluated_at < newest and now < newest + self._state.policy.patience

    def _labels(self, service: Service, incident: Incident | None) -> dict[str, str]:
        return {**incident.labels, **service.labels} if incident is not None else service.labels

    def _would(self, case: Case) -> str:
        acts = case.mode is Mode.AUTO and not case.observed
        if case.incident is None or case.next_step is None or acts:
            return ""
        return step_title(case.incident.plan, case.next_step.step, case.context)

    def _usual_runbook(self, service: Service) -> str:
        return next((runbook.name for runbook in self._state.rulebook.runbooks_for(service.labels)), "")


def _since(rates: Iterable[Rate], now: float) -> float:
    """Since when starts count against any of the rates."""
    return now - max((rate.window for rate in rates), default=0.0)

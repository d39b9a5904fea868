"""The docket: what the engine keeps in mind between cycles, and how a case is made of it.

It mirrors what the store holds of the present (firing alerts, open incidents, recent step runs, pauses), by service. The
engine changes it only after the store has committed the change, and fills it from the store at start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from remediator.alert import Source
from remediator.case import Case, Choice, Dependency, GuardAnswer, Policy, ServiceView, Sighting, choose, judge
from remediator.errors import RefusedError, TemplateError
from remediator.health import Health, Judgement
from remediator.incident import Incident, Pause, StepRun, StoredAlert, Verdict
from remediator.ledger import Ledger
from remediator.rulebook import Mode, Rulebook, Runbook, Service, merged_labels
from remediator.template import LabelView

Judge = Callable[[Service, float], Judgement]
Describe = Callable[..., str]


class Docket:
    """The present of every service that has a firing alert or an open incident."""

    def __init__(
        self,
        rulebook: Rulebook,
        policy: Policy,
        judgement: Judge,
        round_started: Callable[[], float],
        sighting: Callable[[], Sighting],
        describe: Describe,
        known: Callable[[], Mapping[str, Service]],
    ) -> None:
        self.rulebook = rulebook
        self.policy = policy
        self.firing: dict[str, dict[tuple[str, float], StoredAlert]] = {}
        self.open: dict[str, Incident] = {}
        self.previous: dict[str, Incident] = {}
        self.pauses: tuple[Pause, ...] = ()
        self.guards: dict[str, dict[str, GuardAnswer]] = {}
        self.live: set[int] = set()
        self._reserved: dict[str, tuple[str, float]] = {}
        self.decided: dict[str, str] = {}
        self._judgement = judgement
        self.round_started = round_started
        self._sighting = sighting
        self._describe = describe
        self._known = known
        self._services: dict[str, Service] = {}
        self._quiet_since: dict[str, float] = {}
        self.ledger = Ledger()
        self._reach: dict[str, tuple[int, int]] = {}
        self._healing: dict[str, set[str]] = {}

    # What changes it.

    def admit(self, stored: StoredAlert) -> str | None:
        """Take in a new or changed alert; the name of its service, or None when it has none."""
        labels = stored.alert.labels
        if stored.alert.source is Source.ALERTMANAGER:
            service = self.rulebook.service_for(labels)
        else:
            # Thresholds and operators speak of a service by its name; its own matchers may want other labels.
            service = self.service(labels.get(self.rulebook.service_label, ""))
        if service is None:
            return None
        name = service.name
        if stored.alert.firing:
            self.firing.setdefault(name, {})[stored.alert.key] = stored
            self._services.setdefault(name, service)
        else:
            alerts = self.firing.get(name, {})
            if alerts.pop(stored.alert.key, None) is not None:
                self._quiet_since[name] = stored.updated_at
            if not alerts:
                self.firing.pop(name, None)
                self._forget_if_idle(name)
        return name

    def put_incident(self, incident: Incident) -> None:
        """Take in an incident as the store has it now."""
        if incident.open:
            self.open[incident.service] = incident
            self._services.setdefault(incident.service, incident.plan.service)
            if incident.last_run is not None:
                self._healing.setdefault(incident.runbook, set()).add(incident.service)
        else:
            self._healing.get(incident.runbook, set()).discard(incident.service)
            self.open.pop(incident.service, None)
            self.previous[incident.service] = msgspec.structs.replace(incident, runs=())
            self.guards.pop(incident.service, None)
            if incident.verdict is Verdict.RECOVERED:
                self.ledger.redeem(incident)
            self._forget_if_idle(incident.service)

    def put_run(self, run: StepRun) -> None:
        """Take in a step run that began, ended or was left out."""
        self.ledger.put(run)
        incident = self.open.get(run.service)
        if incident is not None and incident.id == run.incident:
            others = [other for other in incident.runs if other.id != run.id]
            runs = tuple(sorted((*others, run), key=lambda run: run.id))
            hold = None if run.running else incident.hold
            self.put_incident(msgspec.structs.replace(incident, runs=runs, hold=hold))

    def reserve(self, case: Case) -> None:
        """A step was decided on: from now on, until it is released, it counts for the gates of every other case."""
        if case.plan is not None:
            self._reserved[case.service.name] = (case.plan.runbook.name, case.now)

    def release(self, name: str) -> None:
        """The step has been committed as started, or will not be."""
        self._reserved.pop(name, None)

    def swap(self, rulebook: Rulebook, policy: Policy) -> None:
        """Go on by other rules. The firing alerts have to be admitted anew; open incidents keep their own text."""
        self.rulebook, self.policy = rulebook, policy
        self.firing.clear()
        self._reach.clear()
        self._services = {name: incident.plan.service for name, incident in self.open.items()}

    # What is read from it.

    def service(self, name: str) -> Service | None:
        """The service of this name: one of the rule files, or one that an alert, a series or an incident names."""
        return self.rulebook.named.get(name) or self._services.get(name) or self._known().get(name)

    def names(self) -> list[str]:
        """Every service known."""
        return sorted({*self.rulebook.named, *self._services, *self._known()})

    def observe(self, name: str, now: float) -> Case | None:
        """The case of a service at this time; None when there is no such service."""
        incident = self.open.get(name)
        service = self.service(name)
        if service is None:
            return None
        alerts = tuple(sorted(self.firing.get(name, {}).values(), key=lambda stored: stored.seq))
        seen = self._seen(service, now)
        sighting = self._sighted(name)
        choice: Choice | None = None
        runbook: Runbook | None
        if incident is not None:
            believe = not incident.plan.runbook.corroborate
            judgement = judge(seen, alerts, self.policy, sighting, now, believe=believe)
            runbook = incident.plan.runbook
            if judgement.health is Health.FAILED and Health.FAILED not in runbook.when and alerts:
                choice = choose(self.rulebook, service, seen, alerts, self.policy, sighting, now)
        else:
            if alerts:
                choice = choose(self.rulebook, service, seen, alerts, self.policy, sighting, now)
            judgement = choice.judgement if choice else judge(seen, alerts, self.policy, sighting, now, believe=False)
            runbook = choice.plan.runbook if choice else None
        case = Case(
            now=now,
            service=service,
            judgement=judgement,
            policy=self.policy,
            alerts=alerts,
            looking=incident is None and self._looking(service, alerts, now),
            choice=choice,
            incident=incident,
            previous=self.previous.get(name),
            live=frozenset(self.live),
            running=self.ledger.running + len(self._reserved),
            pauses=tuple(pause for pause in self.pauses if pause.holds(self._labels(service, incident), now)),
            dependencies=self.troubled(service, now) if service.depends_on else (),
            guards=self.guards.get(name, {}),
            spent_anywhere=(*self.ledger.starts, *(at for _, at in self._reserved.values())),
        )
        if runbook is None:
            return case
        healing, reach = self._blast(runbook, name) if runbook.limits.blast_radius else (0, 1)
        return msgspec.structs.replace(
            case,
            last_heal=self.ledger.last(name, runbook.name, incident.id if incident is not None else None),
            spent_here=(*self.ledger.spent(runbook.name), *self._reserved_by(runbook.name).values()),
            healing=healing,
            reach=reach,
            would=self._would(case, runbook),
        )

    def context(self, case: Case) -> dict[str, object]:
        """What templates see."""
        incident = case.incident
        if incident is not None:
            labels, annotations = incident.labels, incident.annotations
        elif case.choice is not None:
            alert = case.choice.alert.alert
            labels, annotations = merged_labels(case.service, alert.labels), alert.annotations
        else:
            labels, annotations = dict(case.service.labels), {}
        service = incident.plan.service if incident is not None else case.service
        return {
            "labels": LabelView(labels),
            "annotations": LabelView(annotations),
            "service": {"name": service.name, "labels": LabelView(service.labels)},
            "alert": {"name": labels.get("alertname", "")},
            "incident": {"id": incident.id if incident is not None else 0},
            "runbook": {"name": case.plan.runbook.name if case.plan else ""},
            "health": str(case.health),
            "values": {r.threshold: r.value for r in case.judgement.readings if r.value is not None},
        }

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
            decision=self.decided.get(name, ""),
        )

    def healths(self, now: float) -> Iterable[tuple[str, Health]]:
        """The health of every service known, for the metrics."""
        sighted, policy = self._sighted, self.policy
        for name in self.names():
            service = self.service(name)
            if service is None:
                continue
            alerts = tuple(self.firing.get(name, {}).values())
            health = judge(self._seen(service, now), alerts, policy, sighted(name), now, believe=False).health
            incident = self.open.get(name)
            recovering = health is Health.HEALTHY and incident is not None and incident.last_run is not None
            yield name, Health.RECOVERING if recovering else health

    def troubled(self, service: Service, now: float) -> tuple[Dependency, ...]:
        """The root causes below a service: troubled dependencies that have no troubled dependency themselves."""
        roots: dict[str, Dependency] = {}
        seen: set[str] = {service.name}

        def descend(name: str) -> bool:
            below = self.service(name)
            if below is None or name in seen:
                return name in roots
            seen.add(name)
            deeper = [descend(other) for other in below.depends_on]
            if any(deeper):
                return True
            alerts = tuple(self.firing.get(name, {}).values())
            seen_below = self._seen(below, now)
            judged = judge(seen_below, alerts, self.policy, self._sighted(name), now, believe=False)
            if judged.health.bad or name in self.open:
                roots[name] = Dependency(name, judged.health, judged.text)
            return name in roots

        for name in service.depends_on:
            descend(name)
        return tuple(roots.values())

    def _seen(self, service: Service, now: float) -> Judgement | None:
        """What the thresholds see of a service; None when none judges it."""
        return self._judgement(service, now) if self.rulebook.thresholds_for(service) else None

    def _sighted(self, name: str) -> Sighting:
        sighting = self._sighting()
        quiet_since = self._quiet_since.get(name, 0.0)
        return msgspec.structs.replace(sighting, quiet_since=quiet_since) if quiet_since else sighting

    def _looking(self, service: Service, alerts: tuple[StoredAlert, ...], now: float) -> bool:
        if not alerts or not self.rulebook.thresholds_for(service):
            return False
        newest = max((s.received_at for s in alerts if s.alert.source is not Source.THRESHOLD), default=0.0)
        return self.round_started() < newest and now < newest + self.policy.patience

    def _labels(self, service: Service, incident: Incident | None) -> dict[str, str]:
        return {**incident.labels, **service.labels} if incident is not None else service.labels

    def _would(self, case: Case, runbook: Runbook) -> str:
        if case.incident is None or (self.policy.auto_heal and runbook.mode is Mode.AUTO) or case.rung is None:
            return ""
        try:
            return self._describe(case.incident.plan, case.rung.step, self.context(case))
        except (RefusedError, TemplateError) as error:
            return str(error)

    def _blast(self, runbook: Runbook, name: str) -> tuple[int, int]:
        """How many other services of a runbook are being healed, and how many known services it is for."""
        healing = self._healing.get(runbook.name, set())
        # Counting whom it is for costs a walk over all services: only when some came or went.
        size = len(self.rulebook.named) + len(self._services) + len(self._known())
        counted, reach = self._reach.get(runbook.name, (-1, 0))
        if size != counted:
            services = (self.service(other) for other in self.names())
            reach = sum(
                any(found.name == runbook.name for found in self.rulebook.runbooks_for(service.labels))
                for service in services
                if service is not None
            )
            self._reach[runbook.name] = (size, reach)
        return len((healing | self._reserved_by(runbook.name).keys()) - {name}), reach

    def _reserved_by(self, runbook: str) -> dict[str, float]:
        return {name: at for name, (by, at) in self._reserved.items() if by == runbook}

    def _usual_runbook(self, service: Service) -> str:
        return next((runbook.name for runbook in self.rulebook.runbooks_for(service.labels)), "")

    def _forget_if_idle(self, name: str) -> None:
        if name not in self.open and name not in self.firing:
            self._services.pop(name, None)
            self.decided.pop(name, None)

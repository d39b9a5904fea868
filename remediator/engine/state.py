"""The docket: what the engine keeps in mind between cycles, and how a case is made of it.

It mirrors what the store holds of the present (firing alerts, open incidents, recent step runs, pauses), by service. The
engine changes it only after the store has committed the change, and fills it from the store at start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from remediator.config.policy import Policy
from remediator.decision.assessment import Choice, PrometheusStatus, choose, covering, judge
from remediator.decision.case import Case, Dependency, GuardAnswer, Panic, ServiceView, Window
from remediator.decision.dependencies import root_causes
from remediator.decision.escalation import may_call, settled
from remediator.engine.budget_usage import BudgetUsage
from remediator.engine.fleet import Fleet
from remediator.errors import RefusedError, TemplateError
from remediator.model.alert import Source
from remediator.model.gate import Gate, Trait
from remediator.model.health import Health, Judgement
from remediator.model.incident import Hold, Incident, IncidentSummary, Pause, StepRun, StoredAlert, Verdict
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Mode, Rate, Runbook, Service
from remediator.model.silence import Silence

Judge = Callable[[Service, float], Judgement]
Describe = Callable[..., str]


class EngineState:
    """The present of every service that has a firing alert or an open incident."""

    def __init__(
        self,
        rulebook: Rulebook,
        policy: Policy,
        judgement: Judge,
        round_started: Callable[[], float],
        prometheus_status: Callable[[], PrometheusStatus],
        describe: Describe,
        known: Callable[[], Mapping[str, Service]],
    ) -> None:
        self.rulebook = rulebook
        self.policy = policy
        self.firing: dict[str, dict[tuple[str, float], StoredAlert]] = {}
        self._unheeded: dict[str, set[tuple[str, float]]] = {}
        """Alerts that fire and ask for nothing to be done, by service."""
        self.open: dict[str, Incident] = {}
        self.previous: dict[str, Incident] = {}
        """Each service's last incident that has closed."""
        self.closings: dict[str, tuple[IncidentSummary, ...]] = {}
        self.given_up: set[str] = set()
        """Services whose last incident was exhausted, and that have not been well since."""
        self.waiting: dict[str, Hold] = {}
        """What holds the alerts of services without an incident."""
        self.silences: tuple[Silence, ...] = ()
        self.reconciled = True
        self.pauses: tuple[Pause, ...] = ()
        self.guards: dict[str, dict[str, GuardAnswer]] = {}
        self.live: set[int] = set()
        self.decided: dict[str, str] = {}
        self._judgement = judgement
        self.round_started = round_started
        self.prometheus_status = prometheus_status
        self._describe = describe
        self._known = known
        self._services: dict[str, Service] = {}
        self._quiet_since: dict[str, float] = {}
        self.usage = BudgetUsage()
        self.fleet = Fleet()

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
        if stored.alert.firing and not self.heeds(service, stored):
            self._unheeded.setdefault(name, set()).add(stored.alert.key)
            self._services.setdefault(name, service)
        elif stored.alert.firing:
            self.firing.setdefault(name, {})[stored.alert.key] = stored
            self._services.setdefault(name, service)
            if stored.alert.source is Source.THRESHOLD:
                self.fleet.turned_bad(name, stored.alert.starts_at)
            elif stored.alert.source is Source.ALERTMANAGER and not self.rulebook.thresholds_for(service):
                self.fleet.turned_bad(name, stored.received_at)
        else:
            unheeded = self._unheeded.get(name, set())
            unheeded.discard(stored.alert.key)
            if not unheeded:
                self._unheeded.pop(name, None)
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
            self.waiting.pop(incident.service, None)
            if incident.last_run is not None:
                self.fleet.heals(incident.runbook, incident.service)
            if incident.relapse_of is not None:
                self.usage.charge(incident.relapse_of)
        else:
            self.fleet.healed(incident.runbook, incident.service)
            self.open.pop(incident.service, None)
            # What commands printed is not needed any more, and may be long.
            runs = tuple(msgspec.structs.replace(run, output="") for run in incident.runs)
            self.previous[incident.service] = msgspec.structs.replace(incident, runs=runs)
            self.put_closing(closing_of(incident))
            if incident.verdict is Verdict.EXHAUSTED:
                self.given_up.add(incident.service)
            self.guards.pop(incident.service, None)
            if incident.verdict is Verdict.RECOVERED:
                self.usage.refund(incident.id)
            self._forget_if_idle(incident.service)

    def put_closing(self, closing: IncidentSummary) -> None:
        """Remember how an incident ended."""
        others = (other for other in self.closings.get(closing.service, ()) if other.id != closing.id)
        self.closings[closing.service] = tuple(sorted((*others, closing), key=lambda closing: closing.id))

    def forget(self, before: float) -> None:
        """Drop what no budget, window or page reaches back to."""
        self.usage.forget(before)
        for name, closings in list(self.closings.items()):
            if closings[0].closed_at < before:
                kept = tuple(closing for closing in closings if closing.closed_at >= before)
                if kept:
                    self.closings[name] = kept
                else:
                    del self.closings[name]
                    if not self.previous[name].owed:
                        del self.previous[name]

    def put_run(self, run: StepRun) -> None:
        """Take in a step run that began, ended or was left out."""
        self.usage.put(run)
        incident = self.open.get(run.service)
        if incident is not None and incident.id == run.incident:
            others = [other for other in incident.runs if other.id != run.id]
            runs = tuple(sorted((*others, run), key=lambda run: run.id))
            hold = None if run.running else incident.hold
            self.put_incident(msgspec.structs.replace(incident, runs=runs, hold=hold))

    def swap(self, rulebook: Rulebook, policy: Policy) -> None:
        """Go on by other rules. The firing alerts have to be admitted anew; open incidents keep their own text."""
        self.rulebook, self.policy = rulebook, policy
        self.firing.clear()
        self._unheeded.clear()
        self.fleet.forget_reach()
        self._services = {name: incident.plan.service for name, incident in self.open.items()}

    # What is read from it.

    def told(self, now: float) -> list[Case]:
        """The cases that people may have to hear of: of services that are being healed, were given up, wait without an
        incident, or are waited for."""
        # While Prometheus does not answer, one page says so for all that is blind.
        spoken_for = () if self.prometheus_status().answers else (Gate.BLIND,)
        healed = {
            name
            for name, one in self.open.items()
            # Whoever waits for a service that was given up is named in its page.
            if (one.hold is not None and one.hold.gate is Gate.DEPENDENCY and self.given_up)
            or may_call(one.plan, one.hold, one.idle_since, now)
        }
        waiting = {
            name
            for name, hold in self.waiting.items()
            if Trait.PAGES_ALERTS in hold.gate.traits and hold.gate not in spoken_for
        }
        names = healed | self.given_up | waiting
        cases = {name: case for name in names if (case := self.observe(name, now)) is not None}
        for case in list(cases.values()):
            for root in case.dependencies:
                if root.name not in cases and (below := self.observe(root.name, now)) is not None:
                    cases[root.name] = below
        self.given_up = {name for name in self.given_up if name in cases and not settled(cases[name])}
        return [case for _, case in sorted(cases.items())]

    def panic(self, now: float) -> Panic | None:
        """Whether so much of the fleet turned bad at once that it is not the services."""
        return self.fleet.panic(self.policy.panic, self._every, now)

    def service(self, name: str) -> Service | None:
        """The service of this name: one of the rule files, or one that an alert, a series or an incident names."""
        found = self.rulebook.named.get(name) or self._services.get(name) or self._known().get(name)
        before = self.previous.get(name)
        if found is None and before is not None and before.owed:
            return before.plan.service
        return found

    def names(self) -> list[str]:
        """Every service known."""
        return sorted(self._every())

    @property
    def troubled(self) -> set[str]:
        """Every service with an open incident or an alert that fires."""
        return {*self.open, *self.firing}

    def concerns(self, name: str) -> bool:
        """Whether there may be something to decide about a service."""
        before = self.previous.get(name)
        return name in self.open or name in self.firing or (before is not None and bool(before.owed))

    def heeds(self, service: Service, stored: StoredAlert) -> bool:
        """Whether an alert says something of its service. The severity counts only where no threshold judges it."""
        return self.policy.heeds(stored.alert) or bool(self.rulebook.thresholds_for(service))

    def wants_look(self, service: Service, now: float) -> bool:
        """Whether a decision on new alerts of a service has to wait for a look: what alerts say of one without thresholds
        stands by itself, as long as Prometheus is there to verify by."""
        if self.rulebook.thresholds_for(service):
            return True
        prometheus_status = self.prometheus_status()
        return not prometheus_status.answers or now - prometheus_status.at > self.policy.stale_after / 2

    def observe(self, name: str, now: float) -> Case | None:
        """The case of a service at this time; None when there is no such service."""
        incident = self.open.get(name)
        service = self.service(name)
        if service is None:
            return None
        alerts = tuple(sorted(self.firing.get(name, {}).values(), key=lambda stored: stored.seq))
        seen = self._seen(service, now)
        prometheus_status = self._sighted(name)
        choice: Choice | None = None
        runbook: Runbook | None
        if incident is not None:
            believe = not incident.plan.runbook.corroborate
            judgement = judge(seen, alerts, self.policy, prometheus_status, now, believe=believe)
            runbook = incident.plan.runbook
            if judgement.health is Health.FAILED and Health.FAILED not in runbook.when and alerts:
                choice = choose(self.rulebook, service, seen, alerts, self.policy, prometheus_status, now)
        else:
            if alerts:
                choice = choose(self.rulebook, service, seen, alerts, self.policy, prometheus_status, now)
            judgement = (
                choice.judgement if choice else judge(seen, alerts, self.policy, prometheus_status, now, believe=False)
            )
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
            running=len(self.live) + self.fleet.reserved,
            pauses=tuple(pause for pause in self.pauses if pause.holds(self._labels(service, incident), now)),
            window=self._window(self._labels(service, incident), now),
            silence=covering(self.silences, alerts, self._labels(service, incident), now),
            prometheus_status=prometheus_status,
            reconciled=self.reconciled,
            panic=self.panic(now),
            panicked_at=self.fleet.panicked_at,
            closings=self.closings.get(name, ()),
            dependencies=self._dependencies(service, now) if service.depends_on else (),
            guards=self.guards.get(name, {}),
            spent_anywhere=(*self.usage.starts(_since(self.policy.rate, now)), *self.fleet.reserved_starts()),
        )
        if runbook is None:
            return case
        healing, reach = (0, 1)
        if runbook.limits.blast_radius is not None:
            size = len(self.rulebook.named) + len(self._services) + len(self._known())
            healing, reach = self.fleet.blast(runbook, name, self.rulebook, self._all_services, size)
        return msgspec.structs.replace(
            case,
            last_heal=self.usage.last(name, runbook.name, incident.id if incident is not None else None),
            spent_here=(
                *self.usage.spent(runbook.name, _since(runbook.limits.rate, now)),
                *self.fleet.reserved_starts(runbook.name),
            ),
            healing=healing,
            reach=reach,
            would=self._would(case, runbook),
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

    def _dependencies(self, service: Service, now: float) -> tuple[Dependency, ...]:
        """The root causes below a service."""

        def look(below: Service) -> Dependency | None:
            name, before = below.name, self.previous.get(below.name)
            alerts = tuple(self.firing.get(name, {}).values())
            judged = judge(self._seen(below, now), alerts, self.policy, self._sighted(name), now, believe=False)
            if judged.health is not Health.HEALTHY or name in self.open:
                return Dependency(name, judged.health, judged.text)
            if before is not None and before.verdict in (Verdict.RECOVERED, Verdict.CLEARED):
                return Dependency(name, judged.health, before.closing, before.closed_at)
            return None

        return root_causes(service, self.service, look)

    def _window(self, labels: Mapping[str, str], now: float) -> Window | None:
        """The first maintenance window that is open for these labels."""
        for window in self.policy.maintenance:
            if window.open_for(labels, now):
                return Window(window.name, window.closes(now), window.comment)
        return None

    def _every(self) -> set[str]:
        return {*self.rulebook.named, *self._services, *self._known()}

    def _all_services(self) -> Iterator[Service]:
        return (service for name in self._every() if (service := self.service(name)) is not None)

    def _seen(self, service: Service, now: float) -> Judgement | None:
        """What the thresholds see of a service; None when none judges it."""
        return self._judgement(service, now) if self.rulebook.thresholds_for(service) else None

    def _sighted(self, name: str) -> PrometheusStatus:
        prometheus_status = self.prometheus_status()
        quiet_since = self._quiet_since.get(name, 0.0)
        return msgspec.structs.replace(prometheus_status, quiet_since=quiet_since) if quiet_since else prometheus_status

    def _looking(self, service: Service, alerts: tuple[StoredAlert, ...], now: float) -> bool:
        if not alerts or not self.wants_look(service, now):
            return False
        newest = max((s.received_at for s in alerts if s.alert.source is not Source.THRESHOLD), default=0.0)
        return self.round_started() < newest and now < newest + self.policy.patience

    def _labels(self, service: Service, incident: Incident | None) -> dict[str, str]:
        return {**incident.labels, **service.labels} if incident is not None else service.labels

    def _would(self, case: Case, runbook: Runbook) -> str:
        if case.incident is None or (self.policy.auto_heal and runbook.mode is Mode.AUTO) or case.next_step is None:
            return ""
        try:
            return self._describe(case.incident.plan, case.next_step.step, case.context)
        except (RefusedError, TemplateError) as error:
            return str(error)

    def _usual_runbook(self, service: Service) -> str:
        return next((runbook.name for runbook in self.rulebook.runbooks_for(service.labels)), "")

    def _forget_if_idle(self, name: str) -> None:
        if name not in self.open and name not in self.firing and name not in self._unheeded:
            self._services.pop(name, None)
            self.decided.pop(name, None)


def _since(rates: Iterable[Rate], now: float) -> float:
    """Since when starts count against any of the rates."""
    return now - max((rate.window for rate in rates), default=0.0)


def closing_of(incident: Incident) -> IncidentSummary:
    """How a closed incident ended."""
    closed_at, verdict = incident.closed_at or 0.0, incident.verdict or Verdict.DISMISSED
    return IncidentSummary(incident.id, incident.service, closed_at, verdict, incident.relapse_of)

"""What the engine keeps in mind between cycles: the present of every service, as the store has it.

It mirrors what the store holds of the present (firing alerts, open incidents, recent step runs, pauses), by service. The
engine changes it only after the store has committed the change, and fills it from the store at start. Every change is a
method here; `observe` reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from remediator.config.policy import Policy
from remediator.decision.case import GuardAnswer, ProbeAnswer
from remediator.engine.budget_usage import BudgetUsage
from remediator.engine.evaluations import Evaluations
from remediator.engine.fleet import Fleet
from remediator.engine.shadow import ShadowHeals
from remediator.model.action import Outcome
from remediator.model.alert import Alert, Source, unseen_text
from remediator.model.incident import Hold, Incident, IncidentSummary, Pause, Settlement, StepRun, StoredAlert, Verdict
from remediator.model.rulebook import MOST_TEMPLATED, Rulebook
from remediator.model.rules import Service
from remediator.model.silence import Silence, Suppression

AlertKey = tuple[str, float]


class EngineState:
    """The present of every service that has a firing alert or an open incident."""

    def __init__(
        self, rulebook: Rulebook, policy: Policy, evaluations: Evaluations, *, reconciled: bool = True
    ) -> None:
        self.rulebook = rulebook
        self.policy = policy
        self.firing: dict[str, dict[AlertKey, StoredAlert]] = {}
        self._unheeded: dict[str, set[AlertKey]] = {}
        """Alerts that fire and ask for nothing to be done, by service."""
        self.unseen: dict[str, dict[str, str]] = {}
        """What senders of alerts cannot see, by service and fingerprint: the sentence that says so."""
        self.open: dict[str, Incident] = {}
        self.previous: dict[str, Incident] = {}
        """Each service's last incident that has closed."""
        self.closings: dict[str, tuple[IncidentSummary, ...]] = {}
        self.given_up: set[str] = set()
        """Services whose last incident was exhausted, and that have not been well since."""
        self.waiting: dict[str, Hold] = {}
        """What holds the alerts of services without an incident."""
        self.silences: tuple[Silence, ...] = ()
        self.suppressed: Mapping[str, Suppression] = {}
        """What Alertmanager keeps from every receiver, by the alert's fingerprint."""
        self.reconciled = reconciled
        """Whether the alerts have been compared with Alertmanager's, or need not be."""
        self.pauses: tuple[Pause, ...] = ()
        self.guards: dict[str, dict[str, GuardAnswer]] = {}
        self.probes: dict[str, ProbeAnswer] = {}
        """What the probes of targets said last, by service with an open incident."""
        self.live: set[int] = set()
        """The step runs whose commands this process runs."""
        self.decided: dict[str, str] = {}
        """The sentence of the last decision on each service."""
        self.undecided = 0
        """How many alerts the store held at the last search that were undecided for longer than a minute."""
        self.quiet_since: dict[str, float] = {}
        """When an alert of each service was last resolved."""
        self.usage = BudgetUsage()
        self.fleet = Fleet()
        self.shadow = ShadowHeals()
        self._evaluations = evaluations
        self._at_work: dict[int, float] = {}
        """Step runs that run, or whose end is unknown, with the time at which each is certainly over."""
        self._services: dict[str, Service] = {}

    # What changes it.

    def admit(self, stored: StoredAlert) -> str | None:
        """Take in a new or changed alert; the name of its service, or None when it has none."""
        labels = stored.alert.labels
        if stored.alert.source is Source.ALERTMANAGER:
            service = self.rulebook.service_for(labels)
        else:
            # Thresholds and operators speak of a service by its name; its own matchers may want other labels.
            service = self.service(labels.get(self.rulebook.service_label, ""))
        if service is None or self._has_no_room_for(service):
            return None
        name = service.name
        self._note_unseen(name, service, stored.alert)
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
                self.quiet_since[name] = stored.updated_at
            if not alerts:
                self.firing.pop(name, None)
                self._forget_if_idle(name)
        return name

    def why_unowned(self, alert: Alert) -> str:
        """The sentence for an alert that no service owns."""
        service = self.rulebook.service_for(alert.labels)
        if service is not None and self._has_no_room_for(service):
            return f"cannot take in its service {service.name}: {MOST_TEMPLATED} templated services have alerts already"
        return self.rulebook.refusal_for(alert.labels) or "no service in the rule files owns it"

    def _has_no_room_for(self, service: Service) -> bool:
        """Whether alerts name so many templated services that this one is not taken in."""
        name = service.name
        return len(self._services) >= MOST_TEMPLATED and name not in self._services and name not in self.rulebook.named

    def _note_unseen(self, name: str, service: Service, alert: Alert) -> None:
        """Keep that the sender of an alert cannot see, until it tells something else of the same labels."""
        if alert.source is not Source.ALERTMANAGER:
            return
        if text := unseen_text(alert):
            self.unseen.setdefault(name, {})[alert.fingerprint] = text
            self._services.setdefault(name, service)
        elif alert.fingerprint in self.unseen.get(name, {}):
            del self.unseen[name][alert.fingerprint]
            if not self.unseen[name]:
                del self.unseen[name]

    def put_incident(self, incident: Incident) -> None:
        """Take in an incident as the store has it now."""
        self.shadow.put(incident)
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
            self.probes.pop(incident.service, None)
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
        self.shadow.forget(before)
        self.quiet_since = {name: at for name, at in self.quiet_since.items() if at >= before}
        self._at_work = {run: latest_end for run, latest_end in self._at_work.items() if latest_end > before}
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
        if run.running or run.outcome is Outcome.UNKNOWN:
            self._at_work[run.id] = run.latest_end
        else:
            self._at_work.pop(run.id, None)
        incident = self.open.get(run.service)
        if incident is not None and incident.id == run.incident:
            others = [other for other in incident.runs if other.id != run.id]
            runs = tuple(sorted((*others, run), key=lambda run: run.id))
            hold = None if run.running else incident.hold
            self.put_incident(msgspec.structs.replace(incident, runs=runs, hold=hold))

    def swap(self, rulebook: Rulebook, policy: Policy) -> None:
        """Go on by other rules. The firing alerts have to be admitted again; open incidents keep their own text."""
        self.rulebook, self.policy = rulebook, policy
        self.firing.clear()
        self._unheeded.clear()
        self.fleet.forget_reach()
        self._services = {name: incident.plan.service for name, incident in self.open.items()}

    def settle(self, settlement: Settlement) -> None:
        """Take in what became of an alert."""
        alerts = self.firing.get(settlement.service, {})
        if settlement.key in alerts:
            alerts[settlement.key] = msgspec.structs.replace(
                alerts[settlement.key],
                service=settlement.service,
                disposition=settlement.disposition,
                gate=settlement.gate,
                text=settlement.text,
                incident=settlement.incident,
            )

    def drop_alert(self, name: str, key: AlertKey) -> None:
        """An operator's request is over."""
        self.firing.get(name, {}).pop(key, None)

    def hold_alerts(self, name: str, hold: Hold) -> None:
        """A gate holds the alerts of a service without an incident."""
        self.waiting[name] = hold

    def release_alerts(self, name: str) -> None:
        """Nothing holds the alerts of a service any more."""
        self.waiting.pop(name, None)

    def hold_incident(self, incident: Incident, hold: Hold | None) -> None:
        """A gate holds an open incident, or none does any more."""
        current = self.open.get(incident.service)
        if current is not None and current.id == incident.id:
            self.put_incident(msgspec.structs.replace(current, hold=hold))

    def start_run(self, run: StepRun) -> None:
        """Take in a step run whose command this process runs."""
        self.put_run(run)
        self.live.add(run.id)

    def end_run(self, run: StepRun) -> None:
        """This process does not run the command of a step run any more."""
        self.live.discard(run.id)

    def put_guards(self, name: str, answers: dict[str, GuardAnswer]) -> None:
        """Take in the answers to the guards of a service's next step."""
        if name in self.open:
            self.guards[name] = answers

    def put_probe(self, name: str, at: float, failure: str | None) -> None:
        """Take in whether the target of a service could be reached; `failure` says why not."""
        if name in self.open:
            before = self.probes.get(name)
            failures = (before.failures if before is not None else 0) + 1
            self.probes[name] = ProbeAnswer(at) if failure is None else ProbeAnswer(at, failures, failure)

    def put_decision(self, name: str, text: str) -> None:
        """Remember what was decided on a service, to be shown."""
        self.decided[name] = text

    def drop_given_up(self, keep: Callable[[str], bool]) -> None:
        """Forget the services that were given up, but those to keep."""
        self.given_up = {name for name in self.given_up if keep(name)}

    # What is read from it.

    def service(self, name: str) -> Service | None:
        """The service of this name: one of the rule files, or one that an alert, a series or an incident names."""
        found = self.rulebook.named.get(name) or self._services.get(name) or self._evaluations.found_services.get(name)
        before = self.previous.get(name)
        if found is None and before is not None and before.owed:
            return before.plan.service
        return found

    def names(self) -> list[str]:
        """Every service known."""
        return sorted(self.every_name())

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

    def wants_evaluation(self, service: Service, now: float) -> bool:
        """Whether a decision on new alerts of a service has to wait for an evaluation. What alerts say of a service without
        thresholds counts by itself, if Prometheus can verify the result."""
        if self.rulebook.thresholds_for(service):
            return True
        prometheus_status = self._evaluations.status_for(service)
        return not prometheus_status.answers or now - prometheus_status.at > self.policy.stale_after / 2

    def every_name(self) -> set[str]:
        """The names of all services known."""
        return {*self.rulebook.named, *self._services, *self._evaluations.found_services}

    def every_service(self) -> Iterator[Service]:
        """All services known."""
        return (service for name in self.every_name() if (service := self.service(name)) is not None)

    def orphans(self, now: float) -> int:
        """How many commands may still be at work that this process does not run: it or another one that led was killed,
        or lost sight of them."""
        return sum(now < latest_end for run, latest_end in self._at_work.items() if run not in self.live)

    def size(self) -> int:
        """How many services are known; one that is known in several ways counts each time."""
        return len(self.rulebook.named) + len(self._services) + len(self._evaluations.found_services)

    def _forget_if_idle(self, name: str) -> None:
        if not any(name in known for known in (self.open, self.firing, self._unheeded, self.unseen)):
            self._services.pop(name, None)
            self.decided.pop(name, None)


def closing_of(incident: Incident) -> IncidentSummary:
    """How a closed incident ended."""
    closed_at, verdict = incident.closed_at or 0.0, incident.verdict or Verdict.DISMISSED
    ran = any(run.step >= 0 and (run.outcome is None or run.outcome.ran) for run in incident.runs)
    return IncidentSummary(incident.id, incident.service, closed_at, verdict, incident.relapse_of, ran)

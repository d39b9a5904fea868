"""A case: everything a decision about one service rests on, as one immutable snapshot; and what is shown of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from remediator.actions import Outcome
from remediator.alert import Source
from remediator.health import Health, Judgement, Sight, worst
from remediator.incident import DIAGNOSE, Hold, Incident, Pause, StepRun, StoredAlert
from remediator.rulebook import OnInterrupt, Plan, Rate, Rulebook, Service, Step, merged_labels

SEVERITY = {"critical": Health.FAILED, "page": Health.FAILED, "warning": Health.DEGRADED}
"""What the `severity` label of an alert means for a service that no threshold judges; any other means degraded."""


class Policy(msgspec.Struct, frozen=True):
    """What the config says about deciding. Durations are seconds."""

    auto_heal: bool = True
    stale_after: float = 30.0
    patience: float = 10.0
    """How long an alert may wait for the look at its service's thresholds that was asked for when it came."""
    look_every: float = 15.0
    """Seconds until a service with an open incident is looked at again, if nothing else makes it sooner."""
    concurrent: int = 4
    rate: tuple[Rate, ...] = (Rate(30, 3600.0),)
    severity: dict[str, Health] = msgspec.field(default_factory=lambda: dict(SEVERITY))


class GuardAnswer(msgspec.Struct, frozen=True):
    """What Prometheus said to an `if` or `unless`: true, false, or None with the reason in `text`. `expr` is the PromQL
    that was asked, with its templates filled in."""

    expr: str
    true: bool | None
    at: float
    text: str = ""


class Dependency(msgspec.Struct, frozen=True):
    """Something the service depends on, directly or not, that is in trouble and has no troubled dependency itself."""

    name: str
    health: Health
    text: str


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One service at one time. `decide` and the gates see this and nothing else.

    `alerts` are the ones that fire, oldest first. `looking` says that the thresholds have not yet been evaluated since
    the newest of them came. `choice` is what an incident opened now would carry out (with an incident open: only when
    its own runbook is not for this health); `plan` that of the open incident, or else of the choice. Budgets: `spent_here` are the start times of runs that count against the runbook's rates,
    `spent_anywhere` those against the global ones.
    """

    now: float
    service: Service
    judgement: Judgement
    policy: Policy = Policy()
    alerts: tuple[StoredAlert, ...] = ()
    looking: bool = False
    choice: Choice | None = None
    incident: Incident | None = None
    previous: Incident | None = None
    """The service's last incident that has closed."""
    live: frozenset[int] = frozenset()
    """The step runs that are under way in this process."""
    running: int = 0
    """How many step runs are under way anywhere."""
    pauses: tuple[Pause, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    guards: Mapping[str, GuardAnswer] = {}
    last_heal: StepRun | None = None
    """The last run by the same runbook for this service in an earlier incident."""
    spent_here: tuple[float, ...] = ()
    spent_anywhere: tuple[float, ...] = ()
    healing: int = 0
    """How many other services of the same runbook are being healed."""
    reach: int = 1
    """How many known services the runbook is for."""
    would: str = ""
    """The call of the next step, where it is known beforehand; for telling what would be done."""

    @property
    def health(self) -> Health:
        return self.judgement.health

    @property
    def plan(self) -> Plan | None:
        if self.incident is not None:
            return self.incident.plan
        return self.choice.plan if self.choice is not None else None

    @property
    def asked(self) -> bool:
        """Whether an operator asked for this heal: the runbook is then carried out whatever the health."""
        if self.incident is not None and self.incident.source is Source.OPERATOR:
            return True
        return any(stored.alert.source is Source.OPERATOR for stored in self.alerts)

    @property
    def forced(self) -> bool:
        """Whether an operator asked that cooldown and mode be overridden."""
        if self.incident is not None and self.incident.forced:
            return True
        return any(is_forced(stored) for stored in self.alerts)

    @property
    def rung(self) -> Rung | None:
        """The step whose turn it is, or None when none is left."""
        return next_rung(self.incident) if self.incident is not None else None


class Choice(msgspec.Struct, frozen=True):
    """The runbook for a service in trouble, and the alert it was chosen for."""

    alert: StoredAlert
    plan: Plan
    judgement: Judgement
    """The service's health, with the alert's own word where the runbook believes it."""


class Rung(msgspec.Struct, frozen=True):
    """A step and which attempt at it this would be, from 1."""

    index: int
    step: Step
    attempt: int


def next_rung(incident: Incident) -> Rung | None:
    """The step after what has been run: the next attempt at the same, or the first at the next."""
    steps = incident.plan.runbook.steps
    runs = [run for run in incident.runs if run.step != DIAGNOSE]
    if not runs:
        return Rung(0, steps[0], 1) if steps else None
    last = runs[-1]
    step = steps[last.step]
    again = last.outcome is not None and last.outcome.ran and last.attempt < step.attempts
    if again or may_rerun(incident, last):
        return Rung(last.step, step, last.attempt + 1)
    index = last.step + 1
    return Rung(index, steps[index], 1) if index < len(steps) else None


def may_rerun(incident: Incident, last: StepRun) -> bool:
    """Whether an interrupted step is to be run again. Only once in a row: a step that ends its own owner would
    otherwise be run for ever."""
    steps = incident.plan.runbook.steps
    if (
        last.outcome is not Outcome.UNKNOWN
        or last.step == DIAGNOSE
        or steps[last.step].on_interrupt is not OnInterrupt.RERUN
    ):
        return False
    earlier = [run for run in incident.runs if run.step == last.step and run.id != last.id]
    return not (earlier and earlier[-1].outcome is Outcome.UNKNOWN)


class Sighting(msgspec.Struct, frozen=True):
    """How Prometheus and the alerts are seen: `at` is when Prometheus last answered, `since` from when on it has done so
    without a gap, `quiet_since` when the last alert of the service ended."""

    at: float = 0.0
    since: float = 0.0
    quiet_since: float = 0.0


def is_forced(stored: StoredAlert) -> bool:
    """Whether an alert is an operator's request that overrides cooldown and mode."""
    return stored.alert.source is Source.OPERATOR and stored.alert.labels.get("force") == "true"


def judge(
    seen: Judgement | None,
    alerts: Sequence[StoredAlert],
    policy: Policy,
    sighting: Sighting,
    now: float,
    *,
    believe: bool,
) -> Judgement:
    """A service's health from its thresholds, and from its alerts where those are to be believed.

    `seen` is None for a service that no threshold judges; it is judged by its alerts' severity alone. That no alert
    fires then means healthy only while Prometheus answers: Alertmanager resolves the alerts of a dead Prometheus too.
    """
    if seen is not None:
        seen = seen.aged(now, policy.stale_after)
        if not believe:
            return seen
    spoken = [
        (policy.severity.get(stored.alert.labels.get("severity", ""), Health.DEGRADED), stored)
        for stored in alerts
        if stored.alert.source is Source.ALERTMANAGER
    ]
    if spoken:
        health = worst(health for health, _ in spoken)
        stored = next(stored for spoken_health, stored in spoken if spoken_health is health)
        by_alert = Judgement(health, now, stored.received_at, alert_text(stored, health))
        if seen is None:
            return by_alert
        if worst((seen.health, health)) is seen.health:
            return seen
        return msgspec.structs.replace(by_alert, readings=seen.readings)
    if seen is not None:
        return seen
    if now - sighting.at > policy.stale_after:
        text = "no threshold judges it, no alert of it fires, and Prometheus does not answer"
        return Judgement(Health.UNKNOWN, sighting.at, sighting.at, text)
    since = max(sighting.quiet_since, sighting.since)
    return Judgement(Health.HEALTHY, sighting.at, since, "no threshold judges it and no alert of it fires")


def alert_text(stored: StoredAlert, health: Health) -> str:
    """The sentence for a health that an alert speaks of."""
    severity = stored.alert.labels.get("severity", "")
    return f"alert {stored.alert.name or stored.alert.fingerprint} fires" + (
        f" with severity {severity} ({health})" if severity else f" ({health})"
    )


def choose(
    rulebook: Rulebook,
    service: Service,
    seen: Judgement | None,
    alerts: Sequence[StoredAlert],
    policy: Policy,
    sighting: Sighting,
    now: float,
) -> Choice | None:
    """The first runbook, in file order, for the service, its oldest alert that has one, and its health. An operator's
    alert comes first, and its runbook is chosen whatever the health, as is that of an alert that is not corroborated:
    the gates then say so."""
    unsuited: Choice | None = None
    for stored in sorted(alerts, key=lambda stored: stored.alert.source is not Source.OPERATOR):
        labels = merged_labels(service, stored.alert.labels)
        for runbook in rulebook.runbooks_for(labels):
            judgement = judge(seen, alerts, policy, sighting, now, believe=not runbook.corroborate)
            choice = Choice(stored, rulebook.plan(service, runbook), judgement)
            if judgement.health in runbook.when or stored.alert.source is Source.OPERATOR:
                return choice
            if unsuited is None and not judgement.health.bad:
                unsuited = choice
    return unsuited


def breached(judgement: Judgement) -> tuple[str, ...]:
    """The names of the thresholds that see trouble."""
    return tuple(reading.threshold for reading in judgement.readings if reading.health.bad)


def unseen(judgement: Judgement, required: Iterable[str]) -> tuple[str, ...]:
    """Those of the required thresholds that do not see the service healthy right now."""
    healthy = {
        reading.threshold
        for reading in judgement.readings
        if reading.health is Health.HEALTHY and reading.sight is Sight.SEEN
    }
    return tuple(name for name in required if name not in healthy)


class ServiceView(msgspec.Struct, frozen=True):
    """A service as people and programs are shown it."""

    name: str
    labels: dict[str, str]
    health: Health
    judgement: Judgement
    alerts: int
    """How many alerts of it fire."""
    runbook: str
    """The runbook that is, or would be, chosen; empty when there is none."""
    target: str
    depends_on: tuple[str, ...] = ()
    incident: int | None = None
    hold: Hold | None = None
    decision: str = ""
    """The sentence of the last decision."""


class Why(msgspec.Struct, frozen=True):
    """The account of one service: what was looked at, what was decided, and which gates say what right now."""

    service: ServiceView
    alerts: tuple[StoredAlert, ...]
    incident: Incident | None
    gates: tuple[tuple[str, str], ...]
    """Every gate in order with its sentence; an empty sentence means that it lets pass."""
    facts: dict[str, Any] = {}


__all__ = [
    "Case",
    "Choice",
    "Dependency",
    "GuardAnswer",
    "Policy",
    "Rung",
    "ServiceView",
    "Sighting",
    "Why",
    "breached",
    "choose",
    "is_forced",
    "judge",
    "may_rerun",
    "next_rung",
    "unseen",
]

"""A case: everything a decision about one service rests on, as one immutable snapshot; and what is shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from remediator.config.policy import Policy
from remediator.decision.assessment import Choice, PrometheusStatus, is_forced
from remediator.decision.next_step import NextStep, find_next_step
from remediator.model.alert import Source
from remediator.model.gate import Gate
from remediator.model.health import Health, Judgement
from remediator.model.incident import Hold, Incident, IncidentSummary, Pause, StepRun, StoredAlert, Verdict
from remediator.model.rulebook import merged_labels
from remediator.model.rules import Mode, Plan, Runbook, Service
from remediator.model.silence import Silence, Suppression
from remediator.template.compile import LabelView

_STRICTNESS = {Mode.AUTO: 0, Mode.APPROVE: 1, Mode.OBSERVE: 2}
PROBE = "probe"
"""The action of a target that says whether it can be reached."""


class GuardAnswer(msgspec.Struct, frozen=True):
    """What Prometheus said to an `if` or `unless`: true, false, or None with the reason in `text`. `expr` is the condition
    with its templates filled in, and guards by their names."""

    expr: str
    true: bool | None
    at: float
    text: str = ""


class ProbeAnswer(msgspec.Struct, frozen=True):
    """What the probe of the target said at `at`. `failures` counts how often in a row it has failed; 0 is reachable."""

    at: float
    failures: int = 0
    text: str = ""


class Dependency(msgspec.Struct, frozen=True):
    """Something the service depends on, directly or not, that is in trouble and has no troubled dependency itself; or
    that was, until it was healed at `healed_at`."""

    name: str
    health: Health
    text: str
    healed_at: float | None = None


class Panic(msgspec.Struct, frozen=True):
    """So many services turned bad within a minute that it is not them: `bad` of `total`, the first of them at `since`."""

    bad: int
    total: int
    since: float


class Window(msgspec.Struct, frozen=True):
    """A maintenance window that is open: `until` is when it closes, None when that is not in sight."""

    name: str
    until: float | None
    comment: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One service at one time. `decide` and the gates see this and nothing else.

    `alerts` are the ones that fire, oldest first. `awaits_evaluation` says that the thresholds
    have not been evaluated since the newest of them came. `choice` is what an incident opened now would carry out (with an incident open: only when
    its own runbook is not for this health); `plan` that of the open incident, or else of the choice.
    """

    now: float
    service: Service
    judgement: Judgement
    policy: Policy = Policy()
    alerts: tuple[StoredAlert, ...] = ()
    awaits_evaluation: bool = False
    choice: Choice | None = None
    incident: Incident | None = None
    previous: Incident | None = None
    """The service's last incident that has closed."""
    live: frozenset[int] = frozenset()
    """The step runs that are under way in this process."""
    running: int = 0
    """How many step runs are under way in this process, or decided on."""
    orphans: int = 0
    """How many others may still be at work: nobody saw their end."""
    pauses: tuple[Pause, ...] = ()
    window: Window | None = None
    silence: Silence | None = None
    """The silence of Alertmanager's that covers all that fires of the service; of several, the one that ends last."""
    suppression: Suppression | None = None
    """What keeps all that Alertmanager knows to fire of the service from every receiver; None when something does not."""
    prometheus_status: PrometheusStatus = PrometheusStatus()
    reconciled: bool = True
    """Whether the alerts have been compared with Alertmanager's since the start, as far as that was to be had."""
    panic: Panic | None = None
    panicked_at: float | None = None
    """When there was last a panic, while this process ran."""
    closings: tuple[IncidentSummary, ...] = ()
    """How the service's incidents of the last days ended, the oldest first."""
    dependencies: tuple[Dependency, ...] = ()
    guards: Mapping[str, GuardAnswer] = {}
    probe: ProbeAnswer | None = None
    """Whether the target could be reached when it was last asked, for this incident."""
    last_heal: StepRun | None = None
    """The last run by the same runbook for this service in an earlier incident."""
    spent_here: tuple[float, ...] = ()
    """When the runs were started that count against the runbook's rates, as far back as these go."""
    spent_anywhere: tuple[float, ...] = ()
    """When the runs were started that count against the rates of all runbooks together, as far back as these go."""
    healing: int = 0
    """How many other services of the same runbook are being healed."""
    reach: int = 1
    """How many known services the runbook is for."""
    would: str = ""
    """The call of the next step, where it is known beforehand; for telling what would be done."""
    would_have: StepRun | None = None
    """What would have been run last for the service in an earlier incident, where it is only observed."""
    current: Runbook | None = None
    """The runbook of the plan's name in the rules as they are now, for an open incident."""

    @property
    def health(self) -> Health:
        return self.judgement.health

    @property
    def plan(self) -> Plan | None:
        if self.incident is not None:
            return self.incident.plan
        return self.choice.plan if self.choice is not None else None

    @property
    def mode(self) -> Mode:
        """How much may be done without asking. An open incident follows its runbook to another mode. To one that allows
        more it does so only where nothing else has changed: what was changed with the mode may be what was wrong."""
        plan, current = self.plan, self.current
        if plan is None:
            return Mode.OBSERVE
        return plan.runbook.mode if current is None or self.keeps_text else current.mode

    @property
    def keeps_text(self) -> bool:
        """Whether an open incident keeps a mode that allows less, as its runbook was changed in other ways too."""
        plan, current = self.plan, self.current
        if plan is None or current is None or _STRICTNESS[current.mode] >= _STRICTNESS[plan.runbook.mode]:
            return False
        return msgspec.structs.replace(current, mode=plan.runbook.mode) != plan.runbook

    @property
    def observed(self) -> bool:
        """Whether nothing is run for it, whatever its gates say: its runbook or the whole program only observes."""
        if not self.policy.auto_heal:
            return True
        return self.plan is not None and self.mode is Mode.OBSERVE and not self.forced

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
    def next_step(self) -> NextStep | None:
        """The step whose turn it is, or None when none is left."""
        return find_next_step(self.incident) if self.incident is not None else None

    @property
    def probed(self) -> bool:
        """Whether the target has to be asked if it can be reached before the next step is run."""
        plan, next_step = self.plan, self.next_step
        return (
            plan is not None and next_step is not None and next_step.step.spec is None and plan.spec(PROBE) is not None
        )

    @property
    def relapse(self) -> Incident | None:
        """The incident whose recovery did not last, if this is the same trouble again: the same runbook, so soon."""
        before, plan = self.previous, self.plan
        if self.incident is not None or before is None or plan is None or before.closed_at is None:
            return None
        if before.verdict is not Verdict.RECOVERED or before.runbook != plan.runbook.name or self.asked:
            return None
        return before if self.now - before.closed_at <= plan.runbook.limits.relapse else None

    @property
    def context(self) -> dict[str, object]:
        """What templates see."""
        incident, choice, service = self.incident, self.choice, self.service
        labels, annotations = dict(service.labels), dict[str, str]()
        if incident is not None:
            labels, annotations, service = incident.labels, incident.annotations, incident.plan.service
        elif choice is not None:
            alert = choice.alert.alert
            labels, annotations = merged_labels(service, alert.labels), alert.annotations
        return {
            "labels": LabelView(labels),
            "annotations": LabelView(annotations),
            "service": {"name": service.name, "labels": LabelView(service.labels)},
            "alert": {"name": labels.get("alertname", "")},
            "incident": {"id": incident.id if incident is not None else 0},
            "runbook": {"name": self.plan.runbook.name if self.plan else ""},
            "health": str(self.health),
            "values": {r.threshold: r.value for r in self.judgement.readings if r.value is not None},
        }


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
    gates: tuple[tuple[Gate, Hold | None], ...]
    """Every gate in order with what holds there; None means that it lets pass."""
    facts: dict[str, Any] = {}

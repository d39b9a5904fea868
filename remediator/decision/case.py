"""The snapshot that a decision about one service rests on, and what people and programs are shown of it."""

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
"""The action of a target that checks whether it can be reached."""


class GuardAnswer(msgspec.Struct, frozen=True):
    """What Prometheus answered to an `if` or `unless`: true, false, or None with the reason in `text`. `expr` is the
    condition with its templates filled in. It keeps the names of guards."""

    expr: str
    true: bool | None
    at: float
    text: str = ""


class ProbeAnswer(msgspec.Struct, frozen=True):
    """The result of the target's probe at `at`. `failures` counts the failures in a row; with 0 the target is
    reachable."""

    at: float
    failures: int = 0
    text: str = ""


class Dependency(msgspec.Struct, frozen=True):
    """A direct or indirect dependency that is in trouble, and has no troubled dependency itself. If `healed_at` is set,
    it was in trouble until then."""

    name: str
    health: Health
    text: str
    healed_at: float | None = None


class Panic(msgspec.Struct, frozen=True):
    """Too many services turned bad within a minute: `bad` of `total`, the first of them at `since`. The services
    themselves are hardly the cause."""

    bad: int
    total: int
    since: float


class Window(msgspec.Struct, frozen=True):
    """A maintenance window that is open. It closes at `until`; None means that its end is not known."""

    name: str
    until: float | None
    comment: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One service at one time. `decide` and the gates see nothing else.

    `alerts` are the firing ones, oldest first. `awaits_evaluation` says that no evaluation of thresholds has ended
    since the newest alert came. `choice` is what a new incident would carry out. While an incident is open, `choice` is
    set only if the incident's own runbook is not for this health. `plan` is that of the open incident, or else that of
    the choice.
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
    """The step runs under way in this process."""
    running: int = 0
    """How many step runs are under way in this process, or decided on."""
    orphans: int = 0
    """How many other runs may still be at work, because nobody saw their end."""
    pauses: tuple[Pause, ...] = ()
    window: Window | None = None
    silence: Silence | None = None
    """The silence in Alertmanager that covers all firing alerts of the service."""
    suppression: Suppression | None = None
    """What suppresses all alerts of the service that fire in Alertmanager. None if at least one is not suppressed."""
    prometheus_status: PrometheusStatus = PrometheusStatus()
    reconciled: bool = True
    """Whether the alerts have been compared with Alertmanager's since the start, or the comparison was impossible."""
    panic: Panic | None = None
    panicked_at: float | None = None
    """When the last panic was, while this process ran."""
    closings: tuple[IncidentSummary, ...] = ()
    """How the service's incidents of the last days ended, the oldest first."""
    dependencies: tuple[Dependency, ...] = ()
    guards: Mapping[str, GuardAnswer] = {}
    probe: ProbeAnswer | None = None
    """The last result of the target's probe, for this incident."""
    last_heal: StepRun | None = None
    """The last run by the same runbook for this service in an earlier incident."""
    spent_here: tuple[float, ...] = ()
    """The starts of the runs that count against the runbook's rates, as far back as these rates reach."""
    spent_anywhere: tuple[float, ...] = ()
    """The starts of the runs that count against the rates of all runbooks together, as far back as these rates
    reach."""
    healing: int = 0
    """How many other services of the same runbook are being healed."""
    reach: int = 1
    """How many known services the runbook applies to."""
    would: str = ""
    """What the next step does, in words, if people hear of it beforehand."""
    would_have: StepRun | None = None
    """What would have been run last for the service in an earlier incident that was only observed."""
    current: Runbook | None = None
    """For an open incident: the runbook of the plan's name in the present rules."""

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
        """How much may be done without asking.

        An open incident follows its runbook to a mode that allows less. It follows to a mode that allows more only if
        nothing else has changed: what changed with the mode may be what was wrong.
        """
        plan, current = self.plan, self.current
        if plan is None:
            return Mode.OBSERVE
        return plan.runbook.mode if current is None or self.keeps_text else current.mode

    @property
    def keeps_text(self) -> bool:
        """Whether an open incident keeps a mode that allows less, because its runbook was changed in other ways too."""
        plan, current = self.plan, self.current
        if plan is None or current is None or _STRICTNESS[current.mode] >= _STRICTNESS[plan.runbook.mode]:
            return False
        return msgspec.structs.replace(current, mode=plan.runbook.mode) != plan.runbook

    @property
    def observed(self) -> bool:
        """Whether nothing runs for it, even if all gates let pass, because its runbook or the whole program only
        observes."""
        if not self.policy.auto_heal:
            return True
        return self.plan is not None and self.mode is Mode.OBSERVE and not self.forced

    @property
    def asked(self) -> bool:
        """Whether an operator asked for this heal. The runbook is then carried out at any health."""
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
        """Whether the target's probe has to succeed before the next step is run."""
        plan, next_step = self.plan, self.next_step
        return (
            plan is not None and next_step is not None and next_step.step.spec is None and plan.spec(PROBE) is not None
        )

    @property
    def relapse(self) -> Incident | None:
        """The incident whose recovery did not last, if this is the same trouble again: with the same runbook, within
        its `relapse`."""
        before, plan = self.previous, self.plan
        if self.incident is not None or before is None or plan is None or before.closed_at is None:
            return None
        if before.verdict is not Verdict.RECOVERED or before.runbook != plan.runbook.name or self.asked:
            return None
        return before if self.now - before.closed_at <= plan.runbook.limits.relapse else None

    @property
    def context(self) -> dict[str, object]:
        """The variables of templates."""
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
    """How many alerts of the service fire."""
    runbook: str
    """The runbook that is or would be chosen; empty if there is none."""
    target: str
    depends_on: tuple[str, ...] = ()
    incident: int | None = None
    hold: Hold | None = None
    decision: str = ""
    """The sentence of the last decision."""


class Why(msgspec.Struct, frozen=True):
    """The account of one service: what was evaluated, what was decided, and what each gate says now."""

    service: ServiceView
    alerts: tuple[StoredAlert, ...]
    incident: Incident | None
    gates: tuple[tuple[Gate, Hold | None], ...]
    """Every gate in order, with its hold. None means that the gate lets pass."""
    facts: dict[str, Any] = {}

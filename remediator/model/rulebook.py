"""The rules as loaded: services, thresholds, runbooks and targets, and which of them belong together.

Everything here is immutable and plain data, so that an incident can carry the text it started with (`Plan`) through a
reload and a restart. Durations are seconds. Templates are kept as text; `template` compiles and caches them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from remediator.model.action import ActionSpec
from remediator.model.durations import format_duration
from remediator.model.health import Comparison, Health
from remediator.model.matcher import Labels, Matcher, matches_all
from remediator.template.compile import LabelView, TemplateKind, compile_template


class Mode(StrEnum):
    """How much a runbook may do by itself."""

    AUTO = "auto"
    APPROVE = "approve"
    OBSERVE = "observe"


class OnInterrupt(StrEnum):
    """What to do with a step whose owner died while it ran."""

    VERIFY = "verify"
    RERUN = "rerun"
    ESCALATE = "escalate"


class Dashboard(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where in Grafana the annotations go; `panel` 0 means the whole dashboard."""

    uid: str
    panel: int = 0


class TargetRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which target reaches a service, with the parameters given (templates)."""

    name: str
    params: dict[str, str] = {}
    actions: dict[str, ActionSpec] = {}
    """Actions the service brings itself; only a target with `open` takes them."""


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a kind of service is reached: a named set of actions.

    `params` gives each parameter's default as a template; None means the service has to give it. The actions `scale`,
    `replicas` (prints the present count) and `diagnose` (prints evidence) have a meaning; all others are just run.
    Every target has the parameter `ssh` as well, whose default is the template of the same name: when it renders to a
    host, every argv is run there through ssh.
    """

    name: str
    params: dict[str, str | None] = {}
    actions: dict[str, ActionSpec] = {}
    ssh: str = ""
    open: bool = False

    @property
    def defaults(self) -> dict[str, str | None]:
        """Every parameter with its default; those that come later may rest on those before."""
        return {**self.params, "ssh": self.ssh}


class Service(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is judged and healed. `labels` always holds the service label with the name as its value.

    A templated service has a name with `{{ }}`; `Rulebook.service_for` makes a plain one of it as labels name it.
    """

    name: str
    labels: dict[str, str] = {}
    match: tuple[Matcher, ...] = ()
    target: TargetRef | None = None
    depends_on: tuple[str, ...] = ()
    dashboard: Dashboard | None = None

    @property
    def templated(self) -> bool:
        """Whether this stands for many services."""
        return "{{" in self.name


class Threshold(msgspec.Struct, frozen=True, omit_defaults=True):
    """A PromQL expression with the values that are degraded and failed. `failed` is judged first."""

    name: str
    expr: str
    match: tuple[Matcher, ...] = ()
    degraded: Comparison | None = None
    failed: Comparison | None = None
    for_: float = 0.0
    keep_for: float = 0.0
    unit: str = ""

    def judge(self, value: float) -> Health:
        """What a value means, before `for` and `keep_for`; NaN is UNKNOWN."""
        if value != value:
            return Health.UNKNOWN
        if self.failed is not None and self.failed.holds(value):
            return Health.FAILED
        if self.degraded is not None and self.degraded.holds(value):
            return Health.DEGRADED
        return Health.HEALTHY


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rung. `action` names an action of the service's target, unless `spec` says itself what to run.

    `args` are the action's arguments; scale knows `by`, `to`, `min`, `max` and `replicas` (PromQL of the present
    count). `if_` false passes the step over; `unless` true holds it back until it is false.
    """

    name: str
    action: str
    spec: ActionSpec | None = None
    args: dict[str, Any] = {}
    when: tuple[Health, ...] = (Health.DEGRADED, Health.FAILED)
    if_: str = ""
    unless: str = ""
    timeout: float | None = None
    attempts: int = 1
    on_interrupt: OnInterrupt = OnInterrupt.VERIFY


class Verify(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step has helped when the service is healthy for `healthy_for`, seen `within` this long of the step's end."""

    healthy_for: float = 30.0
    within: float = 300.0


class Rate(msgspec.Struct, frozen=True):
    """At most `count` in any `window` seconds."""

    count: int
    window: float

    def __str__(self) -> str:
        return f"{self.count}/{format_duration(self.window)}"


class Share(msgspec.Struct, frozen=True):
    """A number of services, or a percentage of them."""

    value: float
    percent: bool = False

    def of(self, total: int) -> int:
        """How many that is of `total`: rounded down, but never below one."""
        return max(1, int(total * self.value / 100) if self.percent else int(self.value))


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What keeps a runbook from doing harm by repetition."""

    cooldown: float = 300.0
    rate: tuple[Rate, ...] = ()
    blast_radius: Share | None = None
    breaker: Rate | None = None
    relapse: float = 600.0
    """Seconds after a recovery within which new trouble is the same trouble again."""


class Escalate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is added to the alerts that go to people, and after how many seconds of being held they hear of it."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    after: float = 900.0


class Runbook(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to do for which services and alerts."""

    name: str
    steps: tuple[Step, ...]
    match: tuple[Matcher, ...] = ()
    when: tuple[Health, ...] = (Health.DEGRADED, Health.FAILED)
    mode: Mode = Mode.AUTO
    approve_within: float = 3600.0
    corroborate: bool = True
    verify: Verify = Verify()
    limits: Limits = Limits()
    silence: float = 0.0
    escalate: Escalate = Escalate()
    dashboard: Dashboard | None = None


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """The text an incident started with, and finishes with."""

    service: Service
    runbook: Runbook
    target: Target | None = None

    def spec(self, action: str) -> ActionSpec | None:
        """The action of this name that the service's target offers, the service's own first."""
        own = self.service.target.actions.get(action) if self.service.target else None
        return own or (self.target.actions.get(action) if self.target else None)


class Rulebook:
    """All rules at once, with the look-ups. A reload makes a new one."""

    def __init__(
        self,
        services: Iterable[Service] = (),
        thresholds: Iterable[Threshold] = (),
        runbooks: Iterable[Runbook] = (),
        targets: Iterable[Target] = (),
        service_label: str = "service",
    ) -> None:
        self.services = tuple(services)
        self.thresholds = tuple(thresholds)
        self.runbooks = tuple(runbooks)
        self.targets = {target.name: target for target in targets}
        self.service_label = service_label
        self.named = {service.name: service for service in self.services if not service.templated}
        self._index: dict[tuple[str, str], list[int]] = {}
        self._unindexed: list[int] = []
        for order, service in enumerate(self.services):
            equality = next((m for m in service.match if m.op == "=" and m.value), None)
            if equality is None:
                self._unindexed.append(order)
            else:
                self._index.setdefault((equality.name, equality.value), []).append(order)
        self._thresholds: dict[str, tuple[Threshold, ...]] = {}

    def service_for(self, labels: Labels) -> Service | None:
        """The service that owns an alert or series with these labels: the first in file order whose matchers hold."""
        orders = list(self._unindexed)
        for label in labels.items():
            found = self._index.get(label)
            if found:
                orders += found
        if len(orders) > 1:
            orders.sort()
        for order in orders:
            service = self.services[order]
            if matches_all(service.match, labels):
                if not service.templated:
                    return service
                concrete = self._instantiate(service, labels)
                if concrete is not None:
                    return concrete
        return None

    def with_services(self, services: Iterable[Service]) -> Rulebook:
        """These rules with further services, which come after the ones of the files and never replace them."""
        added = [service for service in services if service.name not in self.named]
        return Rulebook(
            (*self.services, *added), self.thresholds, self.runbooks, self.targets.values(), self.service_label
        )

    def thresholds_for(self, service: Service) -> tuple[Threshold, ...]:
        """The thresholds that judge a service, in file order."""
        found = self._thresholds.get(service.name)
        if found is None:
            found = tuple(t for t in self.thresholds if matches_all(t.match, service.labels))
            self._thresholds[service.name] = found
        return found

    def runbooks_for(self, labels: Labels) -> Iterator[Runbook]:
        """The runbooks for these labels, in file order."""
        return (runbook for runbook in self.runbooks if matches_all(runbook.match, labels))

    def plan(self, service: Service, runbook: Runbook) -> Plan:
        """What an incident of this service by this runbook carries with it."""
        return Plan(service, runbook, self.targets.get(service.target.name) if service.target else None)

    def _instantiate(self, service: Service, labels: Labels) -> Service | None:
        """The plain service a templated one stands for with these labels, or None when a label it names is empty."""
        template = compile_template(service.name, TemplateKind.TEXT)
        used = {name: labels.get(name, "") for name in template.labels}
        if not all(used.values()):
            return None
        context = {"labels": LabelView(used)}
        name = template.render(context)
        given = {
            key: compile_template(value, TemplateKind.TEXT).render(context) for key, value in service.labels.items()
        }
        depends_on = tuple(compile_template(text, TemplateKind.TEXT).render(context) for text in service.depends_on)
        return msgspec.structs.replace(
            service, name=name, labels={**used, **given, self.service_label: name}, depends_on=depends_on
        )


def merged_labels(service: Service, alert_labels: Mapping[str, str]) -> dict[str, str]:
    """What runbooks match on and templates see: the alert's labels under the service's own, which come from the
    author of the rules and so outrank what arrives from outside."""
    return {**alert_labels, **service.labels}

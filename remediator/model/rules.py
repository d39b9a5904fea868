"""The rules as loaded: services, thresholds, runbooks and targets.

Everything here is immutable plain data: an incident stores the rules it started with (`Plan`) and keeps them through a
reload and a restart. Durations are seconds. Templates are kept as text; `template` compiles and caches them.

A struct whose fields are those of a rule file is read from one as it is. Its docstring and the descriptions of its
fields are what editors show. What is written in another way than it is kept has a struct of its own in `rules.fields`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from remediator.model.action import ActionSpec
from remediator.model.durations import format_duration
from remediator.model.field_types import (
    SCALAR_OR_LIST,
    BadHealth,
    Duration,
    Expression,
    Name,
    PositiveDuration,
    PositiveInteger,
    PromqlTemplate,
    TextTemplate,
)
from remediator.model.health import Comparison, Health
from remediator.model.matcher import Matcher


class Mode(StrEnum):
    """How much a runbook may do without asking."""

    AUTO = "auto"
    APPROVE = "approve"
    OBSERVE = "observe"


class OnInterrupt(StrEnum):
    """What to do with a step if its owner died while it ran."""

    VERIFY = "verify"
    RERUN = "rerun"
    ESCALATE = "escalate"


MATCH_HINTS = {
    "matchers": "write match:, a list of matchers",
    "matcher": "write match:, a list of matchers",
    "selector": "write match:, a list of matchers",
}
"""Remedies for the names that others give to `match`."""
BAD_HEALTHS = (Health.DEGRADED, Health.FAILED)


class Dashboard(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where in Grafana the annotations go."""

    schema_name: ClassVar[str] = "DashboardDoc"
    uid: Annotated[Name, Meta(description="The dashboard's uid, as in its address.")]
    panel: Annotated[int, Meta(description="A panel's id; without it the whole dashboard.")] = 0


class TargetRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which target reaches a service, with the parameters given (templates)."""

    name: str
    params: dict[str, str] = {}
    actions: dict[str, ActionSpec] = {}
    """Actions of the service itself; only a target with `open` takes them."""


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a kind of service is reached: a named set of actions.

    `params` has the default of each parameter, a template; with None the service must give it. The actions `scale`,
    `replicas` (prints the present count), `diagnose` (prints evidence) and `probe` (ends well where the target can be
    reached) have a meaning. All others are just run.
    Every target also has the parameter `ssh`. If it renders to a host, every argv is run there through ssh.
    """

    name: str
    params: dict[str, str | None] = {}
    actions: dict[str, ActionSpec] = {}
    ssh: str = ""
    """The default of the parameter `ssh`."""
    open: bool = False

    @property
    def defaults(self) -> dict[str, str | None]:
        """Every parameter with its default. A later one may use those before it."""
        return {**self.params, "ssh": self.ssh}


class Service(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is judged and healed. `labels` always has the service label, with the name as its value.

    A templated service has a name with `{{ }}`. `Rulebook.service_for` makes plain services of it from labels.
    """

    name: str
    labels: dict[str, str] = {}
    match: tuple[Matcher, ...] = ()
    target: TargetRef | None = None
    depends_on: tuple[str, ...] = ()
    dashboard: Dashboard | None = None
    prometheus: str = ""

    @property
    def templated(self) -> bool:
        """Whether this stands for many services."""
        return "{{" in self.name


class Threshold(msgspec.Struct, frozen=True, omit_defaults=True):
    """How well services are: a PromQL expression, and which of its values are degraded and failed."""

    schema_name: ClassVar[str] = "ThresholdDoc"
    hints: ClassVar[dict[str, str]] = {
        **MATCH_HINTS,
        "query": "write expr:, as in Prometheus' rules",
        "critical": "write failed:",
        "warning": "write degraded:",
    }
    name: Annotated[Name, Meta(description="What to call the threshold.")]
    expr: Annotated[
        Expression, Meta(description="PromQL. One query serves every service, so its series carry their labels.")
    ]
    match: Annotated[tuple[Matcher, ...], Meta(description="The services it judges, by their labels.")] = ()
    degraded: Annotated[Comparison | None, Meta(description="Which values are degraded, as '>= 0.05'.")] = None
    failed: Annotated[Comparison | None, Meta(description="Which values are failed, as '> 0.10'; judged first.")] = None
    for_: Annotated[Duration, Meta(description="How long a value must hold.")] = 0.0
    keep_for: Annotated[Duration, Meta(description="How long it stays breached after the last breach.")] = 0.0
    unit: Annotated[str, Meta(description="How to show the value: ratio, seconds, bytes, ...")] = ""
    prometheus: Annotated[
        Name, Meta(description="The Prometheus that is asked, by its name in the config; the first unless given.")
    ] = ""

    def judge(self, value: float) -> Health:
        """What a value means, before `for` and `keep_for`; NaN is UNKNOWN."""
        if value != value:
            return Health.UNKNOWN
        if self.failed is not None and self.failed.holds(value):
            return Health.FAILED
        if self.degraded is not None and self.degraded.holds(value):
            return Health.DEGRADED
        return Health.HEALTHY


class StepSettings(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """When and how a step is run, in a rule file as in the rulebook."""

    when: Annotated[
        tuple[BadHealth, ...],
        SCALAR_OR_LIST,
        Meta(description="The health at which it is run; degraded and failed by default."),
    ] = BAD_HEALTHS
    if_: Annotated[
        PromqlTemplate,
        Meta(
            description="PromQL, 1 or 0: at 0 the step is passed over. Decided once, when the step is first offered; while it is empty the step waits."
        ),
    ] = ""
    unless: Annotated[PromqlTemplate, Meta(description="PromQL, 1 or 0: the step waits while it is 1, or empty.")] = ""
    guard_empty: Annotated[
        bool, Meta(description="false: an if: or unless: that is empty is false, instead of holding the step.")
    ] = True
    timeout: Annotated[PositiveDuration | None, Meta(description="When to end it, if it has not ended.")] = None
    attempts: Annotated[PositiveInteger, Meta(description="How often to try it before going on to the next step.")] = 1
    on_interrupt: Annotated[OnInterrupt, Meta(description="What to do when remediator itself ended while it ran.")] = (
        OnInterrupt.VERIFY
    )
    prometheus: Annotated[
        Name, Meta(description="The Prometheus that if:, unless: and replicas: ask; the service's unless given.")
    ] = ""


class Step(StepSettings, frozen=True, omit_defaults=True):
    """One step of a runbook. `action` names an action of the service's target, unless `spec` says what to run.

    `args` are the action's arguments. Those of scale are `by`, `to`, `min`, `max` and `replicas` (PromQL of the present
    count).
    """

    name: str
    action: str
    spec: ActionSpec | None = None
    args: dict[str, Any] = {}


class Verify(msgspec.Struct, frozen=True):
    """When a step has helped: healthy for so long, seen within so long of its end."""

    schema_name: ClassVar[str] = "VerifyDoc"
    healthy_for: Annotated[Duration, Meta(description="How long the service must be healthy.")] = 30.0
    within: Annotated[Duration, Meta(description="How long to wait for that.")] = 300.0


class Rate(msgspec.Struct, frozen=True):
    """At most `count` in any `window` seconds."""

    count: int
    window: Duration

    def __str__(self) -> str:
        return f"{self.count}/{format_duration(self.window)}"


class Share(msgspec.Struct, frozen=True):
    """A number of services, or a percentage of them."""

    value: float
    percent: bool = False

    def of(self, total: int) -> int:
        """How many that is of `total`: rounded down, but never below one."""
        return max(1, int(total * self.value / 100) if self.percent else int(self.value))

    def __str__(self) -> str:
        return f"{self.value:g}{'%' if self.percent else ''}"


class Limits(msgspec.Struct, frozen=True):
    """What keeps a runbook from doing harm by repetition."""

    schema_name: ClassVar[str] = "LimitsDoc"
    cooldown: Annotated[Duration, Meta(description="No new heal of a service so soon after the last.")] = 300.0
    rate: Annotated[
        tuple[Rate, ...], SCALAR_OR_LIST, Meta(description="How many commands in which time: [3/1h, 7/1d].")
    ] = ()
    blast_radius: Annotated[
        Share | None, Meta(description="How many of its services may be healed at once: 3, or 30%.")
    ] = None
    breaker: Annotated[
        Rate | None, Meta(description="After so many heals that did not help or last, give the service up: 3/6h.")
    ] = None
    relapse: Annotated[
        Duration, Meta(description="Trouble so soon after a recovery is the same again: its steps go on from there.")
    ] = 600.0


class Escalate(msgspec.Struct, frozen=True):
    """What is added to the alerts that go to people."""

    schema_name: ClassVar[str] = "EscalateDoc"
    labels: Annotated[dict[Name, TextTemplate], Meta(description="Labels, as severity, which may replace others.")] = {}
    annotations: Annotated[dict[Name, TextTemplate], Meta(description="Annotations, as runbook_url.")] = {}
    after: Annotated[Duration, Meta(description="How long a heal may be held before people hear of it.")] = 900.0


class RunbookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a runbook says beside its steps, in a rule file as in the rulebook."""

    match: Annotated[
        tuple[Matcher, ...], Meta(description="For which, by the labels of the service and the alert.")
    ] = ()
    when: Annotated[
        tuple[BadHealth, ...],
        SCALAR_OR_LIST,
        Meta(description="At which health: degraded, failed or both (the default)."),
    ] = BAD_HEALTHS
    mode: Annotated[
        Mode, Meta(description="auto acts, approve asks first, observe decides and tells but runs nothing.")
    ] = Mode.AUTO
    approve_within: Annotated[
        PositiveDuration, Meta(description="How long to wait for an approval before people hear that nothing was done.")
    ] = 3600.0
    corroborate: Annotated[bool, Meta(description="false: believe an alert though the thresholds see no trouble.")] = (
        True
    )
    verify: Verify = Verify()
    limits: Limits = Limits()
    silence: Annotated[Duration, Meta(description="Hold the page to people for this long while healing.")] = 0.0
    escalate: Escalate = Escalate()
    dashboard: Dashboard | None = None


class Runbook(RunbookSettings, frozen=True):
    """What to do for which services and alerts. Stored with its defaults, which an open incident keeps when they
    change."""

    name: str
    steps: tuple[Step, ...]


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rules that an incident started with and keeps to its end."""

    service: Service
    runbook: Runbook
    target: Target | None = None

    def spec(self, action: str) -> ActionSpec | None:
        """The action of this name that the service's target offers, the service's own first."""
        own = self.service.target.actions.get(action) if self.service.target else None
        return own or (self.target.actions.get(action) if self.target else None)

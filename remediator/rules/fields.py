"""What may be written in a rule file, as typed structs; `rulefile` makes rules of them.

The docstrings and descriptions here are what editors show, and the README's reference.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, field

from remediator.config.scalars import (
    ArgumentTemplate,
    BadHealth,
    Duration,
    Expression,
    Name,
    NameTemplate,
    PositiveDuration,
    PositiveInteger,
    PromqlTemplate,
    ShellTemplate,
    TextTemplate,
    UrlTemplate,
)
from remediator.config.schema import SCALAR_OR_LIST, AdditionalKeys
from remediator.model.health import Comparison
from remediator.model.matcher import Matcher
from remediator.model.rulebook import Mode, OnInterrupt, Rate, Share

_MATCH_HINTS = {
    "matchers": "write match:, a list of matchers",
    "matcher": "write match:, a list of matchers",
    "selector": "write match:, a list of matchers",
}


class DashboardDoc(msgspec.Struct, frozen=True):
    """Where in Grafana the annotations go."""

    uid: Annotated[Name, Meta(description="The dashboard's uid, as in its address.")]
    panel: Annotated[int, Meta(description="A panel's id; without it the whole dashboard.")] = 0


class HttpDoc(msgspec.Struct, frozen=True):
    """A request to send. Every text is a template."""

    url: Annotated[UrlTemplate, Meta(description="Where to send it.")]
    method: Annotated[Name, Meta(description="POST unless given.")] = "POST"
    headers: Annotated[dict[str, TextTemplate], Meta(description="Headers to send.")] = {}
    body: Annotated[TextTemplate, Meta(description="What to send.")] = ""
    expect: Annotated[
        tuple[int, ...], Meta(description="Status codes that mean success; 200 to 299 unless given.")
    ] = ()


class ActionDoc(msgspec.Struct, frozen=True):
    """What to run: exactly one of run, shell and http."""

    hints: ClassVar[dict[str, str]] = {
        "command": "write run: with a list, or shell: with a text",
        "cmd": "write run: with a list, or shell: with a text",
        "exec": "write run: with a list, or shell: with a text",
    }
    run: Annotated[
        tuple[ArgumentTemplate, ...] | None,
        Meta(description="A command as a list of arguments. Each template is exactly one argument; there is no shell."),
    ] = None
    shell: Annotated[
        ShellTemplate | None, Meta(description="Text for sh -c. Every {{ }} is quoted as one word by itself.")
    ] = None
    http: HttpDoc | None = None
    timeout: Annotated[PositiveDuration | None, Meta(description="When to end it, if it has not ended.")] = None
    env: Annotated[dict[str, TextTemplate], Meta(description="Environment variables for the command.")] = {}
    undo: Annotated[
        Name | None, Meta(description="The action that takes this one back, run once the service has recovered.")
    ] = None


AnyAction = ActionDoc | tuple[ArgumentTemplate, ...] | ShellTemplate
"""An action: a mapping, or in short a list (run) or a text (shell)."""
OwnAction = ActionDoc | tuple[ArgumentTemplate, ...] | str
"""A parameter or an action that a service gives its target: which of them a text is, the target knows."""


class ServiceDoc(msgspec.Struct, frozen=True):
    """Who is judged and healed. A name with {{ labels.x }} stands for many services, found as they appear."""

    hints: ClassVar[dict[str, str]] = {**_MATCH_HINTS, "depends": "write depends_on:, a list of service names"}
    name: Annotated[NameTemplate, Meta(description="The service's name; a template of labels makes many services.")]
    labels: Annotated[
        dict[Name, TextTemplate], Meta(description="Labels of the service, for matchers and templates.")
    ] = {}
    match: Annotated[
        tuple[Matcher, ...],
        Meta(description="Which alerts and series are the service's; the service label with its name unless given."),
    ] = ()
    target: Annotated[
        Name | dict[Name, dict[Name, OwnAction] | None] | None,
        Meta(description="How the service is reached: a target's name, or a mapping of it to its parameters."),
    ] = None
    depends_on: Annotated[
        tuple[NameTemplate, ...], Meta(description="Services that have to be healthy for this one to be.")
    ] = ()
    dashboard: DashboardDoc | None = None


class ThresholdDoc(msgspec.Struct, frozen=True):
    """How well services are: a PromQL expression, and which of its values are degraded and failed."""

    hints: ClassVar[dict[str, str]] = {
        **_MATCH_HINTS,
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
    for_: Annotated[Duration, Meta(description="How long a value must hold.")] = field(name="for", default=0.0)
    keep_for: Annotated[Duration, Meta(description="How long it stays breached after the last breach.")] = 0.0
    unit: Annotated[str, Meta(description="How to show the value: ratio, seconds, bytes, ...")] = ""


class ScaleDoc(msgspec.Struct, frozen=True):
    """How far to scale: by so many, or to a count."""

    by: Annotated[int | None, Meta(description="How many more, or fewer when negative.")] = None
    to: Annotated[int | None, Meta(description="The count itself.")] = None
    min: Annotated[int | None, Meta(description="Never fewer than this.")] = None
    max: Annotated[int | None, Meta(description="Never more than this.")] = None
    replicas: Annotated[
        PromqlTemplate | None, Meta(description="PromQL of the present count; the target's own way unless given.")
    ] = None


class StepDoc(msgspec.Struct, frozen=True):
    """One rung: an action of the service's target, as the only key of another name, or run, shell or http."""

    hints: ClassVar[dict[str, str]] = {"on": "write when: (YAML reads a bare on as true)"}
    action: Annotated[
        dict[str, dict[str, Any] | None],
        AdditionalKeys(known=("restart", "rollback", "circuit_break")),
        Meta(description="An action of the service's target, with its arguments."),
    ]
    scale: ScaleDoc | msgspec.UnsetType = msgspec.UNSET
    run: Annotated[tuple[ArgumentTemplate, ...] | None, Meta(description="A command as a list of arguments.")] = None
    shell: Annotated[ShellTemplate | None, Meta(description="Text for sh -c.")] = None
    http: HttpDoc | None = None
    env: Annotated[dict[str, TextTemplate], Meta(description="Environment variables, for run and shell.")] = {}
    name: Annotated[Name | None, Meta(description="What to call the step; its action's name unless given.")] = None
    when: Annotated[
        tuple[BadHealth, ...] | None,
        SCALAR_OR_LIST,
        Meta(description="The health at which it is run; degraded and failed by default."),
    ] = None
    if_: Annotated[PromqlTemplate, Meta(description="PromQL; the step is passed over while it is false.")] = field(
        name="if", default=""
    )
    unless: Annotated[PromqlTemplate, Meta(description="PromQL; the step waits while it is true.")] = ""
    timeout: Annotated[PositiveDuration | None, Meta(description="When to end it, if it has not ended.")] = None
    attempts: Annotated[PositiveInteger, Meta(description="How often to try it before going on to the next step.")] = 1
    on_interrupt: Annotated[OnInterrupt, Meta(description="What to do when remediator itself ended while it ran.")] = (
        OnInterrupt.VERIFY
    )


class VerifyDoc(msgspec.Struct, frozen=True):
    """When a step has helped: healthy for so long, seen within so long of its end."""

    healthy_for: Annotated[Duration, Meta(description="How long the service must be healthy.")] = 30.0
    within: Annotated[Duration, Meta(description="How long to wait for that.")] = 300.0


class LimitsDoc(msgspec.Struct, frozen=True):
    """What keeps a runbook from doing harm by repetition."""

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
        Duration, Meta(description="Trouble so soon after a recovery is the same again: the ladder goes on from there.")
    ] = 600.0


class EscalateDoc(msgspec.Struct, frozen=True):
    """What is added to the alerts that go to people."""

    labels: Annotated[dict[Name, TextTemplate], Meta(description="Labels, as severity, which may replace others.")] = {}
    annotations: Annotated[dict[Name, TextTemplate], Meta(description="Annotations, as runbook_url.")] = {}
    after: Annotated[Duration, Meta(description="How long a heal may be held before people hear of it.")] = 900.0


class RunbookDoc(msgspec.Struct, frozen=True):
    """What to do, for which services and alerts. The first runbook whose match and when fit is carried out."""

    hints: ClassVar[dict[str, str]] = {
        **_MATCH_HINTS,
        "on": "write when: (YAML reads a bare on as true)",
        "cooldown": "write it under limits:",
        "rate": "write it under limits:",
        "healthy_for": "write it under verify:",
        "within": "write it under verify:",
    }
    name: Annotated[Name, Meta(description="What to call the runbook.")]
    steps: Annotated[tuple[Name | StepDoc, ...], Meta(description="What to try, one after another.")]
    match: Annotated[
        tuple[Matcher, ...], Meta(description="For which, by the labels of the service and the alert.")
    ] = ()
    when: Annotated[
        tuple[BadHealth, ...] | None,
        SCALAR_OR_LIST,
        Meta(description="At which health: degraded, failed or both (the default)."),
    ] = None
    mode: Annotated[
        Mode, Meta(description="auto acts, approve asks first, observe decides and tells but runs nothing.")
    ] = Mode.AUTO
    approve_within: Annotated[
        PositiveDuration, Meta(description="How long to wait for an approval before people hear that nothing was done.")
    ] = 3600.0
    corroborate: Annotated[bool, Meta(description="false: believe an alert though the thresholds see no trouble.")] = (
        True
    )
    verify: VerifyDoc = VerifyDoc()
    limits: LimitsDoc = LimitsDoc()
    silence: Annotated[Duration, Meta(description="Hold the page to people for this long while healing.")] = 0.0
    escalate: EscalateDoc = EscalateDoc()
    dashboard: DashboardDoc | None = None


class TargetDoc(msgspec.Struct, frozen=True):
    """How a kind of service is reached: a named set of actions, with parameters."""

    name: Annotated[Name, Meta(description="What services call the target.")]
    actions: Annotated[
        dict[Name, AnyAction],
        Meta(description="What can be done. scale, replicas (prints the present count) and diagnose have a meaning."),
    ] = {}
    params: Annotated[
        dict[Name, TextTemplate | None],
        Meta(description="Parameters with their defaults; nothing means that the service has to give it."),
    ] = {}
    ssh: Annotated[
        TextTemplate,
        Meta(
            description="The default of the parameter ssh, a host: when it renders to one, commands run there by ssh."
        ),
    ] = ""
    open: Annotated[bool, Meta(description="true: services may bring actions of their own.")] = False


class RuleFileDoc(msgspec.Struct, frozen=True):
    """A rule file of remediator. Lists of all rule files are merged."""

    hints: ClassVar[dict[str, str]] = {
        "groups": "this looks like a rule file of Prometheus; remediator's have services, thresholds, runbooks, targets"
    }
    services: Annotated[tuple[ServiceDoc, ...], Meta(description="Who.")] = ()
    thresholds: Annotated[tuple[ThresholdDoc, ...], Meta(description="How well.")] = ()
    runbooks: Annotated[tuple[RunbookDoc, ...], Meta(description="What to do.")] = ()
    targets: Annotated[tuple[TargetDoc, ...], Meta(description="How.")] = ()

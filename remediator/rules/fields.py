"""What is written in a rule file in another way than it is kept, as typed structs. `loader` makes rules of them.

All other structs of rule files are in `model.rules` and `model.action`. The docstrings and descriptions are what
editors show.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from remediator.config.schema import AdditionalKeys, PartialOf
from remediator.config.struct_schema import Partial
from remediator.model.action import ActionSpec, HttpSpec
from remediator.model.field_types import (
    SCALAR_OR_LIST,
    ArgumentTemplate,
    Name,
    NameTemplate,
    PromqlTemplate,
    ShellTemplate,
    TextTemplate,
)
from remediator.model.matcher import Matcher
from remediator.model.rules import MATCH_HINTS, Dashboard, RunbookSettings, StepSettings, Threshold

AnyAction = ActionSpec | tuple[ArgumentTemplate, ...] | ShellTemplate
"""An action: a mapping, or in short a list (run) or a text (shell)."""
OwnAction = ActionSpec | tuple[ArgumentTemplate, ...] | str
"""A parameter or an action that a service gives its target: which of them a text is, the target knows."""


class ServiceDoc(msgspec.Struct, frozen=True):
    """Who is judged and healed. A name with {{ labels.x }} stands for many services, found as they appear."""

    hints: ClassVar[dict[str, str]] = {**MATCH_HINTS, "depends": "write depends_on:, a list of service names"}
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
    dashboard: Dashboard | None = None
    prometheus: Annotated[
        Name, Meta(description="The Prometheus that sees it, by its name in the config; the first unless given.")
    ] = ""


class ScaleDoc(msgspec.Struct, frozen=True):
    """How far to scale: by so many, or to a count."""

    by: Annotated[int | None, Meta(description="How many more, or fewer when negative.")] = None
    to: Annotated[int | None, Meta(description="The count itself.")] = None
    min: Annotated[int | None, Meta(description="Never fewer than this.")] = None
    max: Annotated[int | None, Meta(description="Never more than this.")] = None
    replicas: Annotated[
        PromqlTemplate | None, Meta(description="PromQL of the present count; the target's own way unless given.")
    ] = None


class StepDoc(StepSettings, frozen=True):
    """One step: an action of the service's target, as the only key of another name, or run, shell or http."""

    hints: ClassVar[dict[str, str]] = {"on": "write when: (YAML reads a bare on as true)"}
    action: Annotated[
        dict[str, dict[str, Any] | None],
        AdditionalKeys(known=("restart", "rollback", "circuit_break")),
        Meta(description="An action of the service's target, with its arguments."),
    ]
    scale: ScaleDoc | msgspec.UnsetType = msgspec.UNSET
    run: Annotated[tuple[ArgumentTemplate, ...] | None, Meta(description="A command as a list of arguments.")] = None
    shell: Annotated[ShellTemplate | None, Meta(description="Text for sh -c.")] = None
    http: HttpSpec | None = None
    env: Annotated[dict[str, TextTemplate], Meta(description="Environment variables, for run and shell.")] = (
        msgspec.field(default_factory=dict)
    )
    name: Annotated[Name | None, Meta(description="What to call the step; its action's name unless given.")] = None


class RunbookDoc(RunbookSettings, frozen=True):
    """What to do, for which services and alerts. The first runbook whose match and when fit is carried out."""

    hints: ClassVar[dict[str, str]] = {
        **MATCH_HINTS,
        "on": "write when: (YAML reads a bare on as true)",
        "cooldown": "write it under limits:",
        "rate": "write it under limits:",
        "healthy_for": "write it under verify:",
        "within": "write it under verify:",
    }
    name: Annotated[Name, Meta(description="What to call the runbook.")]
    steps: Annotated[tuple[Name | StepDoc, ...], Meta(description="What to try, one after another.")]


class TargetDoc(msgspec.Struct, frozen=True):
    """How a kind of service is reached: a named set of actions, with parameters."""

    name: Annotated[Name, Meta(description="What services call the target.")]
    actions: Annotated[
        dict[Name, AnyAction],
        Meta(
            description="What can be done. scale, replicas (prints the present count), diagnose and probe (ends well where the target can be reached) have a meaning."
        ),
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


class OverrideDoc(msgspec.Struct, frozen=True):
    """What is changed of the rules of the extended files, by name: keys that are written replace theirs."""

    services: Annotated[tuple[Partial, ...], PartialOf(ServiceDoc), Meta(description="Changed services.")] = ()
    thresholds: Annotated[tuple[Partial, ...], PartialOf(Threshold), Meta(description="Changed thresholds.")] = ()
    runbooks: Annotated[tuple[Partial, ...], PartialOf(RunbookDoc), Meta(description="Changed runbooks.")] = ()
    targets: Annotated[
        tuple[Partial, ...], PartialOf(TargetDoc), Meta(description="Changed targets, shipped ones included.")
    ] = ()


class RuleFileDoc(msgspec.Struct, frozen=True):
    """A rule file of remediator. Lists of all rule files are merged."""

    hints: ClassVar[dict[str, str]] = {
        "groups": "this looks like a rule file of Prometheus; remediator's have services, thresholds, runbooks, targets"
    }
    services: Annotated[tuple[ServiceDoc, ...], Meta(description="Who.")] = ()
    thresholds: Annotated[tuple[Threshold, ...], Meta(description="How well.")] = ()
    runbooks: Annotated[tuple[RunbookDoc, ...], Meta(description="What to do.")] = ()
    targets: Annotated[tuple[TargetDoc, ...], Meta(description="How.")] = ()
    extends: Annotated[
        tuple[Name, ...],
        SCALAR_OR_LIST,
        Meta(description="Rule files that this one builds on: beside it, or of the package, as remediator/kubernetes."),
    ] = ()
    override: OverrideDoc = OverrideDoc()

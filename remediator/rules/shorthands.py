"""The shorthands of rule files end here: a step that is one word, a target that is a name, a service without matchers.

Each function makes one rule of what `fields` has read, and reports what is wrong with it in its document.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from remediator.config.document import Path_
from remediator.errors import TemplateError
from remediator.model.action import ActionSpec
from remediator.model.matcher import Matcher
from remediator.model.rules import Runbook, RunbookSettings, Service, Step, StepSettings, Target, TargetRef
from remediator.rules.fields import (
    AnyAction,
    OwnAction,
    RunbookDoc,
    ScaleDoc,
    ServiceDoc,
    StepDoc,
    TargetDoc,
)
from remediator.rules.guards import UnknownGuardError, with_guards
from remediator.template.compile import TemplateKind, compile_template

T = TypeVar("T")
_STEP_SETTINGS = tuple(name.removesuffix("_") for name in StepSettings.__struct_fields__)
"""The keys of a step that say when and how it is run."""
_STEP_KEYS = ("name", *_STEP_SETTINGS, "env", "run", "shell", "http")


class Origin(Protocol):
    """Where a rule comes from: a document, or an entry with overrides in others."""

    def report(self, path: Path_, check: str, message: str, remedy: str = "", *, offset: int | None = None) -> None:
        """Note a problem at a path."""
        ...

    def whole(self, *path: str | int) -> bool:
        """Whether no error has been found within the value at a path."""
        ...

    def indexes(self, values: tuple[object, ...]) -> Iterable[int]:
        """Where in its list each of the values stands."""
        ...


def items(document: Origin, values: tuple[T, ...]) -> list[tuple[int, T]]:
    """The items of a list that could be read, each with its index in the document."""
    return list(zip(document.indexes(values), values, strict=True))


def make_service(
    document: Origin, doc: ServiceDoc, path: Path_, targets: Mapping[str, Target], service_label: str
) -> Service:
    """The service that a document has. `targets` are all that there are."""
    given = doc.labels.get(service_label, doc.name)
    if given != doc.name:
        message = f"the label {service_label} always holds the service's name"
        document.report((*path, "labels", service_label), "label-conflict", message, "take the label away")
    templated = "{{" in doc.name
    match = doc.match or (() if templated else (Matcher(service_label, "=", doc.name),))
    return Service(
        name=doc.name,
        labels={**doc.labels, service_label: doc.name},
        match=match,
        target=_target_ref(document, doc.target, (*path, "target"), targets),
        depends_on=doc.depends_on,
        dashboard=doc.dashboard,
        prometheus=doc.prometheus,
    )


def _target_ref(
    document: Origin,
    doc: str | dict[str, dict[str, OwnAction] | None] | None,
    path: Path_,
    targets: Mapping[str, Target],
) -> TargetRef | None:
    if doc is None or isinstance(doc, str):
        return None if doc is None else TargetRef(doc)
    if len(doc) != 1:
        if document.whole(*path):
            message = f"a service has one target, here are {len(doc)}"
            document.report(path, "one-target", message, "write target: {name: {parameter: value}}")
        return None
    name, given = next(iter(doc.items()))
    target = targets.get(name)
    params: dict[str, str] = {}
    actions: dict[str, ActionSpec] = {}
    for key, value in (given or {}).items():
        place = (*path, name, key)
        if target is not None and target.open and key not in target.defaults:
            if not isinstance(value, str) or _compiles(document, value, TemplateKind.SHELL, place):
                spec = _spec(document, value, place)
                if spec is not None:
                    actions[key] = spec
        elif isinstance(value, str):
            if _compiles(document, value, TemplateKind.TEXT, place):
                params[key] = value
        elif target is not None:
            message = f"target {name} takes a text as its parameter {key}, and no actions from a service"
            document.report(place, "wrong-type", message, "give a text, or use the target named command")
    return TargetRef(name, params, actions)


def _compiles(document: Origin, text: str, kind: TemplateKind, path: Path_) -> bool:
    try:
        compile_template(text, kind)
    except TemplateError as error:
        document.report(path, "bad-template", str(error), offset=error.offset)
        return False
    return True


def make_runbook(document: Origin, doc: RunbookDoc, path: Path_) -> Runbook:
    """The runbook that a document has."""
    steps = [_step(document, step, (*path, "steps", index)) for index, step in items(document, doc.steps)]
    return Runbook(name=doc.name, steps=tuple(steps), **_same(doc, RunbookSettings))


def _step(document: Origin, doc: str | StepDoc, path: Path_) -> Step:
    if isinstance(doc, str):
        return Step(name=doc, action=doc)
    action, args, spec = _step_action(document, doc, path)
    for key, text in (("if", doc.if_), ("unless", doc.unless)):
        _check_guards(document, text, (*path, key))
    return Step(name=doc.name or action, action=action, spec=spec, args=args, **_same(doc, StepSettings))


def _same(doc: msgspec.Struct, settings: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields that a rule has as they are written."""
    return {name: getattr(doc, name) for name in settings.__struct_fields__}


def _check_guards(document: Origin, text: str, path: Path_) -> None:
    """Report the first guard in a text that does not exist."""
    try:
        with_guards(text)
    except UnknownGuardError as error:
        document.report(path, "unknown-guard", str(error), error.remedy, offset=error.offset)


def _step_action(document: Origin, doc: StepDoc, path: Path_) -> tuple[str, dict[str, Any], ActionSpec | None]:
    """The step's action, its arguments, and what it runs when it says so itself."""
    given = {name: args or {} for name, args in doc.action.items()}
    if isinstance(doc.scale, ScaleDoc):
        pairs = {name: getattr(doc.scale, name) for name in ("by", "to", "min", "max", "replicas")}
        given["scale"] = {name: value for name, value in pairs.items() if value is not None}
    own = [name for name, value in (("run", doc.run), ("shell", doc.shell), ("http", doc.http)) if value is not None]
    names = [*given, *own]
    if len(names) > 1:
        misspelt = {name: difflib.get_close_matches(name, _STEP_KEYS, n=1, cutoff=0.7) for name in given}
        for name, close in misspelt.items():
            if close:
                remedy = f"did you mean {close[0]}?"
                document.report((*path, name), "unknown-key", f"unknown key {name!r}", remedy)
        if not any(misspelt.values()):
            message = f"a step is one action, here are {len(names)}: {', '.join(names)}"
            document.report(path, "one-action", message, "make a step of each")
    if not names:
        if document.whole(*path):
            document.report(path, "one-action", "this step has no action", "add one, such as restart:")
        return "", {}, None
    if not own:
        action, args = names[0], given[names[0]]
        for name in filter(args.__contains__, _STEP_SETTINGS):
            # As an argument nobody would ask for it, and what it is to hold would run.
            message, remedy = f"{name} is a key of the step, not of its action", f"write it beside {action}:"
            document.report((*path, action, name), "unknown-key", message, remedy)
        wrong = [
            name
            for name, value in args.items()
            if isinstance(value, str)
            and action != "scale"
            and not _compiles(document, value, TemplateKind.TEXT, (*path, action, name))
        ]
        return action, {name: value for name, value in args.items() if name not in wrong}, None
    spec = _spec(document, ActionSpec(run=doc.run, shell=doc.shell, http=doc.http, env=doc.env), path)
    return own[0], {}, spec or ActionSpec()


def make_target(document: Origin, doc: TargetDoc, path: Path_) -> Target:
    """The target that a document has."""
    actions = {name: _spec(document, action, (*path, "actions", name)) for name, action in doc.actions.items()}
    if "ssh" in doc.params:
        message = "every target has the parameter ssh already: the host that commands run on"
        document.report((*path, "params", "ssh"), "equal-names", message, "write its default as ssh: beside params")
    return Target(
        name=doc.name,
        params=doc.params,
        actions={name: spec for name, spec in actions.items() if spec is not None},
        ssh=doc.ssh,
        open=doc.open,
    )


def _spec(document: Origin, doc: AnyAction | OwnAction, path: Path_) -> ActionSpec | None:
    if isinstance(doc, str):
        return ActionSpec(shell=doc)
    if isinstance(doc, tuple):
        doc = ActionSpec(run=doc)
    given = [name for name, value in (("run", doc.run), ("shell", doc.shell), ("http", doc.http)) if value is not None]
    if len(given) != 1:
        if document.whole(*path):
            message = f"an action is exactly one of run, shell and http, here are {len(given)}"
            document.report(path, "one-action", message, "write run: [program, argument]")
        return None
    if doc.run is not None and not any(doc.run[:1]):
        document.report(path, "empty-command", "there is no program to run", "write run: [program, argument]")
        return None
    return doc

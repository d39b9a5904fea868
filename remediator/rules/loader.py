"""Rule files to rules: what `ruledoc` read becomes a `Rulebook`, or every problem at once.

Shorthands end here: a step that is just a word, a target that is just a name, a service without matchers.
"""

from __future__ import annotations

import contextlib
import difflib
import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from remediator.config.document import Document, Path_, open_document
from remediator.config.schema import read_document
from remediator.errors import ConfigError, TemplateError
from remediator.model.action import ActionSpec, HttpSpec
from remediator.model.health import Health
from remediator.model.matcher import Matcher
from remediator.model.rulebook import (
    Dashboard,
    Escalate,
    Limits,
    Rulebook,
    Runbook,
    Service,
    Step,
    Target,
    TargetRef,
    Threshold,
    Verify,
)
from remediator.problem import Position, Problem, Severity
from remediator.rules.checks import find_problems
from remediator.rules.fields import (
    ActionDoc,
    AnyAction,
    DashboardDoc,
    HttpDoc,
    OwnAction,
    RuleFileDoc,
    RunbookDoc,
    ScaleDoc,
    ServiceDoc,
    StepDoc,
    TargetDoc,
    ThresholdDoc,
)
from remediator.rules.guards import UnknownGuardError, with_guards
from remediator.rules.lints import find_warnings
from remediator.rules.ruleset import Located, RuleSet
from remediator.template.compile import TemplateKind, compile_template

T = TypeVar("T")
_BOTH = (Health.DEGRADED, Health.FAILED)
_OF_STEPS = ("when", "if", "unless", "timeout", "attempts", "on_interrupt")
"""The keys of a step that say when and how it is run."""
_STEP_FIELDS = ("name", *_OF_STEPS, "env", "run", "shell", "http")


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection: of ten thousand services come a million objects, all of which stay, and to look for
    garbage among them again and again takes as long as to read them."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def load_rules(
    paths: Sequence[Path], *, service_label: str, evaluation_interval: float = 0.0
) -> tuple[Rulebook, list[Problem]]:
    """The rules of these files together, with the warnings about them. ConfigError, with every problem of all files,
    when there is any error."""
    with _uncollected():
        documents = [open_document(path) for path in paths]
        rules, problems = read_rules(documents, service_label=service_label, evaluation_interval=evaluation_interval)
        if any(problem.severity is Severity.ERROR for problem in problems):
            raise ConfigError(problems)
        return make_rulebook(rules), problems


def read_rules(
    documents: Sequence[Document], *, service_label: str, evaluation_interval: float = 0.0
) -> tuple[RuleSet, list[Problem]]:
    """As much of the rules as could be read, and every problem, in the order of the files and their lines.
    `evaluation_interval` is in seconds, 0 when it is not known."""
    read = [(document, read_document(document, RuleFileDoc)) for document in documents]
    files = [(document, doc) for document, doc in read if doc is not None]
    targets = [
        _located(document, _target(document, doc, ("targets", index)), "targets", index)
        for document, file in files
        for index, doc in _items(document, file.targets)
    ]
    shipped = shipped_targets()
    known = {**shipped, **{target.item.name: target.item for target in targets}}
    rules = RuleSet(
        services=[
            _located(document, _service(document, doc, ("services", index), known, service_label), "services", index)
            for document, file in files
            for index, doc in _items(document, file.services)
        ],
        thresholds=[
            _located(document, _threshold(doc), "thresholds", index)
            for document, file in files
            for index, doc in _items(document, file.thresholds)
        ],
        runbooks=[
            _located(document, _runbook(document, doc, ("runbooks", index)), "runbooks", index, doc.steps)
            for document, file in files
            for index, doc in _items(document, file.runbooks)
        ],
        targets=targets,
        shipped=shipped,
        service_label=service_label,
        evaluation_interval=evaluation_interval,
    )
    problems = [problem for document in documents for problem in document.problems] + find_problems(rules)
    problems += find_warnings(rules)
    of_file = {document.file: document for document in documents}
    problems = [problem for problem in problems if of_file[problem.position.file].tells(problem)]
    order = {document.file: index for index, document in enumerate(documents)}
    return rules, sorted(set(problems), key=lambda problem: _order(order, problem))


def make_rulebook(rules: RuleSet) -> Rulebook:
    """The look-ups over a rule set without errors."""
    return Rulebook(
        (service.item for service in rules.services),
        (threshold.item for threshold in rules.thresholds),
        (runbook.item for runbook in rules.runbooks),
        rules.all_targets.values(),
        rules.service_label,
    )


def service_from_document(document: Mapping[str, Any], rulebook: Rulebook) -> Service:
    """A service that someone adds while remediator runs, in the words of a rule file. ConfigError when it is none, or
    does not fit the rules; whether its name is taken is for the caller to say. Takes as long as checking a rule file
    with all the services there are."""
    text = json.dumps({"services": [document]}, indent=2, ensure_ascii=False)
    file = Document("service", text)
    read = read_document(file, RuleFileDoc)
    if read is None or not read.services:
        raise ConfigError(file.problems)
    added = _service(file, read.services[0], ("services", 0), rulebook.targets, rulebook.service_label)
    services = [Located(service, _no_position) for service in rulebook.services if service.name != added.name]
    services.append(_located(file, added, "services", 0))
    rules = RuleSet(services, (), (), (), rulebook.targets, rulebook.service_label)
    problems = [*file.problems, *find_problems(rules)]
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(problems)
    return added


@cache
def shipped_targets() -> Mapping[str, Target]:
    """The targets that come with the package, by name. ConfigError when one of their files is wrong."""
    targets: dict[str, Target] = {}
    for file in sorted(resources.files("remediator.targets").iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".yml"):
            continue
        document = Document(f"remediator/targets/{file.name}", file.read_text(encoding="utf-8"))
        doc = read_document(document, RuleFileDoc)
        for index, item in _items(document, doc.targets if doc else ()):
            targets[item.name] = _target(document, item, ("targets", index))
        if document.problems:
            raise ConfigError(document.problems)
    return targets


def _items(document: Document, values: tuple[T, ...]) -> list[tuple[int, T]]:
    return list(zip(document.indexes(values), values, strict=True))


def _located(document: Document, item: T, kind: str, index: int, steps: tuple[object, ...] = ()) -> Located[T]:
    places = list(document.indexes(steps))

    def at(*path: str | int, offset: int | None = None, key: bool = False) -> Position:
        match path:
            case ("steps", int(step), *rest) if step < len(places):
                path = ("steps", places[step], *rest)
        return document.position(kind, index, *path, offset=offset, key=key)

    return Located(item, at, document.whole(kind, index))


def _no_position(*path: str | int, offset: int | None = None, key: bool = False) -> Position:
    return Position("", 0, 0)


def _order(order: Mapping[str, int], problem: Problem) -> tuple[int, int, int, str, str]:
    place = problem.position
    return order.get(place.file, len(order)), place.line, place.column, problem.check, problem.message


def _service(
    document: Document, doc: ServiceDoc, path: Path_, targets: Mapping[str, Target], service_label: str
) -> Service:
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
        dashboard=_dashboard(doc.dashboard),
    )


def _target_ref(
    document: Document,
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


def _compiles(document: Document, text: str, kind: TemplateKind, path: Path_) -> bool:
    try:
        compile_template(text, kind)
    except TemplateError as error:
        document.report(path, "bad-template", str(error), offset=error.offset)
        return False
    return True


def _threshold(doc: ThresholdDoc) -> Threshold:
    return Threshold(
        name=doc.name,
        expr=doc.expr.rstrip(),
        match=doc.match,
        degraded=doc.degraded,
        failed=doc.failed,
        for_=doc.for_,
        keep_for=doc.keep_for,
        unit=doc.unit,
    )


def _runbook(document: Document, doc: RunbookDoc, path: Path_) -> Runbook:
    steps = [_step(document, step, (*path, "steps", index)) for index, step in _items(document, doc.steps)]
    return Runbook(
        name=doc.name,
        steps=tuple(steps),
        match=doc.match,
        when=_BOTH if doc.when is None else doc.when,
        mode=doc.mode,
        approve_within=doc.approve_within,
        corroborate=doc.corroborate,
        verify=Verify(doc.verify.healthy_for, doc.verify.within),
        limits=Limits(
            doc.limits.cooldown, doc.limits.rate, doc.limits.blast_radius, doc.limits.breaker, doc.limits.relapse
        ),
        silence=doc.silence,
        escalate=Escalate(doc.escalate.labels, doc.escalate.annotations, doc.escalate.after),
        dashboard=_dashboard(doc.dashboard),
    )


def _step(document: Document, doc: str | StepDoc, path: Path_) -> Step:
    if isinstance(doc, str):
        return Step(name=doc, action=doc)
    action, args, spec = _step_action(document, doc, path)
    return Step(
        name=doc.name or action,
        action=action,
        spec=spec,
        args=args,
        when=_BOTH if doc.when is None else doc.when,
        if_=_guarded(document, doc.if_, (*path, "if")),
        unless=_guarded(document, doc.unless, (*path, "unless")),
        timeout=doc.timeout,
        attempts=doc.attempts,
        on_interrupt=doc.on_interrupt,
    )


def _guarded(document: Document, text: str, path: Path_) -> str:
    """The text as it is, with a problem noted for each guard in it that does not exist."""
    try:
        with_guards(text)
    except UnknownGuardError as error:
        document.report(path, "unknown-guard", str(error), error.remedy, offset=error.offset)
    return text


def _step_action(document: Document, doc: StepDoc, path: Path_) -> tuple[str, dict[str, Any], ActionSpec | None]:
    """The step's action, its arguments, and what it runs when it says so itself."""
    given = {name: args or {} for name, args in doc.action.items()}
    if isinstance(doc.scale, ScaleDoc):
        pairs = {name: getattr(doc.scale, name) for name in ("by", "to", "min", "max", "replicas")}
        given["scale"] = {name: value for name, value in pairs.items() if value is not None}
    own = [name for name, value in (("run", doc.run), ("shell", doc.shell), ("http", doc.http)) if value is not None]
    names = [*given, *own]
    if len(names) > 1:
        misspelt = {name: difflib.get_close_matches(name, _STEP_FIELDS, n=1, cutoff=0.7) for name in given}
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
        for name in filter(args.__contains__, _OF_STEPS):
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
    spec = _spec(document, ActionDoc(run=doc.run, shell=doc.shell, http=doc.http, env=doc.env), path)
    return own[0], {}, spec or ActionSpec()


def _target(document: Document, doc: TargetDoc, path: Path_) -> Target:
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


def _spec(document: Document, doc: AnyAction | OwnAction, path: Path_) -> ActionSpec | None:
    if isinstance(doc, str):
        return ActionSpec(shell=doc)
    if isinstance(doc, tuple):
        doc = ActionDoc(run=doc)
    given = [name for name, value in (("run", doc.run), ("shell", doc.shell), ("http", doc.http)) if value is not None]
    if len(given) != 1:
        if document.whole(*path):
            message = f"an action is exactly one of run, shell and http, here are {len(given)}"
            document.report(path, "one-action", message, "write run: [program, argument]")
        return None
    if doc.run is not None and not any(doc.run[:1]):
        document.report(path, "empty-command", "there is no program to run", "write run: [program, argument]")
        return None
    return ActionSpec(
        run=doc.run, shell=doc.shell, http=_http(doc.http), timeout=doc.timeout, env=doc.env, undo=doc.undo or ""
    )


def _http(doc: HttpDoc | None) -> HttpSpec | None:
    if doc is None:
        return None
    return HttpSpec(url=doc.url, method=doc.method, headers=doc.headers, body=doc.body, expect=doc.expect)


def _dashboard(doc: DashboardDoc | None) -> Dashboard | None:
    return None if doc is None else Dashboard(doc.uid, doc.panel)

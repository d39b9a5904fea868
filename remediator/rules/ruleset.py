"""The rules of all files with their positions, and the questions that checks and lints ask about them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from remediator.config.document import Document, Path_
from remediator.model.action import ActionSpec
from remediator.model.health import Comparison
from remediator.model.matcher import Matcher
from remediator.model.rules import Runbook, Service, Step, Target, Threshold
from remediator.problem import Position
from remediator.template.compile import TemplateKind, compile_template, templated

T = TypeVar("T")


class Locate(Protocol):
    """The position of the value at a path within a rule, or of its key. If there is none, the nearest around it."""

    def __call__(self, *path: str | int, offset: int | None = None, key: bool = False) -> Position: ...


@dataclass(frozen=True)
class Located(Generic[T]):
    """A rule with its position in a file. `whole` is false when a part of it could not be read."""

    item: T
    at: Locate
    whole: bool = True


@dataclass(frozen=True)
class RuleSet:
    """The rules of all files, as far as they could be read. `shipped` are the targets that come with the package."""

    services: Sequence[Located[Service]]
    thresholds: Sequence[Located[Threshold]]
    runbooks: Sequence[Located[Runbook]]
    targets: Sequence[Located[Target]]
    shipped: Mapping[str, Target]
    service_label: str
    evaluation_interval: float = 0.0
    documents: tuple[Document, ...] = ()
    """All files of the rules, those that others extend included."""
    """Seconds between two evaluations of the thresholds. 0 when there is no such interval, or it is unknown."""

    prometheis: frozenset[str] | None = None
    """The names of the config's Prometheis; None when they are not known."""

    @property
    def all_targets(self) -> dict[str, Target]:
        """Every target by name. One of a rule file replaces the shipped one."""
        return {**self.shipped, **{located.item.name: located.item for located in self.targets}}

    @property
    def unread_targets(self) -> set[str]:
        """Targets that were not read completely, so that nothing is concluded from them."""
        return {located.item.name for located in self.targets if not located.whole}


class Used(NamedTuple):
    """A template where it is used; `variables` are those that have a value there."""

    at: Locate
    path: Path_
    text: str
    kind: TemplateKind
    variables: frozenset[str]


_CONTEXT = frozenset(
    {"labels", "annotations", "service", "alert", "incident", "runbook", "health", "values", "args", "replicas"}
)
_IN_ACTIONS = _CONTEXT | {"given"}
_IN_PAGES = _CONTEXT - {"args", "replicas"}


def steps_of(rules: RuleSet) -> Iterator[tuple[Located[Runbook], int, Step]]:
    """Every step with its runbook and index."""
    for runbook in rules.runbooks:
        for index, step in enumerate(runbook.item.steps):
            yield runbook, index, step


def alike(rules: RuleSet) -> list[list[Service]]:
    """The services in groups: in each, all have the same actions and the same labels that runbooks match on."""
    names = sorted({matcher.name for runbook in rules.runbooks for matcher in runbook.item.match})
    groups: dict[object, list[Service]] = {}
    for located in rules.services:
        service, ref = located.item, located.item.target
        actions = (ref.name, *sorted(ref.actions)) if ref is not None else ()
        groups.setdefault((actions, *map(service.labels.get, names)), []).append(service)
    return list(groups.values())


def reaches(runbook: Runbook, service: Service) -> bool | None:
    """Whether a runbook is for a service: None when that depends on labels which an alert may bring."""
    sure = True
    for matcher in runbook.match:
        value = service.labels.get(matcher.name)
        if value is None or templated(value):
            sure = False
        elif not matcher.matches(service.labels):
            return False
    return True if sure else None


def judges(threshold: Threshold, service: Service) -> bool | None:
    """Whether a threshold judges a service: None when that depends on labels which a templated one may get."""
    sure = True
    for matcher in threshold.match:
        value = _own_label(service, matcher.name)
        if value is None:
            sure = False
        elif not matcher.matches({matcher.name: value}):
            return False
    return True if sure else None


def _own_label(service: Service, name: str) -> str | None:
    """The value of a service's label, empty when it has none, None when a template makes it.

    A templated service has its own labels and those that its name uses, but no others of the series it is made of.
    """
    value = service.labels.get(name)
    if value is None:
        named = service.templated and name in compile_template(service.name, TemplateKind.TEXT).labels
        return None if named else ""
    return None if templated(value) else value


def actions_of(service: Service, targets: Mapping[str, Target]) -> set[str]:
    """The names of the actions that can be done to a service."""
    if service.target is None or service.target.name not in targets:
        return set()
    return {*targets[service.target.name].actions, *service.target.actions}


def unsure(service: Service, targets: Mapping[str, Target], unread: set[str]) -> bool:
    """Whether a service's actions are unknown because of another problem."""
    return service.target is not None and (service.target.name in unread or service.target.name not in targets)


def instances_of(template: str) -> re.Pattern[str]:
    """A pattern of the names that a templated service may have."""
    parts = re.split(r"\{\{.*?\}\}|\{%.*?%\}", template, flags=re.DOTALL)
    return re.compile(".+".join(re.escape(part) for part in parts), re.DOTALL)


def contradiction(match: Sequence[Matcher]) -> tuple[int, int] | None:
    """The indexes of two matchers that never hold together, if one of them is an equality."""
    for index, one in enumerate(match):
        for other_index, other in enumerate(match):
            if one.op == "=" and one.name == other.name and not other.matches({one.name: one.value}):
                return min(index, other_index), max(index, other_index)
    return None


def direction(comparison: Comparison) -> int:
    """1 when larger values are worse, -1 when smaller ones are, else 0."""
    return {">": 1, ">=": 1, "<": -1, "<=": -1}.get(comparison.op, 0)


def implies(one: Comparison, other: Comparison) -> bool:
    """Whether every value that fulfils the one fulfils the other."""
    if one.op == "==":
        return other.holds(one.bound)
    if one.op == "!=":
        return one == other
    if other.op == "!=":
        return not one.holds(other.bound)
    if direction(one) != direction(other):
        return False
    # Both are half-lines in one direction: the one lies within when its bound does, or both bounds are the same edge.
    return other.holds(one.bound) or (one.bound == other.bound and not one.holds(one.bound))


def templates_of(rules: RuleSet) -> Iterator[Used]:
    """Every template of every rule."""
    for service in rules.services:
        yield from _of_service(rules, service)
    for target in rules.targets:
        names = _IN_ACTIONS | target.item.defaults.keys()
        defaults = [(("params", name), text or "", TemplateKind.TEXT) for name, text in target.item.params.items()]
        texts: list[_Text] = [*defaults, (("ssh",), target.item.ssh, TemplateKind.TEXT)]
        for name, spec in target.item.actions.items():
            texts += _of_spec(spec, ("actions", name))
        yield from (Used(target.at, *text, names) for text in texts)
    for runbook in rules.runbooks:
        yield from templates_of_steps(rules, runbook)
        added = {"labels": runbook.item.escalate.labels, "annotations": runbook.item.escalate.annotations}
        for key, texts_of in added.items():
            for name, text in texts_of.items():
                yield Used(runbook.at, ("escalate", key, name), text, TemplateKind.TEXT, _IN_PAGES)


def templates_of_steps(rules: RuleSet, runbook: Located[Runbook]) -> Iterator[Used]:
    """Every template of a runbook's steps."""
    # What a step runs may use its target's parameters, and which target that is, is known only when it runs.
    names = _IN_ACTIONS.union(*(target.defaults for target in rules.all_targets.values()))
    for index, step in enumerate(runbook.item.steps):
        path = ("steps", index)
        texts: list[_Text] = [
            ((*path, "if"), step.if_, TemplateKind.PROMQL),
            ((*path, "unless"), step.unless, TemplateKind.PROMQL),
        ]
        for name, value in step.args.items():
            if isinstance(value, str):
                counts = step.action == "scale" and name == "replicas"
                texts.append(((*path, step.action, name), value, TemplateKind.PROMQL if counts else TemplateKind.TEXT))
        if step.spec is not None:
            texts += _of_spec(step.spec, path)
        yield from (Used(runbook.at, *text, names) for text in texts)


def templates_of_target(rules: RuleSet, service: Located[Service]) -> Iterator[Used]:
    """Every template in a service's target."""
    ref = service.item.target
    if ref is None:
        return
    for param, text in ref.params.items():
        yield Used(service.at, ("target", ref.name, param), text, TemplateKind.TEXT, _CONTEXT)
    target = rules.all_targets.get(ref.name)
    names = _IN_ACTIONS.union(target.defaults if target else ())
    for name, spec in ref.actions.items():
        yield from (Used(service.at, *used, names) for used in _of_spec(spec, ("target", ref.name, name)))


_Text = tuple[Path_, str, TemplateKind]


def _of_service(rules: RuleSet, service: Located[Service]) -> Iterator[Used]:
    item = service.item
    names = frozenset({"labels"} if item.templated else ())
    yield Used(service.at, ("name",), item.name, TemplateKind.TEXT, names)
    for label, text in item.labels.items():
        if label != rules.service_label:
            yield Used(service.at, ("labels", label), text, TemplateKind.TEXT, names)
    for index, text in enumerate(item.depends_on):
        yield Used(service.at, ("depends_on", index), text, TemplateKind.TEXT, names)
    yield from templates_of_target(rules, service)


def _of_spec(spec: ActionSpec, path: Path_) -> list[_Text]:
    texts: list[_Text] = [
        ((*path, "run", index), text, TemplateKind.ARGUMENT) for index, text in enumerate(spec.run or ())
    ]
    if spec.shell is not None:
        texts.append(((*path, "shell"), spec.shell, TemplateKind.SHELL))
    if spec.http is not None:
        texts.append(((*path, "http", "url"), spec.http.url, TemplateKind.URL))
        texts.append(((*path, "http", "body"), spec.http.body, TemplateKind.TEXT))
        texts += [
            ((*path, "http", "headers", name), text, TemplateKind.TEXT) for name, text in spec.http.headers.items()
        ]
    if spec.title:
        texts.append(((*path, "title"), spec.title, TemplateKind.TEXT))
    return texts + [((*path, "env", name), text, TemplateKind.TEXT) for name, text in spec.env.items()]

"""Rule files to a `Rulebook`, or to every problem in them at once.

`shorthands` makes the rules of each file; here they are put together, checked, and located in their files.
"""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from remediator.config.document import Document, open_document
from remediator.config.schema import read_document
from remediator.errors import ConfigError
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Service, Target
from remediator.problem import Position, Problem, Severity
from remediator.rules.added_services import refused_parts
from remediator.rules.checks import find_problems
from remediator.rules.fields import RuleFileDoc, TargetDoc
from remediator.rules.lints import find_warnings
from remediator.rules.overrides import OverriddenRule, Override, RuleFile, entries, problems_of, read_files
from remediator.rules.ruleset import Located, RuleSet
from remediator.rules.shorthands import items, make_runbook, make_service, make_target

T = TypeVar("T")


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection. Ten thousand services are a million objects, and all of them stay. Collections would
    take as long as reading does."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def load_rules(
    paths: Sequence[Path],
    *,
    service_label: str,
    evaluation_interval: float = 0.0,
    prometheis: frozenset[str] | None = None,
) -> tuple[Rulebook, list[Problem]]:
    """The rules of these files together, with the warnings about them. ConfigError with every problem of all files if
    one of them is an error."""
    with _uncollected():
        documents = [open_document(path) for path in paths]
        rules, problems = read_rules(
            documents, service_label=service_label, evaluation_interval=evaluation_interval, prometheis=prometheis
        )
        if any(problem.severity is Severity.ERROR for problem in problems):
            raise ConfigError(problems)
        return make_rulebook(rules), problems


def read_rules(
    documents: Sequence[Document],
    *,
    service_label: str,
    evaluation_interval: float = 0.0,
    prometheis: frozenset[str] | None = None,
) -> tuple[RuleSet, list[Problem]]:
    """As much of the rules as can be read, and every problem, in the order of the files and their lines.
    `evaluation_interval` is in seconds, 0 when it is not known; `prometheis` are the names of the config's."""
    files = read_files(documents)
    shipped = shipped_targets()
    of_files = entries(files, "targets", also=shipped)
    changed = _changed_targets(files, {entry.doc.name for entry in of_files})
    targets = [_located(entry, make_target(entry, entry.doc, entry.path)) for entry in (*of_files, *changed)]
    known = {**shipped, **{target.item.name: target.item for target in targets}}
    rules = RuleSet(
        services=[
            _located(entry, make_service(entry, entry.doc, entry.path, known, service_label))
            for entry in entries(files, "services")
        ],
        thresholds=[_located(entry, entry.doc) for entry in entries(files, "thresholds")],
        runbooks=[
            _located(entry, make_runbook(entry, entry.doc, entry.path), entry.doc.steps)
            for entry in entries(files, "runbooks")
        ],
        targets=targets,
        shipped=shipped,
        service_label=service_label,
        evaluation_interval=evaluation_interval,
        documents=(*(file.document for file in files), *dict.fromkeys(entry.document for entry in changed)),
        prometheis=prometheis,
    )
    problems = [*problems_of(files), *find_problems(rules), *find_warnings(rules)]
    of_file = {document.file: document for document in rules.documents}
    problems = [problem for problem in problems if of_file[problem.position.file].tells(problem)]
    order = {file: index for index, file in enumerate(of_file)}
    return rules, sorted(set(problems), key=lambda problem: _order(order, problem))


def _changed_targets(files: Sequence[RuleFile], of_files: Collection[str]) -> list[OverriddenRule[TargetDoc]]:
    """The targets of the package that overrides change, and no file replaces."""
    changed: dict[str, OverriddenRule[TargetDoc]] = {}
    for file in reversed(files):
        for index, partial in items(file.document, file.doc.override.targets):
            if partial.name in _shipped_entries() and partial.name not in of_files:
                entry = changed.get(partial.name, _shipped_entries()[partial.name])
                changed[partial.name] = entry.changed(Override(file.document, index, partial._replace(kind="targets")))
    return list(changed.values())


def make_rulebook(rules: RuleSet) -> Rulebook:
    """The rulebook of a rule set without errors."""
    return Rulebook(
        (service.item for service in rules.services),
        (threshold.item for threshold in rules.thresholds),
        (runbook.item for runbook in rules.runbooks),
        rules.all_targets.values(),
        rules.service_label,
    )


def service_from_document(document: Mapping[str, Any], rulebook: Rulebook) -> Service:
    """A service that a person adds while remediator runs, written as in a rule file. ConfigError when it is wrong, brings
    commands, or does not fit the rules. The caller checks whether its name is taken. Takes as long as checking all
    services."""
    text = json.dumps({"services": [document]}, indent=2, ensure_ascii=False)
    file = Document("service", text)
    read = read_document(file, RuleFileDoc)
    if read is None or not read.services:
        raise ConfigError(file.problems)
    entry = OverriddenRule(file, "services", 0, read.services[0])
    added = make_service(file, read.services[0], ("services", 0), rulebook.targets, rulebook.service_label)
    services = [Located(service, _no_position) for service in rulebook.services if service.name != added.name]
    services.append(_located(entry, added))
    rules = RuleSet(services, (), (), (), rulebook.targets, rulebook.service_label)
    for key, reason in refused_parts(added, rulebook):
        message = f"a service that is added at run time cannot have {key}: {reason}"
        path = ("services", 0, "target", added.target.name if added.target else "", key)
        file.report(path, "bad-value", message, "write the service in a rule file")
    problems = [*file.problems, *find_problems(rules)]
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(problems)
    return added


@cache
def shipped_targets() -> Mapping[str, Target]:
    """The targets that come with the package, by name. ConfigError when one of their files is wrong."""
    targets = {name: make_target(entry, entry.doc, entry.path) for name, entry in _shipped_entries().items()}
    for entry in _shipped_entries().values():
        if entry.document.problems:
            raise ConfigError(entry.document.problems)
    return targets


@cache
def _shipped_entries() -> Mapping[str, OverriddenRule[TargetDoc]]:
    found: dict[str, OverriddenRule[TargetDoc]] = {}
    for file in sorted(resources.files("remediator.targets").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yml"):
            document = Document(f"remediator/targets/{file.name}", file.read_text(encoding="utf-8"))
            doc = read_document(document, RuleFileDoc)
            for index, item in items(document, doc.targets if doc else ()):
                found[item.name] = OverriddenRule(document, "targets", index, item)
    return found


def _located(entry: OverriddenRule[Any], item: T, steps: tuple[object, ...] = ()) -> Located[T]:
    places = list(entry.indexes(steps))

    def at(*path: str | int, offset: int | None = None, key: bool = False) -> Position:
        match path:
            case ("steps", int(step), *rest) if step < len(places):
                path = ("steps", places[step], *rest)
        return entry.position(*entry.path, *path, offset=offset, key=key)

    return Located(item, at, entry.whole(*entry.path))


def _no_position(*path: str | int, offset: int | None = None, key: bool = False) -> Position:
    return Position("", 0, 0)


def _order(order: Mapping[str, int], problem: Problem) -> tuple[int, int, int, str, str]:
    place = problem.position
    return order.get(place.file, len(order)), place.line, place.column, problem.check, problem.message

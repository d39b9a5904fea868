"""Rule files to a `Rulebook`, or to every problem in them at once.

`shorthands` makes the rules of each file; here they are put together, checked, and located in their files.
"""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Iterator, Mapping, Sequence
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
from remediator.rules.fields import RuleFileDoc
from remediator.rules.lints import find_warnings
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
    paths: Sequence[Path], *, service_label: str, evaluation_interval: float = 0.0
) -> tuple[Rulebook, list[Problem]]:
    """The rules of these files together, with the warnings about them. ConfigError with every problem of all files if
    one of them is an error."""
    with _uncollected():
        documents = [open_document(path) for path in paths]
        rules, problems = read_rules(documents, service_label=service_label, evaluation_interval=evaluation_interval)
        if any(problem.severity is Severity.ERROR for problem in problems):
            raise ConfigError(problems)
        return make_rulebook(rules), problems


def read_rules(
    documents: Sequence[Document], *, service_label: str, evaluation_interval: float = 0.0
) -> tuple[RuleSet, list[Problem]]:
    """As much of the rules as can be read, and every problem, in the order of the files and their lines.
    `evaluation_interval` is in seconds, 0 when it is not known."""
    read = [(document, read_document(document, RuleFileDoc)) for document in documents]
    files = [(document, doc) for document, doc in read if doc is not None]
    targets = [
        _located(document, make_target(document, doc, ("targets", index)), "targets", index)
        for document, file in files
        for index, doc in items(document, file.targets)
    ]
    shipped = shipped_targets()
    known = {**shipped, **{target.item.name: target.item for target in targets}}
    rules = RuleSet(
        services=[
            _located(
                document, make_service(document, doc, ("services", index), known, service_label), "services", index
            )
            for document, file in files
            for index, doc in items(document, file.services)
        ],
        thresholds=[
            _located(document, doc, "thresholds", index)
            for document, file in files
            for index, doc in items(document, file.thresholds)
        ],
        runbooks=[
            _located(document, make_runbook(document, doc, ("runbooks", index)), "runbooks", index, doc.steps)
            for document, file in files
            for index, doc in items(document, file.runbooks)
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
    added = make_service(file, read.services[0], ("services", 0), rulebook.targets, rulebook.service_label)
    services = [Located(service, _no_position) for service in rulebook.services if service.name != added.name]
    services.append(_located(file, added, "services", 0))
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
    targets: dict[str, Target] = {}
    for file in sorted(resources.files("remediator.targets").iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".yml"):
            continue
        document = Document(f"remediator/targets/{file.name}", file.read_text(encoding="utf-8"))
        doc = read_document(document, RuleFileDoc)
        for index, item in items(document, doc.targets if doc else ()):
            targets[item.name] = make_target(document, item, ("targets", index))
        if document.problems:
            raise ConfigError(document.problems)
    return targets


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

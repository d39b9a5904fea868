"""Loads a test file with its rule files. Reports the problems of all of them at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from remediator.config.document import Document, Path_, nearest, open_document
from remediator.config.policy import Policy, policy_of
from remediator.config.schema import read_document
from remediator.config.servers import PrometheusServer
from remediator.config.settings import Config, rule_files
from remediator.errors import ConfigError
from remediator.model.gate import Gate
from remediator.model.rulebook import Rulebook
from remediator.problem import Position, Severity
from remediator.rules.guards import with_guards
from remediator.rules.loader import load_rules
from remediator.simulation.ruletest.fields import Act, ActDoc, ExpectDoc, RuleTestDoc, RuleTestsDoc, ValuesDoc
from remediator.simulation.ruletest.series_notation import NotationError, parse_values

CHECKS = {
    "no-rule-file": "a test file names no rule file that exists",
    "bad-values": "values that are not in promtool's notation",
    "unknown-threshold": "a test gives values to a threshold that the rule files do not have",
    "no-owner": "a test gives values to a series that belongs to no service",
    "not-judged": "a test gives values to a threshold that does not judge the service",
    "unknown-query": "a test gives values to an expression that the rule files do not ask",
    "unknown-service": "a test speaks of a service that the rule files do not have",
    "which-service": "a test has to say which service is meant, as the rule files have several",
    "unknown-gate": "a test speaks of a gate that does not exist",
    "bad-selector": 'a metric that is not written as name{label="value"}',
}
"""The checks that only test files have, by name."""

GATE_NAMES = ("none", *sorted(Gate))
_BY_SERVICE = (Act.APPROVE, Act.DENY, Act.DISMISS, Act.HEAL)
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*(?:\{(.*)\})?\s*", re.ASCII)
_LABEL = re.compile(r'\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)', re.ASCII)


class SeriesValues(NamedTuple):
    """The values of one series in a query's answer, `interval` seconds apart."""

    expr: str
    labels: dict[str, str]
    values: list[float | None]
    interval: float


class RuleTests:
    """The tests of one file, and the rules under test."""

    def __init__(self, document: Document, doc: RuleTestsDoc, rulebook: Rulebook) -> None:
        self.file = document.file
        self.doc = doc
        self.rulebook = rulebook
        self.policy: Policy = policy_of(_config(doc))
        self._document = document

    def at(self, *path: str | int, key: bool = False) -> Position:
        """The position of the value at a path of the file, or of its key."""
        return self._document.position(*path, key=key)

    def service(self, given: str) -> str:
        """The given service, or the only one when none is given."""
        return given or next(iter(self.rulebook.named), "")

    def series(self, doc: ValuesDoc, test: RuleTestDoc) -> SeriesValues:
        """The series that an entry under values: or then: describes."""
        expr = doc.expr or next((t.expr for t in self.rulebook.thresholds if t.name == doc.threshold), "")
        labels = self.labels(doc.service, doc.labels)
        return SeriesValues(
            expr.strip(), labels, parse_values(doc.values), doc.interval or test.interval or self.doc.interval
        )

    def labels(self, service: str, labels: dict[str, str]) -> dict[str, str]:
        """The labels, with the service label added when `service` is given."""
        return {**({self.rulebook.service_label: service} if service else {}), **labels}


def load_tests(path: Path) -> RuleTests:
    """The tests in a file. ConfigError with every problem of the file, or of its rule files."""
    document = open_document(path)
    doc = read_document(document, RuleTestsDoc)
    if doc is None or document.problems:
        if not document.problems:
            document.report((), "missing-key", "the file is empty", "write rule_files: and tests:")
        raise ConfigError(document.sorted_problems())
    paths = list(_rule_paths(document, doc, path.parent))
    if document.problems:
        raise ConfigError(document.sorted_problems())
    rulebook, _ = load_rules(paths, service_label=doc.global_.service_label)
    tests = RuleTests(document, doc, rulebook)
    for index, test in enumerate(doc.tests):
        _check(document, tests, test, ("tests", index))
    if any(problem.severity is Severity.ERROR for problem in document.problems):
        raise ConfigError(document.sorted_problems())
    return tests


def _config(doc: RuleTestsDoc) -> Config:
    """The config that the test file's own config keys make."""
    nowhere = PrometheusServer(url="http://prometheus.invalid")
    return Config(nowhere, doc.global_, limits=doc.limits, severity=doc.severity, maintenance=doc.maintenance)


def selector(text: str) -> tuple[str, dict[str, str]]:
    """The name and labels of `name{label="value"}`. ValueError with a sentence when the text is not such a metric."""
    found = _SELECTOR.fullmatch(text)
    if found is None:
        raise ValueError(f'{text!r} is not a metric such as remediator_heals_total{{verdict="recovered"}}')
    rest, labels = found[2] or "", {}
    while rest.strip():
        label = _LABEL.match(rest)
        if label is None:
            raise ValueError(f'{text!r} has something other than label="value" within its braces')
        labels[label[1]] = re.sub(r"\\(.)", r"\1", label[2])
        rest = rest[label.end() :]
    return found[1], labels


def query_pattern(expr: str, *, guard_empty: bool = True) -> re.Pattern[str] | None:
    """A pattern of the queries that an expression becomes when its templates and guards are filled in.

    None when it has neither.
    """
    whole = with_guards(expr, guard_empty=guard_empty).strip()
    parts = re.split(r"\{\{.*?\}\}", whole, flags=re.DOTALL)
    if len(parts) == 1 and whole == expr.strip():
        return None
    return re.compile(".*".join(re.escape(part) for part in parts), re.DOTALL)


def _rule_paths(document: Document, doc: RuleTestsDoc, folder: Path) -> Iterator[Path]:
    for index, pattern in enumerate(doc.rule_files):
        found = [path for path in rule_files(str(folder / pattern)) if path.is_file()]
        if not found:
            remedy = "names are relative to the folder of this file"
            document.report(("rule_files", index), "no-rule-file", f"there is no rule file {pattern}", remedy)
        yield from found
    if not doc.rule_files:
        document.report(
            ("rule_files",), "no-rule-file", "there are no rule files to test", "write rule_files: [rules.yml]"
        )


def _check(document: Document, tests: RuleTests, test: RuleTestDoc, path: Path_) -> None:
    """Report where a test does not fit the rules."""
    for index, values in enumerate(test.values):
        _check_values(document, tests, values, (*path, "values", index))
    for index, command in enumerate(test.commands):
        for number, values in enumerate(command.then):
            _check_values(document, tests, values, (*path, "commands", index, "then", number))
    for index, series in enumerate(test.promql.series if test.promql else ()):
        _check_notation(document, series.values, (*path, "promql", "series", index, "values"))
    for index, act in enumerate(test.acts):
        _check_act(document, tests, act, (*path, "acts", index))
    for index, expect in enumerate(test.expect):
        _check_expect(document, tests, expect, (*path, "expect", index))


def _check_values(document: Document, tests: RuleTests, doc: ValuesDoc, path: Path_) -> None:
    _check_notation(document, doc.values, (*path, "values"))
    _check_service(document, tests, doc.service, (*path, "service"))
    if (doc.threshold is None) == (doc.expr is None):
        document.report(path, "contradiction", "values are of either a threshold or an expr", "give one of the two")
    elif doc.threshold is not None:
        names = {threshold.name for threshold in tests.rulebook.thresholds}
        if doc.threshold not in names:
            message = f"there is no threshold {doc.threshold} in the rule files"
            document.report((*path, "threshold"), "unknown-threshold", message, nearest(doc.threshold, names))
        else:
            _check_owner(document, tests, doc, path)
    elif doc.expr is not None:
        known = {expr.strip() for expr in _queries(tests.rulebook)}
        if doc.expr.strip() not in known:
            message = "the rule files do not ask this: it has to be as it stands there"
            document.report((*path, "expr"), "unknown-query", message, nearest(doc.expr.strip(), known))


def _check_owner(document: Document, tests: RuleTests, doc: ValuesDoc, path: Path_) -> None:
    """Report a series without a service, or of a service that the threshold does not judge: it would have no effect."""
    labels = tests.labels(doc.service, doc.labels)
    service = tests.rulebook.service_for(labels)
    if service is None and (refusal := tests.rulebook.refusal_for(labels)):
        document.report(path, "no-owner", refusal)
        return
    if service is None:
        document.report(
            path, "no-owner", "a series with these labels belongs to no service", "give service: or labels:"
        )
    elif all(threshold.name != doc.threshold for threshold in tests.rulebook.thresholds_for(service)):
        message = f"threshold {doc.threshold} does not judge {service.name}: its match is for others"
        document.report((*path, "threshold"), "not-judged", message)


def _queries(rulebook: Rulebook) -> Iterator[str]:
    yield from (threshold.expr for threshold in rulebook.thresholds)
    for runbook in rulebook.runbooks:
        for step in runbook.steps:
            yield from filter(None, (step.if_, step.unless, str(step.args.get("replicas", ""))))


def _check_notation(document: Document, text: str, path: Path_) -> None:
    try:
        parse_values(text)
    except NotationError as error:
        document.report(path, "bad-values", str(error), offset=error.offset)


def _check_service(document: Document, tests: RuleTests, name: str, path: Path_) -> None:
    templated = any(service.templated for service in tests.rulebook.services)
    if name and name not in tests.rulebook.named and not templated:
        message = f"there is no service {name} in the rule files"
        document.report(path, "unknown-service", message, nearest(name, tests.rulebook.named))


def _needs_service(document: Document, tests: RuleTests, name: str, path: Path_) -> None:
    if not name and (len(tests.rulebook.services) != 1 or not tests.rulebook.named):
        document.report(
            path, "which-service", "this is about one service, and the rule files have not just one", "add service:"
        )
    _check_service(document, tests, name, (*path, "service"))


def _check_act(document: Document, tests: RuleTests, act: ActDoc, path: Path_) -> None:
    if act.do in _BY_SERVICE:
        _needs_service(document, tests, act.service, path)
    else:
        _check_service(document, tests, act.service, (*path, "service"))


def _check_expect(document: Document, tests: RuleTests, expect: ExpectDoc, path: Path_) -> None:
    of_service: Iterable[object] = (expect.health, expect.held, expect.decision, expect.verdict, expect.annotation)
    if any(part is not None for part in of_service):
        _needs_service(document, tests, expect.service, path)
    else:
        _check_service(document, tests, expect.service, (*path, "service"))
    if expect.held is not None and expect.held not in GATE_NAMES:
        message = f"there is no gate {expect.held}"
        document.report((*path, "held"), "unknown-gate", message, nearest(expect.held, GATE_NAMES))
    for text in expect.metrics:
        try:
            selector(text)
        except ValueError as error:
            document.report((*path, "metrics", text), "bad-selector", str(error))


__all__ = ["CHECKS", "RuleTests", "SeriesValues", "load_tests", "query_pattern", "selector"]

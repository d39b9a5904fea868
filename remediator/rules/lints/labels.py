"""Lints of labels: those that an expression drops, and those that a template needs although nothing guarantees them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from jinja2 import nodes

from remediator.model.matcher import Matcher, matches_all
from remediator.model.rules import Runbook, Service
from remediator.problem import Position, Problem, Severity
from remediator.rules.guards import UnknownGuardError, with_guards
from remediator.rules.promql import SeriesLabels, series_labels
from remediator.rules.promql_words import written_label
from remediator.rules.ruleset import RuleSet, Used, judges, templates_of_steps, templates_of_target
from remediator.template.compile import TemplateKind, compile_template
from remediator.template.filters import SANDBOX


def no_service_label(rules: RuleSet) -> Iterator[Problem]:
    """An expression aggregates away the labels by which its services own series."""
    services = [located.item for located in rules.services]
    for threshold in rules.thresholds:
        kept = series_labels(threshold.item.expr) if threshold.whole and "{{" not in threshold.item.expr else None
        if kept is None or (kept.others and not kept.names):
            continue
        judged = [service for service in services if judges(threshold.item, service) is not False]
        if judged and not any(_may_own(service, kept) for service in judged):
            names = ", ".join(sorted(kept.names)) or "none"
            message = (
                f"no service can own a series of threshold {threshold.item.name}: the labels that they"
                f" {'lose' if kept.others else 'keep'} are {names}"
            )
            remedy = f"keep the label that names the service, as with sum by ({written_label(rules.service_label)}) (…)"
            yield Problem(threshold.at("expr"), "no-service-label", message, remedy, Severity.WARNING)


def missing_label(rules: RuleSet) -> Iterator[Problem]:
    """A step needs a label in a template that neither its services have, nor a matcher guarantees. Thresholds open
    incidents with no labels but the service's own."""
    of_services = {name for located in rules.services for name in located.item.labels}
    lacking = [
        (located.item, _lacking(located.item, templates_of_target(rules, located))) for located in rules.services
    ]
    reported = set()
    for runbook in rules.runbooks:
        needs = list(_needs(templates_of_steps(rules, runbook))) if runbook.whole else []
        labels = {label for _, label in needs}
        for service, of_target in lacking if runbook.whole else ():
            # Most services have all that is needed, and that is quickly seen.
            if not of_target and labels <= service.labels.keys():
                continue
            if not _is_meant(runbook.item, service, of_services):
                continue
            known = _known(rules, runbook.item, service)
            for place, label in (*needs, *of_target):
                if label not in known and (place, label) not in reported:
                    reported.add((place, label))
                    message = (
                        f"service {service.name} may have no label {label}, without which the step cannot be run:"
                        " no matcher guarantees it"
                    )
                    guaranteed = Matcher(label, "!=", "")
                    remedy = f"give the service this label, add a matcher {guaranteed}, or write | default('…')"
                    yield Problem(place, "missing-label", message, remedy, Severity.WARNING)


def needed_labels(text: str, kind: TemplateKind) -> set[str]:
    """The labels that a template cannot be rendered without: those that it always uses, with no default."""
    if kind is TemplateKind.PROMQL:
        try:
            text = with_guards(text)
        except UnknownGuardError:
            return set()
    if "labels" not in text:
        return set()
    uses = list(_uses(SANDBOX.parse(text), needed=True))
    return {label for label, needed in uses if needed} - {label for label, needed in uses if not needed}


def _uses(node: nodes.Node, needed: bool) -> Iterator[tuple[str, bool]]:
    """Each use of a label, and whether it must exist."""
    sure: list[nodes.Node] = []
    match node:
        case nodes.Getattr(node=nodes.Name(name="labels"), attr=str(label)):
            yield label, needed
        case nodes.Getitem(node=nodes.Name(name="labels"), arg=nodes.Const(value=str(label))):
            yield label, needed
        case nodes.Filter(name="default") | nodes.Test(name="defined" | "undefined"):
            pass
        case nodes.If() | nodes.CondExpr():
            sure = [node.test]
        case nodes.And() | nodes.Or():
            sure = [node.left]
        case _:
            sure = list(node.iter_child_nodes())
    for child in node.iter_child_nodes():
        yield from _uses(child, needed and any(child is one for one in sure))


def _needs(templates: Iterable[Used]) -> Iterator[tuple[Position, str]]:
    """Where labels are needed, and which."""
    for used in templates:
        for label in sorted(needed_labels(used.text, used.kind)):
            yield used.at(*used.path, offset=_offset(used.text, label)), label


def _lacking(service: Service, templates: Iterable[Used]) -> list[tuple[Position, str]]:
    """Where a service's own templates need labels that it has not itself, and which."""
    return [(place, label) for place, label in _needs(templates) if label not in service.labels]


def _offset(text: str, label: str) -> int | None:
    """Where a label is used, or else the guard that uses it."""
    found = re.search(rf"""\blabels(\.|\[["']){re.escape(label)}\b""", text) or re.search(r"\bguard\(", text)
    return found.start() if found else None


def _is_meant(runbook: Runbook, service: Service, of_services: set[str]) -> bool:
    """Whether a runbook is for a service, assuming that alerts bring only labels which no service has itself."""
    for matcher in runbook.match:
        value = service.labels.get(matcher.name)
        known = matcher.name in of_services and not (value is None and service.templated) and "{{" not in (value or "")
        if known and not matcher.matches(service.labels):
            return False
    return True


def _known(rules: RuleSet, runbook: Runbook, service: Service) -> set[str]:
    """The labels that an incident of this service by this runbook surely has."""
    known = {*service.labels, "alertname", rules.service_label} | _guaranteed(runbook.match)
    if service.templated:
        return known | compile_template(service.name, TemplateKind.TEXT).labels | _guaranteed(service.match)
    opened = (
        matches_all(runbook.match, {**service.labels, "alertname": threshold.item.name})
        for threshold in rules.thresholds
        if judges(threshold.item, service)
    )
    return known if any(opened) else known | _guaranteed(service.match)


def _guaranteed(match: Iterable[Matcher]) -> set[str]:
    """The labels that are not empty wherever the matchers hold."""
    return {matcher.name for matcher in match if not matcher.matches({})}


def _may_own(service: Service, labels: SeriesLabels) -> bool:
    """Whether a series with these labels could be the service's."""
    needed = _guaranteed(service.match)
    if service.templated:
        needed |= compile_template(service.name, TemplateKind.TEXT).labels
    return all(name in labels for name in needed)

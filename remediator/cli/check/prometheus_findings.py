"""Rules checked against a running Prometheus: which expressions it refuses, and which services have series."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remediator.cli.check.expressions import Expression, expressions
from remediator.cli.check.prometheus_servers import PrometheusServers
from remediator.clients.prometheus.client import Answer
from remediator.model.health import Health, QueryStatus, worst
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Threshold
from remediator.problem import Problem, Severity
from remediator.rules.loader import make_rulebook
from remediator.rules.promql_words import written_label
from remediator.rules.ruleset import Located, RuleSet

if TYPE_CHECKING:
    from remediator.config.settings import Config

CHECKS = {
    "bad-promql": "Prometheus refuses an expression",
    "promql-failed": "Prometheus could not evaluate an expression",
    "partial-answer": "the answer to an expression may lack data now, so serve concludes nothing from it",
    "native-histogram": "a threshold's series are native histograms, which serve cannot judge",
    "promql-remark": "Prometheus' engine warns about an expression itself",
    "no-series": "a threshold's expression gives no series now, or none of a service that it judges",
    "no-service-label": "a threshold's series belong to no service",
    "service-unseen": "a service has thresholds, but none of them has a series of it now",
}
"""The checks that need a Prometheus, by name."""


@dataclass(frozen=True)
class ServiceValue:
    """A service's value at a threshold now: the worst of its series, and the health it means before any `for`."""

    threshold: str
    service: str
    value: float
    health: Health


def ask_prometheus(rules: RuleSet, url: str, config: Config | None) -> tuple[list[Problem], list[ServiceValue], str]:
    """Returns problems of the rules' PromQL, the services' values, and why Prometheus could not be asked (or "")."""
    prometheis = PrometheusServers(url, config, query_timeout=30.0)
    try:
        return _asked(rules, make_rulebook(rules), prometheis)
    finally:
        prometheis.close()


def _asked(
    rules: RuleSet, rulebook: Rulebook, prometheis: PrometheusServers
) -> tuple[list[Problem], list[ServiceValue], str]:
    problems: list[Problem] = []
    seen: list[ServiceValue] = []
    label = written_label(rules.service_label)
    # Without an answer nothing is known about a threshold, so only answered ones count.
    answered: set[str] = set()
    for expression in expressions(rules):
        answer = prometheis.query(expression.asked, expression.source)
        if answer.query_status is QueryStatus.UNREACHABLE:
            return problems, seen, answer.error
        problems += _said(expression, answer)
        if answer.query_status is not QueryStatus.SEEN:
            problems.append(_refused(expression, answer))
        elif expression.threshold is not None and not answer.warnings:
            answered.add(expression.threshold.name)
            owned, judged = _values_by_service(expression.threshold, answer, rulebook)
            seen += judged
            problems += _unseen_threshold(expression, expression.threshold, answer, owned, bool(judged), label)
    return [*problems, *_unseen_services(rules, rulebook, answered, seen)], seen, ""


def _said(expression: Expression, answer: Answer) -> Iterator[Problem]:
    """Problems of what the server says beside the series, and of series that are no numbers."""
    place = expression.at(None)
    for remark in answer.remarks:
        yield Problem(expression.named_in(remark), "promql-remark", remark, severity=Severity.WARNING)
    if answer.warnings:
        whose = "its services" if expression.threshold is not None else "the condition"
        message = f"the answer may lack data: {'; '.join(answer.warnings)}"
        remedy = f"while that is so, serve takes {whose} for unknown"
        yield Problem(place, "partial-answer", message, remedy, Severity.WARNING)
    if expression.threshold is not None and (histograms := [s for s in answer.series if s.histogram]):
        labels = ", ".join(f'{name}="{value}"' for name, value in histograms[0].labels.items())
        message = f"{len(histograms)} of {len(answer.series)} series are native histograms, the first is {{{labels}}}"
        remedy = "their services are unknown to serve: make numbers of them, as with histogram_quantile(…)"
        yield Problem(place, "native-histogram", message, remedy, Severity.WARNING)


def _refused(expression: Expression, answer: Answer) -> Problem:
    if answer.query_status is QueryStatus.BAD_DATA:
        return expression.refused(answer.error)
    return Problem(expression.at(None), "promql-failed", answer.error)


def _values_by_service(threshold: Threshold, answer: Answer, rulebook: Rulebook) -> tuple[bool, list[ServiceValue]]:
    """Whether any series belongs to a service, and the worst value of each service that the threshold judges."""
    owned, judged = False, dict[str, ServiceValue]()
    for series in answer.series:
        service = rulebook.service_for(series.labels)
        if service is None:
            continue
        owned = True
        if threshold not in rulebook.thresholds_for(service):
            continue
        found = ServiceValue(threshold.name, service.name, series.value, threshold.judge(series.value))
        known = judged.setdefault(service.name, found)
        if worst((known.health, found.health)) is not known.health:
            judged[service.name] = found
    return owned, sorted(judged.values(), key=lambda one: one.service)


def _unseen_threshold(
    expression: Expression, threshold: Threshold, answer: Answer, owned: bool, judged: bool, label: str
) -> Iterator[Problem]:
    place = expression.at(None)
    if not answer.series:
        message = f"threshold {threshold.name} sees no series now"
        remedy = "see whether the metric exists, and whether the matchers fit"
        yield Problem(place, "no-series", message, remedy, Severity.WARNING)
    elif not owned:
        labels = ", ".join(sorted(answer.series[0].labels)) or "none"
        message = (
            f"no series that threshold {threshold.name} sees belongs to a service; the first has the labels: {labels}"
        )
        remedy = f"keep the label that names the service, as with sum by ({label}) (…)"
        yield Problem(place, "no-service-label", message, remedy, Severity.WARNING)
    elif not judged:
        message = f"none of the services whose series threshold {threshold.name} sees now is judged by it"
        remedy = "correct its matchers, or the labels of a service"
        yield Problem(place, "no-series", message, remedy, Severity.WARNING)


def _unseen_services(
    rules: RuleSet, rulebook: Rulebook, answered: set[str], seen: list[ServiceValue]
) -> Iterator[Problem]:
    visible = {one.service for one in seen}
    services: list[Located[Any]] = [located for located in rules.services if not located.item.templated]
    for located in services:
        service = located.item
        names = [threshold.name for threshold in rulebook.thresholds_for(service)]
        if names and answered.issuperset(names) and service.name not in visible:
            message = f"no threshold sees service {service.name} now: no series of {', '.join(names)} is its own"
            remedy = "see whether it is scraped, and whether its match fits its series"
            yield Problem(located.at("name"), "service-unseen", message, remedy, Severity.WARNING)

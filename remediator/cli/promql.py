"""What a running Prometheus says of the rules: which expressions it refuses, and which of them see nothing.

The queries are those that the daemon would ask, but for templates: each becomes a word of the same length.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remediator.health import Sight
from remediator.httpclient import HttpClient
from remediator.metrics import Metrics
from remediator.problem import Position, Problem, Severity
from remediator.prometheus import Answer, Prometheus
from remediator.rulebook import Rulebook, Threshold
from remediator.rulefile import make_rulebook
from remediator.ruleset import Locate, RuleSet, Written, steps_of

if TYPE_CHECKING:
    from remediator.config import Config

CHECKS = {
    "bad-promql": "Prometheus refuses an expression",
    "promql-failed": "Prometheus could not evaluate an expression",
    "no-series": "a threshold's expression gives no series now",
    "no-service-label": "a threshold's series belong to no service",
    "service-unseen": "a service has thresholds, but none of them has a series of it now",
}
"""What Prometheus is asked about, by the names of the problems."""

_PARSE_ERROR = re.compile(r"(\d+):(\d+): parse error: (.*)", re.DOTALL)


@dataclass(frozen=True)
class _Expression:
    """PromQL, and where it stands. A threshold's is expected to give series."""

    text: str
    at: Callable[[int | None], Position]
    threshold: Threshold | None = None


def ask_prometheus(rules: RuleSet, url: str, config: Config | None) -> tuple[list[Problem], str]:
    """The problems of the rules' PromQL at this Prometheus, and why it could not be asked, or nothing.

    The config's credentials are used when the address is its own.
    """
    client = HttpClient(url)
    if config is not None and config.prometheus.url == url.rstrip("/"):
        client = config.prometheus
    prometheus = Prometheus(client, query_timeout=30.0, metrics=Metrics())
    try:
        return _asked(rules, make_rulebook(rules), prometheus)
    finally:
        asyncio.run(prometheus.close())


def _asked(rules: RuleSet, rulebook: Rulebook, prometheus: Prometheus) -> tuple[list[Problem], str]:
    problems: list[Problem] = []
    seen: set[tuple[str, str]] = set()
    # What could not be seen is not said to be unseen: only thresholds that were answered count.
    answered: set[str] = set()
    for expression in _expressions(rules):
        answer = prometheus.query_blocking(_without_templates(expression.text))
        if answer.sight is Sight.UNREACHABLE:
            return problems, answer.error
        if answer.sight is not Sight.SEEN:
            problems.append(_refused(expression, answer))
        elif expression.threshold is not None:
            answered.add(expression.threshold.name)
            owners = {service.name for series in answer.series if (service := rulebook.service_for(series.labels))}
            seen |= {(expression.threshold.name, name) for name in owners}
            problems += _unseen_threshold(expression, expression.threshold, answer, owners)
    return problems + list(_unseen_services(rules, rulebook, answered, seen)), ""


def _expressions(rules: RuleSet) -> Iterator[_Expression]:
    for threshold in rules.thresholds:
        yield _Expression(threshold.item.expr, _place(threshold.at, "expr"), threshold.item)
    for runbook, index, step in steps_of(rules):
        texts = {"if": step.if_, "unless": step.unless}
        for key, text in texts.items():
            if text and "{%" not in text:
                yield _Expression(text, _place(runbook.at, "steps", index, key))
        count = step.args.get("replicas") if step.action == "scale" else None
        if isinstance(count, str) and "{%" not in count:
            yield _Expression(count, _place(runbook.at, "steps", index, "scale", "replicas"))


def _place(at: Locate, *path: str | int) -> Callable[[int | None], Position]:
    return lambda offset: at(*path, offset=offset)


def _without_templates(text: str) -> str:
    """The expression with a word of the same length for each template: they all stand within strings."""
    return re.sub(r"\{\{.*?\}\}", lambda found: "x" * len(found[0]), text, flags=re.DOTALL)


def _refused(expression: _Expression, answer: Answer) -> Problem:
    found = _PARSE_ERROR.search(answer.error)
    if answer.sight is Sight.BAD_DATA and found is not None:
        before = expression.text.split("\n")[: int(found[1]) - 1]
        offset = sum(len(line) + 1 for line in before) + int(found[2]) - 1
        place = expression.at(min(offset, max(len(expression.text) - 1, 0)))
        return Problem(place, "bad-promql", f"this is not PromQL: {found[3]}")
    check = "bad-promql" if answer.sight is Sight.BAD_DATA else "promql-failed"
    return Problem(expression.at(None), check, answer.error)


def _unseen_threshold(
    expression: _Expression, threshold: Threshold, answer: Answer, owners: set[str]
) -> Iterator[Problem]:
    place = expression.at(None)
    if not answer.series:
        message = f"threshold {threshold.name} sees no series now"
        remedy = "see whether the metric exists, and whether the matchers fit"
        yield Problem(place, "no-series", message, remedy, Severity.WARNING)
    elif not owners:
        labels = ", ".join(sorted(answer.series[0].labels)) or "none"
        message = (
            f"no series that threshold {threshold.name} sees belongs to a service; the first has the labels: {labels}"
        )
        remedy = "keep the label that names the service, as with sum by (service) (…)"
        yield Problem(place, "no-service-label", message, remedy, Severity.WARNING)


def _unseen_services(
    rules: RuleSet, rulebook: Rulebook, answered: set[str], seen: set[tuple[str, str]]
) -> Iterator[Problem]:
    services: list[Written[Any]] = [written for written in rules.services if not written.item.templated]
    for written in services:
        service = written.item
        names = [threshold.name for threshold in rulebook.thresholds_for(service)]
        if names and answered.issuperset(names) and not any((name, service.name) in seen for name in names):
            message = f"no threshold sees service {service.name} now: no series of {', '.join(names)} is its own"
            remedy = "see whether it is scraped, and whether its match fits its series"
            yield Problem(written.at("name"), "service-unseen", message, remedy, Severity.WARNING)

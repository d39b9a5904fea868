"""Asks Prometheus which metrics of the conventions exist and which series they have, and Alertmanager for its facts.

All queries are instant queries, so that only series with data now are found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from remediator.cli.init.conventions import (
    CONVENTIONS,
    SERVICE_LABELS,
    STATUS_LABELS,
    SeriesKind,
)
from remediator.cli.init.errors import DraftError
from remediator.cli.init.questions import Metric, Question, choose_label, questions
from remediator.cli.init.survey_result import AlertmanagerFacts, QuestionResult, Survey
from remediator.clients.alertmanager import Alertmanagers
from remediator.clients.prometheus.client import Answer, Series
from remediator.errors import RemoteError
from remediator.model.health import QueryStatus
from remediator.rules.promql_words import written_label

Ask = Callable[[str], Answer]
"""An instant query."""

_KNOWN = '{{__name__=~"{}"}}'.format("|".join(chain.from_iterable(convention.metrics for convention in CONVENTIONS)))
"""Selects every series of a metric that the conventions know."""


_OF_OTHERS = tuple(
    chain.from_iterable(one.metrics for one in CONVENTIONS if one.kind not in (SeriesKind.SERVICE, SeriesKind.PROBE))
)
_OF_SERVICES = tuple(
    chain.from_iterable(one.metrics for one in CONVENTIONS if one.kind is SeriesKind.SERVICE and one.question != "up")
)
_OF_MONITORS = re.compile(r"(kubelet|prometheus|alertmanager|remediator|grafana|promhttp)_.*")
_BUILD_INFO = (
    '{__name__=~"(remediator|prometheus|alertmanager|node_exporter|blackbox_exporter|kube_state_metrics)_build_info"}'
)
"""Selects what monitoring says of itself."""


def survey_prometheus(ask: Ask, label: str = "") -> Survey:
    """What a Prometheus knows. `label` is the service label if the user named one.

    RemoteError when Prometheus cannot be asked, DraftError when it has nothing that the conventions know, or no series
    of theirs with that label.
    """
    counted = _counted(ask, label)
    metrics = _metrics(counted)
    if not metrics:
        raise DraftError(
            "cannot draft rules: Prometheus has no series now of any metric that is known here, not even up; see on its"
            " page Status > Targets whether it scrapes anything"
        )
    if label and not any(metric.labels[label] for metric in metrics.values()):
        there = ", ".join(_labels(ask)) or "none"
        raise DraftError(
            f"cannot draft rules: no series of the known metrics has the label {label} that --service-label names;"
            f" the labels there are: {there}"
        )
    chosen, reason = choose_label(metrics) if not label else (label, "as --service-label says")
    monitors = _monitors(ask, counted, chosen)
    results, unanswered = _results(ask, questions(metrics, chosen, namespaced=True))
    if not _in_several_namespaces(results, chosen, monitors):
        # The simpler expressions see the same.
        simple = {question.name: question for question in questions(metrics, chosen)}
        results = [_without_namespace(simple[result.question.name], result) for result in results]
    return Survey(chosen, reason, tuple(results), tuple(unanswered), monitors)


def _results(ask: Ask, asked: Iterable[Question]) -> tuple[list[QuestionResult], list[str]]:
    """The series that each question's expression has now, and why some have none."""
    results, unanswered = [], []
    for question in asked:
        answer = _asked(ask, question.expr)
        if answer.query_status is not QueryStatus.SEEN:
            unanswered.append(f"{question.name}: {answer.error}")
            continue
        seen = tuple(series.labels for series in answer.series if math.isfinite(series.value))
        if seen:
            results.append(QuestionResult(question, seen))
        else:
            unanswered.append(f"{question.name}: {question.metric} is there, but the expression sees no series now")
    return results, unanswered


def _in_several_namespaces(results: Iterable[QuestionResult], label: str, monitors: frozenset[str]) -> bool:
    """Whether a service's name is that of services in several namespaces."""
    namespaces: dict[str, set[str]] = {}
    for result in results:
        if result.question.convention.kind is SeriesKind.SERVICE:
            for labels in result.series:
                namespaces.setdefault(labels.get(label, ""), set()).add(labels.get("namespace", ""))
    return any(name and name not in monitors and len(found) > 1 for name, found in namespaces.items())


def _without_namespace(question: Question, result: QuestionResult) -> QuestionResult:
    if question.expr == result.question.expr:
        return result
    seen = ({name: value for name, value in labels.items() if name != "namespace"} for labels in result.series)
    return QuestionResult(question, tuple(seen))


def _monitors(ask: Ask, counted: Sequence[Series], label: str) -> frozenset[str]:
    """The services that are monitoring itself, or exporters: their series of other things carry the exporter's name.

    What also answers requests of its own, by an HTTP server's metric, is no exporter.
    """
    exporters, servers = set[str](), set[str]()
    for series in counted:
        name, service = series.labels.get("__name__", ""), series.labels.get(label, "")
        if any(re.fullmatch(pattern, name) for pattern in _OF_OTHERS):
            exporters.add(service)
        elif any(re.fullmatch(pattern, name) for pattern in _OF_SERVICES) and not _OF_MONITORS.fullmatch(name):
            servers.add(service)
    answer = _asked(ask, f"count by ({written_label(label)}) ({_BUILD_INFO})")
    itself = {series.labels.get(label, "") for series in answer.series}
    return frozenset((itself | exporters) - servers - {""})


async def survey_alertmanager(alertmanagers: Alertmanagers) -> AlertmanagerFacts:
    """What an Alertmanager knows. RemoteError when it cannot be asked."""
    config = await alertmanagers.config()
    snapshot = await alertmanagers.alerts()
    return AlertmanagerFacts(config, tuple(alert.labels for alert in snapshot.alerts))


def _counted(ask: Ask, label: str) -> Sequence[Series]:
    """The number of series of each existing metric for each set of the relevant labels."""
    labels = dict.fromkeys((*SERVICE_LABELS, *STATUS_LABELS, "namespace", *([label] if label else ())))
    answer = _asked(ask, f"count by (__name__, {', '.join(map(written_label, labels))}) ({_KNOWN})")
    if answer.query_status is not QueryStatus.SEEN:
        raise RemoteError(f"cannot ask for metrics: {answer.error}", retry=False)
    return answer.series


def _metrics(counted: Iterable[Series]) -> dict[str, Metric]:
    """The existing metrics by name, with counts of the relevant labels of their series."""
    metrics: dict[str, Metric] = {}
    for series in counted:
        name = series.labels.get("__name__", "")
        metric = metrics.setdefault(name, Metric(name))
        metric.count(series.labels, int(series.value))
    return metrics


def _labels(ask: Ask) -> list[str]:
    """The label names of those metrics' series. A sample of each metric is enough: a large Prometheus has very many."""
    found = _asked(ask, f"topk by (__name__) (50, {_KNOWN})").series
    return sorted({name for series in found for name in series.labels} - {"__name__", "le"})


def _asked(ask: Ask, expr: str) -> Answer:
    """The answer, whatever it says. RemoteError when there is none since Prometheus cannot be reached."""
    answer = ask(expr)
    if answer.query_status is QueryStatus.UNREACHABLE:
        raise RemoteError(answer.error, retry=True)
    return answer

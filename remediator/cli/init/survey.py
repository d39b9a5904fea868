"""Asks Prometheus which metrics of the conventions exist and which series they have, and Alertmanager for its facts.

All queries are instant queries, so that only series with data now are found.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain

from remediator.cli.init.conventions import (
    CONVENTIONS,
    SERVICE_LABELS,
    STATUS_LABELS,
)
from remediator.cli.init.errors import DraftError
from remediator.cli.init.questions import Metric, choose_label, questions
from remediator.cli.init.survey_result import AlertmanagerFacts, QuestionResult, Survey
from remediator.clients.alertmanager import Alertmanagers
from remediator.clients.prometheus.client import Answer
from remediator.errors import RemoteError
from remediator.model.health import QueryStatus
from remediator.rules.promql_words import written_label

Ask = Callable[[str], Answer]
"""An instant query."""

_KNOWN = '{{__name__=~"{}"}}'.format("|".join(chain.from_iterable(convention.metrics for convention in CONVENTIONS)))
"""Selects every series of a metric that the conventions know."""


def survey_prometheus(ask: Ask, label: str = "") -> Survey:
    """What a Prometheus knows. `label` is the service label if the user named one.

    RemoteError when Prometheus cannot be asked, DraftError when it has nothing that the conventions know, or no series
    of theirs with that label.
    """
    metrics = _metrics(ask, label)
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
    results, unanswered = [], []
    for question in questions(metrics, chosen):
        answer = _asked(ask, question.expr)
        if answer.sight is not QueryStatus.SEEN:
            unanswered.append(f"{question.name}: {answer.error}")
            continue
        seen = tuple(series.labels for series in answer.series if math.isfinite(series.value))
        if seen:
            results.append(QuestionResult(question, seen))
        else:
            unanswered.append(f"{question.name}: {question.metric} is there, but the expression sees no series now")
    return Survey(chosen, reason, tuple(results), tuple(unanswered))


async def survey_alertmanager(alertmanagers: Alertmanagers) -> AlertmanagerFacts:
    """What an Alertmanager knows. RemoteError when it cannot be asked."""
    config = await alertmanagers.config()
    snapshot = await alertmanagers.alerts()
    return AlertmanagerFacts(config, tuple(alert.labels for alert in snapshot.alerts))


def _metrics(ask: Ask, label: str) -> dict[str, Metric]:
    """The existing metrics by name, with counts of the relevant labels of their series."""
    labels = dict.fromkeys((*SERVICE_LABELS, *STATUS_LABELS, *([label] if label else ())))
    answer = _asked(ask, f"count by (__name__, {', '.join(map(written_label, labels))}) ({_KNOWN})")
    if answer.sight is not QueryStatus.SEEN:
        raise RemoteError(f"cannot ask for metrics: {answer.error}", retry=False)
    metrics: dict[str, Metric] = {}
    for series in answer.series:
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
    if answer.sight is QueryStatus.UNREACHABLE:
        raise RemoteError(answer.error, retry=True)
    return answer

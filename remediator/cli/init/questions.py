"""Chooses the service label, and makes one expression for each threshold from the existing metrics. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from remediator.cli.init.conventions import (
    CONVENTIONS,
    SERVICE_LABELS,
    STATUS_LABELS,
    Convention,
    SeriesKind,
    expression,
)

_CLASSIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
"""Metric names that PromQL has unquoted. Others are left out: they would have to be quoted in the expressions."""
_HTTP = tuple(one for one in CONVENTIONS if one.kind is SeriesKind.SERVICE and one.question != "up")


@dataclass
class Metric:
    """An existing metric: its number of series, and how many of them carry each label."""

    name: str
    series: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def count(self, labels: Mapping[str, str], series: int) -> None:
        """Count series that have these labels, among others."""
        self.series += series
        for label, value in labels.items():
            if value:
                self.labels[label] += series


@dataclass(frozen=True)
class Question:
    """A convention applied to one metric, which becomes a threshold. `name` is unique."""

    name: str
    convention: Convention
    metric: str
    expr: str


def choose_label(metrics: Mapping[str, Metric]) -> tuple[str, str]:
    """The label that names services, and the reason: the likeliest one that most series of an HTTP server's metric carry.

    If there is none, `up` decides. Each metric counts alone: metrics of Prometheus itself have only `job`.
    """
    telling = [metric for metric in metrics.values() if any(_fits(one, metric.name) for one in _HTTP)]
    for candidates in (telling, [metric for metric in metrics.values() if metric.name == "up"]):
        for label in SERVICE_LABELS:
            carriers = [metric for metric in candidates if 2 * metric.labels[label] > metric.series]
            if carriers and label != "job":
                clearest = max(carriers, key=lambda metric: metric.labels[label])
                return label, f"{_share(clearest, label)} series of {clearest.name} carry it"
    return "job", "Prometheus gives it to all that it scrapes, and most series have no other that names a service"


def _share(metric: Metric, label: str) -> str:
    carry = metric.labels[label]
    return f"all {carry}" if carry == metric.series else f"{carry} of {metric.series}"


def questions(metrics: Mapping[str, Metric], label: str, *, namespaced: bool = False) -> list[Question]:
    """The questions, in the order of the conventions.

    With `namespaced` those about services tell namespaces apart, if most series of the metric have one.
    """
    asked: dict[str, Question] = {}
    for convention in CONVENTIONS:
        if not all(any(re.fullmatch(pattern, name) for name in metrics) for pattern in convention.metrics):
            continue
        for metric, prefix, statuses in _askable(convention, metrics):
            name = f"{prefix}{convention.name}"
            if name in asked:
                name = f"{metric}_{convention.name}"
            apart = namespaced and convention.kind is SeriesKind.SERVICE and label != "namespace"
            apart = apart and 2 * metrics[metric].labels["namespace"] > metrics[metric].series
            text = expression(convention, metric, label, statuses, namespaced=apart)
            asked[name] = Question(name, convention, metric, text)
    return list(asked.values())


def _askable(convention: Convention, metrics: Mapping[str, Metric]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The metrics that fit the convention, each with its prefix and its status labels."""
    for name in sorted(metrics):
        found = re.fullmatch(convention.metrics[0], name)
        statuses = tuple(label for label in STATUS_LABELS if metrics[name].labels[label])
        if found is not None and _CLASSIC.fullmatch(name) and (statuses or "<errors>" not in convention.expr):
            yield name, (found.lastindex and found[1]) or "", statuses


def _fits(convention: Convention, name: str) -> bool:
    return re.fullmatch(convention.metrics[0], name) is not None

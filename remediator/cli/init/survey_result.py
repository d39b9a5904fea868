"""The result of a survey: the series of each question's expression, and facts from Alertmanager. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from remediator.cli.init.questions import Question


@dataclass(frozen=True)
class QuestionResult:
    """The labels of the series that a question's expression has now, except those without a finite value."""

    question: Question
    series: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Survey:
    """What Prometheus knows. `reason` says why `label` is the service label; `unanswered` why questions were skipped."""

    label: str
    reason: str
    results: tuple[QuestionResult, ...]
    unanswered: tuple[str, ...] = ()
    monitors: frozenset[str] = frozenset()
    """Values of the service label that are monitoring itself: remediator, Prometheus, Alertmanager, and exporters, whose
    series are of other things."""


@dataclass(frozen=True)
class AlertmanagerFacts:
    """What Alertmanager knows: its running configuration, and the labels of the firing alerts."""

    config: str
    alerts: tuple[Mapping[str, str], ...] = ()

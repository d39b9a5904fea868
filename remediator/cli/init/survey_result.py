"""What a survey comes back with: whom each question's expression sees, and what Alertmanager knows. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from remediator.cli.init.questions import Question


@dataclass(frozen=True)
class QuestionResult:
    """Whom a question's expression sees now: the labels of its series, those without a number left out."""

    question: Question
    series: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Survey:
    """What Prometheus knows. `reason` is why `label` is the service label, `blind` why questions were passed over."""

    label: str
    reason: str
    results: tuple[QuestionResult, ...]
    unanswered: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlertmanagerFacts:
    """What Alertmanager knows: its configuration as it runs, and the labels of the alerts that fire."""

    config: str
    alerts: tuple[Mapping[str, str], ...] = ()

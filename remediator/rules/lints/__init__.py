"""What is allowed, and hardly meant: one function per named lint, each from the rule set to the warnings it finds.

An author who means it says so in place, in a comment on the line or above it: `# remediator: allow NAME`. A lint says
nothing when it is not sure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from remediator.problem import Problem
from remediator.rules.lints.conditions import empty_condition
from remediator.rules.lints.filters import filtered_threshold
from remediator.rules.lints.labels import missing_label, no_service_label
from remediator.rules.lints.limits import idle_rate, short_cooldown, short_for, short_within
from remediator.rules.lints.reach import matches_no_service, shadowed_runbook
from remediator.rules.lints.steps import default_timeout, repeated_rollback, unbounded_scale
from remediator.rules.ruleset import RuleSet

Lint = Callable[[RuleSet], Iterator[Problem]]


def find_warnings(rules: RuleSet) -> list[Problem]:
    """What every lint finds."""
    return [problem for lint in LINTS.values() for problem in lint(rules)]


LINTS: dict[str, Lint] = {
    "matches-no-service": matches_no_service,
    "shadowed-runbook": shadowed_runbook,
    "no-service-label": no_service_label,
    "filtered-threshold": filtered_threshold,
    "missing-label": missing_label,
    "short-for": short_for,
    "short-within": short_within,
    "short-cooldown": short_cooldown,
    "idle-rate": idle_rate,
    "unbounded-scale": unbounded_scale,
    "repeated-rollback": repeated_rollback,
    "default-timeout": default_timeout,
    "empty-condition": empty_condition,
}
"""Every lint by its documented name; rules/README.md says more of each."""

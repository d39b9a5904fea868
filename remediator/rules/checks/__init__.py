"""The errors that rules as a whole may have: one function for each named check, from the rule set to the problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from remediator.problem import Problem
from remediator.rules.checks.all_rules import (
    contradicting_matchers,
    equal_names,
    unknown_prometheus,
    unknown_variable,
)
from remediator.rules.checks.runbooks import (
    no_steps,
    runbook_never_chosen,
    scale_arguments,
    unknown_action,
    unknown_count,
    verify_window,
)
from remediator.rules.checks.services import (
    dependency_cycle,
    label_not_in_name,
    missing_param,
    unknown_dependency,
    unknown_param,
    unknown_target,
    unknown_undo,
)
from remediator.rules.checks.thresholds import no_comparison, template_in_expr, wrong_way_round
from remediator.rules.ruleset import RuleSet

Check = Callable[[RuleSet], Iterator[Problem]]


def find_problems(rules: RuleSet) -> list[Problem]:
    """What every check finds."""
    return [problem for check in CHECKS.values() for problem in check(rules)]


CHECKS: dict[str, Check] = {
    "equal-names": equal_names,
    "unknown-prometheus": unknown_prometheus,
    "unknown-target": unknown_target,
    "missing-param": missing_param,
    "unknown-param": unknown_param,
    "unknown-action": unknown_action,
    "unknown-undo": unknown_undo,
    "unknown-dependency": unknown_dependency,
    "dependency-cycle": dependency_cycle,
    "contradicting-matchers": contradicting_matchers,
    "runbook-never-chosen": runbook_never_chosen,
    "no-comparison": no_comparison,
    "wrong-way-round": wrong_way_round,
    "template-in-expr": template_in_expr,
    "no-steps": no_steps,
    "scale-arguments": scale_arguments,
    "unknown-count": unknown_count,
    "verify-window": verify_window,
    "unknown-variable": unknown_variable,
    "label-not-in-name": label_not_in_name,
}
"""Every check by its documented name; the first line of its docstring says what it finds."""

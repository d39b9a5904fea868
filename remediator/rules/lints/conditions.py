"""Lints of conditions, `if:` and `unless:`: those that can never be seen to be false."""

from __future__ import annotations

import re
from collections.abc import Iterator

from remediator.problem import Problem, Severity
from remediator.rules.conditions import FalseFilter, false_filter
from remediator.rules.promql_words import offset_of
from remediator.rules.ruleset import RuleSet, steps_of

_TEMPLATE = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_GUARD = re.compile(r"\bguard\([^()]*\)")


def empty_condition(rules: RuleSet) -> Iterator[Problem]:
    """A condition is empty when it is false, as a comparison without bool is: it cannot be told from one whose series are
    missing, and so holds the step. Or it is an absent() of such a one, which is true while they are missing."""
    for runbook, index, step in steps_of(rules):
        for key, text in (("if", step.if_), ("unless", step.unless)):
            if not step.guard_empty or "{%" in text:
                continue
            # What is put in their place keeps the offsets.
            asked = _TEMPLATE.sub(lambda found: "x" * len(found[0]), text)
            asked = _GUARD.sub(lambda found: re.sub(r"\W", "_", found[0]), asked)
            found = false_filter(asked)
            if found is not None:
                place = runbook.at("steps", index, key, offset=offset_of(asked, found.at))
                yield Problem(place, "empty-condition", *_said(key, found), Severity.WARNING)


def _said(key: str, found: FalseFilter) -> tuple[str, str]:
    if found.absent:
        message = (
            f"{key}: is true also while the series that it asks about are missing, as {found.text} leaves absent() none"
        )
        return message, "write the opposite with bool, as up <= bool 5 for absent(up > 5)"
    message = (
        f"{key}: is empty when it is false, as {found.text} leaves no series then: that cannot be told from series that"
        " are missing, and the step is held"
    )
    if found.text == "unless":
        return message, "write both sides as 1 and 0, and multiply: (…) * (1 - …); or guard_empty: false beside it"
    remedy = f"write {found.text} bool, which gives 1 or 0, with * for and, + for or; or guard_empty: false beside it"
    return message, remedy

"""Lints of expressions that see trouble only: health cannot be seen by them."""

from __future__ import annotations

from collections.abc import Iterator

from remediator.problem import Problem, Severity
from remediator.rules.promql_filters import HealthFilter, health_filter
from remediator.rules.promql_words import offset_of
from remediator.rules.ruleset import RuleSet


def filtered_threshold(rules: RuleSet) -> Iterator[Problem]:
    """A threshold's expression drops the series of services that are well: their health is unknown, so that no heal can be
    seen to help."""
    for threshold in rules.thresholds:
        item = threshold.item
        found = health_filter(item) if threshold.whole and "{{" not in item.expr else None
        if found is not None:
            message = (
                f"threshold {item.name} has no series of a service that is well, as {found.text} drops them: its health is"
                " never seen, and no heal can be seen to help"
            )
            place = threshold.at("expr", offset=offset_of(item.expr, found.at))
            yield Problem(place, "filtered-threshold", message, _remedy(found), Severity.WARNING)


def _remedy(found: HealthFilter) -> str:
    if found.absent:
        return "ask for what is there when all is well, as with up{…} and failed: '< 1'; or add: or 0 * up{…}"
    sign, _, bound = found.text.partition(" ")
    with_bool = f"{sign} bool {bound}".rstrip()
    if found.counted:
        return f"write sum(… {with_bool}), which is 0 when all is well; or add what is then there: or 0 * …"
    return (
        f"take the comparison off, which degraded: and failed: are for; or write {with_bool}; or add what is there when all"
        " is well: or 0 * …"
    )

"""Checks of thresholds: what their values mean, and what their expressions may hold."""

from __future__ import annotations

from collections.abc import Iterator

from remediator.problem import Problem
from remediator.rules.promql_words import written_label
from remediator.rules.ruleset import (
    RuleSet,
    direction,
    implies,
)


def no_comparison(rules: RuleSet) -> Iterator[Problem]:
    """A threshold has neither degraded nor failed, so every value would be healthy."""
    for threshold in rules.thresholds:
        item = threshold.item
        if threshold.whole and item.degraded is None and item.failed is None:
            message = f"threshold {item.name} has neither degraded nor failed, so every value would be healthy"
            yield Problem(
                threshold.at("name"), "no-comparison", message, "add failed: with a comparison such as '> 0.10'"
            )


def wrong_way_round(rules: RuleSet) -> Iterator[Problem]:
    """A threshold's failed is not stricter than its degraded, or looks the other way."""
    for threshold in rules.thresholds:
        degraded, failed = threshold.item.degraded, threshold.item.failed
        if degraded is None or failed is None:
            continue
        message = ""
        if direction(degraded) * direction(failed) < 0:
            message = f"degraded {degraded} and failed {failed} look in opposite directions"
        elif implies(degraded, failed):
            message = f"every value that is degraded ({degraded}) is failed ({failed}) already"
        if message:
            remedy = "failed is the worse one, and is judged first: make it stricter, in the same direction"
            yield Problem(threshold.at("failed"), "wrong-way-round", message, remedy)


def template_in_expr(rules: RuleSet) -> Iterator[Problem]:
    """A threshold's expression holds a template, though one query serves all services."""
    for threshold in rules.thresholds:
        offset = threshold.item.expr.find("{{")
        if offset >= 0:
            yield Problem(
                threshold.at("expr", offset=offset),
                "template-in-expr",
                "a threshold's expr is asked once for all services, so it holds no {{ }}",
                f"aggregate by the label that names the service: sum by ({written_label(rules.service_label)}) (…)",
            )

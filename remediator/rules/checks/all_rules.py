"""Checks of every kind of rule: names, matchers, and the variables of templates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from remediator.config.document import nearest
from remediator.problem import Problem
from remediator.rules.ruleset import (
    Located,
    RuleSet,
    contradiction,
    steps_of,
    templates_of,
)
from remediator.template.compile import compile_template


def equal_names(rules: RuleSet) -> Iterator[Problem]:
    """Two services, thresholds, runbooks or targets have the same name."""
    kinds: tuple[tuple[str, Sequence[Located[Any]]], ...] = (
        ("service", rules.services),
        ("threshold", rules.thresholds),
        ("runbook", rules.runbooks),
        ("target", rules.targets),
    )
    for kind, located in kinds:
        first: dict[str, Located[Any]] = {}
        for rule in located:
            earlier = first.setdefault(rule.item.name, rule)
            if earlier is not rule:
                message = f"there is another {kind} of the name {rule.item.name}, at {earlier.at('name')}"
                yield Problem(rule.at("name"), "equal-names", message, "give one of them another name")


def contradicting_matchers(rules: RuleSet) -> Iterator[Problem]:
    """The matchers of a service or threshold cannot all hold, so nothing ever matches."""
    kinds: tuple[tuple[str, Sequence[Located[Any]]], ...] = (
        ("service", rules.services),
        ("threshold", rules.thresholds),
    )
    for kind, located in kinds:
        for rule in located:
            pair = contradiction(rule.item.match) if rule.whole else None
            if pair:
                one, other = (rule.item.match[index] for index in pair)
                message = f"{one} and {other} never hold together, so {kind} {rule.item.name} matches nothing"
                yield Problem(rule.at("match", pair[1]), "contradicting-matchers", message, "take one of them away")


def unknown_variable(rules: RuleSet) -> Iterator[Problem]:
    """A template uses a variable that does not exist where it stands."""
    for used in templates_of(rules):
        if "{{" not in used.text and "{%" not in used.text:
            continue
        for name in sorted(compile_template(used.text, used.kind).variables - used.variables):
            found = re.search(rf"\b{re.escape(name)}\b", used.text)
            place = used.at(*used.path, offset=found.start() if found else None)
            remedy = nearest(name, used.variables) if used.variables else "a service with a plain name has no templates"
            yield Problem(place, "unknown-variable", f"there is no variable {name} here", remedy)


def unknown_prometheus(rules: RuleSet) -> Iterator[Problem]:
    """A service, threshold or step names a Prometheus that the config does not have."""
    if rules.prometheis is None:
        return
    named = [(one.item.prometheus, one.at("prometheus")) for one in rules.services]
    named += [(one.item.prometheus, one.at("prometheus")) for one in rules.thresholds]
    named += [(step.prometheus, runbook.at("steps", index, "prometheus")) for runbook, index, step in steps_of(rules)]
    for name, place in named:
        if name and name not in rules.prometheis:
            message = f"the config has no Prometheus of the name {name}"
            remedy = nearest(name, rules.prometheis) or "give one under prometheus: in the config a name:"
            yield Problem(place, "unknown-prometheus", message, remedy)

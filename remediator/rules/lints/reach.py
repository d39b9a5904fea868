"""Lints about the services that rules reach: thresholds and runbooks for no service, and runbooks that are never chosen."""

from __future__ import annotations

from collections.abc import Iterator

from remediator.problem import Problem, Severity
from remediator.rules.precedence import sound, taken_before
from remediator.rules.ruleset import RuleSet, judges, reaches


def matches_no_service(rules: RuleSet) -> Iterator[Problem]:
    """A threshold or runbook whose matchers fit no service of the rules, whatever its templates render to. Runbooks also
    match the labels of alerts."""
    services = [located.item for located in rules.services]
    if not services or not all(located.whole for located in rules.services):
        return
    remedy = "correct its matchers, or the labels of a service"
    for threshold in rules.thresholds:
        if sound(threshold) and all(judges(threshold.item, service) is False for service in services):
            message = f"threshold {threshold.item.name} judges no service: none has labels that its matchers want"
            yield Problem(threshold.at("match"), "matches-no-service", message, remedy, Severity.WARNING)
    for runbook in rules.runbooks:
        if sound(runbook) and all(reaches(runbook.item, service) is False for service in services):
            message = f"runbook {runbook.item.name} is for no service: all have other labels than its matchers want"
            yield Problem(runbook.at("match"), "matches-no-service", message, remedy, Severity.WARNING)


def shadowed_runbook(rules: RuleSet) -> Iterator[Problem]:
    """A runbook that none of the services of the rules ever comes to: for each of them one of several earlier ones is
    chosen. If a single one is chosen for all, that is an error, `runbook-never-chosen`."""
    for runbook, earlier in taken_before(rules):
        if len(earlier) > 1:
            names = " and ".join(other.item.name for other in earlier)
            message = (
                f"runbook {runbook.item.name} is never chosen: before it come {names}, for every service that it is for"
            )
            remedy = "put it before them, or make their match narrower"
            yield Problem(runbook.at("name"), "shadowed-runbook", message, remedy, Severity.WARNING)

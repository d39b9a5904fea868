"""Lints of whom rules reach: thresholds and runbooks that are for no service, and runbooks that others keep from any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from remediator.model.health import Health
from remediator.model.rules import Runbook, Service, Threshold
from remediator.problem import Problem, Severity
from remediator.rules.ruleset import (
    Located,
    RuleSet,
    alike,
    contradiction,
    implied,
    judges,
    reaches,
    shadows,
)
from remediator.template.compile import templated


def matches_no_service(rules: RuleSet) -> Iterator[Problem]:
    """A threshold or runbook whose matchers surely fit no service of the rules, whatever templates make of it. What
    runbooks match may have the labels of an alert as well."""
    services = [located.item for located in rules.services]
    if not services or not all(located.whole for located in rules.services):
        return
    remedy = "correct its matchers, or the labels of a service"
    for threshold in rules.thresholds:
        if _sound(threshold) and all(judges(threshold.item, service) is False for service in services):
            message = f"threshold {threshold.item.name} judges no service: none has labels that its matchers want"
            yield Problem(threshold.at("match"), "matches-no-service", message, remedy, Severity.WARNING)
    for runbook in rules.runbooks:
        if _sound(runbook) and all(reaches(runbook.item, service) is False for service in services):
            message = f"runbook {runbook.item.name} is for no service: all have other labels than its matchers want"
            yield Problem(runbook.at("match"), "matches-no-service", message, remedy, Severity.WARNING)


def shadowed_runbook(rules: RuleSet) -> Iterator[Problem]:
    """A runbook that none of the services of the rules ever comes to, because for each of them earlier ones are chosen.
    That it could never be chosen for any service at all is an error, `runbook-never-chosen`."""
    groups = [group[0] for group in alike(rules)]
    earlier: list[Located[Runbook]] = []
    for runbook in rules.runbooks:
        if not _sound(runbook) or any(shadows(other.item, runbook.item) for other in earlier):
            continue
        reached = [service for service in groups if reaches(runbook.item, service) is not False]
        pairs = [(service, health) for service in reached for health in runbook.item.when]
        before = [_chosen_before(earlier, runbook.item, service, health) for service, health in pairs]
        taken = list(dict.fromkeys(name for name in before if name is not None))
        if before and None not in before:
            come = "come" if len(taken) > 1 else "comes"
            message = (
                f"runbook {runbook.item.name} is never chosen: before it {come} {' and '.join(taken)}, for every"
                " service that it is for"
            )
            remedy = "put it before them, or make their match narrower"
            yield Problem(runbook.at("name"), "shadowed-runbook", message, remedy, Severity.WARNING)
        earlier.append(runbook)


def _chosen_before(earlier: Sequence[Located[Runbook]], later: Runbook, service: Service, health: Health) -> str | None:
    """The runbook that is surely chosen for this service, at this health, wherever the later one could be."""
    for located in earlier:
        runbook = located.item
        if runbook.corroborate and not later.corroborate:
            continue
        # One that believes an alert by itself may see another health than one that does not.
        same = runbook.corroborate == later.corroborate
        when = health in runbook.when if same else len(runbook.when) == 2
        known = {name: value for name, value in service.labels.items() if not templated(value)}
        if when and all(
            matcher.matches(known) if matcher.name in known else implied(matcher, later.match)
            for matcher in runbook.match
        ):
            return runbook.name
    return None


def _sound(rule: Located[Threshold] | Located[Runbook]) -> bool:
    """Whether its matchers could be read, and can hold together; that they cannot is told by itself."""
    return rule.whole and contradiction(rule.item.match) is None

"""What is allowed, and hardly meant: one function per named lint, each from the rule set to the warnings it finds.

An author who means it says so in place, in a comment on the line or above it: `# remediator: allow NAME`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from remediator.durations import format_duration
from remediator.matcher import matches_all
from remediator.problem import Problem, Severity
from remediator.rulebook import Runbook, Threshold
from remediator.ruleset import RuleSet, Written, contradiction

Lint = Callable[[RuleSet], Iterator[Problem]]


def find_warnings(rules: RuleSet) -> list[Problem]:
    """What every lint finds."""
    return [problem for lint in LINTS.values() for problem in lint(rules)]


def short_cooldown(rules: RuleSet) -> Iterator[Problem]:
    """A runbook may begin anew before its last step had the time that it is given to help."""
    for runbook in rules.runbooks:
        cooldown, within = runbook.item.limits.cooldown, runbook.item.verify.within
        if runbook.whole and cooldown < within:
            message = (
                f"cooldown {format_duration(cooldown)} is shorter than within {format_duration(within)}:"
                " a new heal may begin before the last one could be seen to help"
            )
            remedy = f"write a cooldown of {format_duration(within)} or more"
            yield Problem(runbook.at("limits", "cooldown"), "short-cooldown", message, remedy, Severity.WARNING)


def matches_no_service(rules: RuleSet) -> Iterator[Problem]:
    """A threshold or runbook whose matchers fit no service of the rules. Templated services may have any labels, and
    what runbooks match may have those of an alert as well."""
    services = [written.item for written in rules.services]
    if not services or any("{{" in service.name for service in services):
        return
    remedy = "correct its matchers, or the labels of a service"
    for threshold in rules.thresholds:
        if _sound(threshold) and not any(matches_all(threshold.item.match, service.labels) for service in services):
            message = f"threshold {threshold.item.name} judges no service: none has labels that its matchers want"
            yield Problem(threshold.at("match"), "matches-no-service", message, remedy, Severity.WARNING)
    for runbook in rules.runbooks:
        known = [[one for one in runbook.item.match if one.name in service.labels] for service in services]
        fits = (matches_all(match, service.labels) for match, service in zip(known, services, strict=True))
        if _sound(runbook) and not any(fits):
            message = f"runbook {runbook.item.name} is for no service: all have other labels than its matchers want"
            yield Problem(runbook.at("match"), "matches-no-service", message, remedy, Severity.WARNING)


def _sound(rule: Written[Threshold] | Written[Runbook]) -> bool:
    """Whether its matchers could be read, and can hold together; that they cannot is told by itself."""
    return rule.whole and contradiction(rule.item.match) is None


LINTS: dict[str, Lint] = {"short-cooldown": short_cooldown, "matches-no-service": matches_no_service}

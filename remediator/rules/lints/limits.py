"""Lints of times and rates: times that are too short for what they wait for, and rates that limit nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

from remediator.model.durations import format_duration
from remediator.model.rules import Runbook, Threshold
from remediator.problem import Problem, Severity
from remediator.rules.promql import look_back
from remediator.rules.ruleset import RuleSet, alike, direction, judges, reaches


def short_for(rules: RuleSet) -> Iterator[Problem]:
    """A `for` is shorter than the interval between two evaluations."""
    interval = rules.evaluation_interval
    for threshold in rules.thresholds:
        if 0 < threshold.item.for_ < interval:
            message = (
                f"for {format_duration(threshold.item.for_)} is shorter than evaluation_interval"
                f" {format_duration(interval)}: the next look is the first that can end it"
            )
            remedy = f"write a for of {format_duration(interval)} or more, or leave it out"
            yield Problem(threshold.at("for"), "short-for", message, remedy, Severity.WARNING)


def short_within(rules: RuleSet) -> Iterator[Problem]:
    """A runbook's `within` is shorter than the range in which a threshold still sees the trouble."""
    backs = [(_look_back(threshold.item), threshold.item) for threshold in rules.thresholds]
    backs.sort(key=lambda pair: pair[0], reverse=True)
    for runbook in rules.runbooks:
        within = runbook.item.verify.within
        if not runbook.whole or within < runbook.item.verify.healthy_for:  # an error of its own
            continue
        slow = [(back, threshold) for back, threshold in backs if back > within]
        reached = [one.item for one in rules.services if slow and reaches(runbook.item, one.item) is not False]
        for back, threshold in slow:
            if not any(judges(threshold, service) for service in reached):
                continue
            message = (
                f"within {format_duration(within)} is shorter than the {format_duration(back)} that threshold"
                f" {threshold.name} looks back: it may still see the trouble when a step has helped"
            )
            remedy = f"write a within of {format_duration(back)} or more, or a shorter range in the expression"
            yield Problem(runbook.at("verify", "within"), "short-within", message, remedy, Severity.WARNING)
            break


def short_cooldown(rules: RuleSet) -> Iterator[Problem]:
    """A runbook may start again before its last step had its time to help."""
    for runbook in rules.runbooks:
        cooldown, within = runbook.item.limits.cooldown, runbook.item.verify.within
        if runbook.whole and cooldown < within:
            message = (
                f"cooldown {format_duration(cooldown)} is shorter than within {format_duration(within)}:"
                " a new heal may begin before the last one could be seen to help"
            )
            remedy = f"write a cooldown of {format_duration(within)} or more"
            yield Problem(runbook.at("limits", "cooldown"), "short-cooldown", message, remedy, Severity.WARNING)


def idle_rate(rules: RuleSet) -> Iterator[Problem]:
    """A rate that limits nothing, because the cooldown allows fewer commands. The number of services that share the rate
    is known only when all of them are named."""
    if any(located.item.templated for located in rules.services):
        return
    groups = alike(rules)
    for runbook in rules.runbooks:
        reached = sum(len(group) for group in groups if reaches(runbook.item, group[0]) is not False)
        for index, rate in enumerate(runbook.item.limits.rate if runbook.whole else ()):
            most = _most_commands(runbook.item, rate.window) * reached
            if 0 < most < rate.count:
                services = "1 service takes" if reached == 1 else f"{reached} services take"
                cooldown = format_duration(runbook.item.limits.cooldown)
                message = (
                    f"rate {rate} limits nothing: with a cooldown of {cooldown} its {services} at most {most} commands"
                    f" in {format_duration(rate.window)}"
                )
                remedy = f"write fewer than {most}, or leave it out"
                yield Problem(runbook.at("limits", "rate", index), "idle-rate", message, remedy, Severity.WARNING)


def _look_back(threshold: Threshold) -> float:
    """How many seconds a threshold looks back. 0 when that is unknown."""
    worse = {direction(comparison) for comparison in (threshold.degraded, threshold.failed) if comparison is not None}
    return look_back(threshold.expr, worse.pop() if len(worse) == 1 else 0) or 0.0


def _most_commands(runbook: Runbook, window: float) -> int:
    """How many commands a service can get in a window if each heal tries every step as often as it may. 0 when there is no
    limit. A heal that began just before the window may still run in it."""
    cooldown, attempts = runbook.limits.cooldown, sum(step.attempts for step in runbook.steps)
    return (math.floor(window / cooldown) + 2) * attempts if cooldown else 0

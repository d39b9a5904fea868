"""Checks of runbooks: whether one can be chosen, and whether its steps can be run and can be seen to help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from remediator.config.document import nearest
from remediator.model.durations import format_duration
from remediator.model.rules import Runbook, Service
from remediator.problem import Problem
from remediator.rules.precedence import shadows, taken_before
from remediator.rules.ruleset import (
    Located,
    RuleSet,
    actions_of,
    alike,
    contradiction,
    reaches,
    steps_of,
    unsure,
)


def runbook_never_chosen(rules: RuleSet) -> Iterator[Problem]:
    """A runbook that can never be chosen: an earlier one takes all it is for, or its matchers cannot all hold."""
    taken = {id(later): others for later, others in taken_before(rules) if len(others) == 1}
    earlier: list[Located[Runbook]] = []
    for runbook in rules.runbooks:
        if not runbook.whole:
            continue
        item, pair = runbook.item, contradiction(runbook.item.match)
        shadow = next((other for other in earlier if shadows(other.item, item)), None)
        message = remedy = ""
        path: tuple[str | int, ...] = ("name",)
        if not item.when:
            message, path = f"runbook {item.name} can never be chosen: its when is empty", ("when",)
            remedy = "write when: [degraded, failed], or leave it out"
        elif pair:
            one, other_one = (item.match[index] for index in pair)
            message, path = (
                f"runbook {item.name} can never be chosen: {one} and {other_one} never hold together",
                ("match", pair[1]),
            )
            remedy = "take one of them away"
        elif shadow is not None:
            message = f"runbook {item.name} can never be chosen: runbook {shadow.item.name}, at {shadow.at('name')}, comes before it and takes all that it is for"
            remedy = "put it before the other one, or make the other one's match narrower"
        elif id(runbook) in taken:
            (other,) = taken[id(runbook)]
            message = (
                f"runbook {item.name} is never chosen: runbook {other.item.name}, at {other.at('name')}, comes before it"
                " for every service that it is for"
            )
            remedy = "put it before the other one, or make the other one's match narrower"
        else:
            earlier.append(runbook)
        if message:
            yield Problem(runbook.at(*path), "runbook-never-chosen", message, remedy)


def no_steps(rules: RuleSet) -> Iterator[Problem]:
    """A runbook has no steps."""
    for runbook in rules.runbooks:
        if runbook.whole and not runbook.item.steps:
            message = f"runbook {runbook.item.name} has no steps"
            yield Problem(runbook.at("steps", key=True), "no-steps", message, "add a step, such as restart")


def unknown_action(rules: RuleSet) -> Iterator[Problem]:
    """A runbook's step is an action that the target of a service it is for does not offer."""
    targets, unread = rules.all_targets, rules.unread_targets
    groups = alike(rules)
    elsewhere = "give the service a target that has the action, or make the runbook's match narrower"
    for runbook in rules.runbooks:
        steps = [(i, step) for i, step in enumerate(runbook.item.steps) if step.spec is None and step.action]
        reached = [(group, reaches(runbook.item, group[0])) for group in groups] if steps else []
        matched = [(group, sure) for group, sure in reached if sure is not False]
        known = [(group, sure) for group, sure in matched if not unsure(group[0], targets, unread)]
        for index, step in steps:
            without = [(group, sure) for group, sure in known if step.action not in actions_of(group[0], targets)]
            # A service that only might match is no fault as long as some other one can be healed by the step.
            wrong = without if len(without) == len(matched) else [pair for pair in without if pair[1]]
            if wrong:
                offered = {action for group, _ in known for action in actions_of(group[0], targets)}
                offered -= {"replicas", "diagnose", "probe"}
                yield Problem(
                    runbook.at("steps", index, step.action, key=True),
                    "unknown-action",
                    _no_action(step.action, [service for group, _ in wrong for service in group]),
                    elsewhere if step.action in offered else nearest(step.action, offered) or elsewhere,
                )


def _no_action(action: str, services: Sequence[Service]) -> str:
    service, others = services[0], len(services) - 1
    more = f"; nor has that of {others} more" if others else ""
    if service.target is None:
        return f"service {service.name} has no target, and so no action {action}{more}"
    return f"target {service.target.name} of service {service.name} has no action {action}{more}"


def scale_arguments(rules: RuleSet) -> Iterator[Problem]:
    """A scale step does not say how far, says it twice, or its min, max and to contradict each other."""
    for runbook, index, step in steps_of(rules):
        if step.action != "scale" or step.spec is not None:
            continue
        args = step.args
        by, to, low, high = (args.get(name) for name in ("by", "to", "min", "max"))
        message, key, remedy = "", "", ""
        if (by is None) == (to is None) and runbook.whole:
            message = "scale has both by and to" if to is not None else "scale says neither by how many nor to how many"
            remedy = "write scale: {by: 1, max: 6}, or scale: {to: 3}"
        elif by == 0:
            message, key, remedy = "scale by 0 changes nothing", "by", "write a number other than 0"
        elif low is not None and high is not None and low > high:
            message, key, remedy = f"min {low} is more than max {high}", "min", "swap them"
        elif any(count is not None and count < 0 for count in (to, low, high)):
            message, remedy = "there are no fewer than 0 replicas", "write 0 or more"
        elif to is not None and ((low is not None and to < low) or (high is not None and to > high)):
            message, key, remedy = f"to {to} is outside of min and max", "to", "leave min and max out"
        if message:
            place = runbook.at("steps", index, "scale", key) if key else runbook.at("steps", index, "scale", key=True)
            yield Problem(place, "scale-arguments", message, remedy)


def unknown_count(rules: RuleSet) -> Iterator[Problem]:
    """A step scales by some, but neither it nor the target tells how many there are."""
    targets, unread, groups = rules.all_targets, rules.unread_targets, alike(rules)
    for runbook, index, step in steps_of(rules):
        if step.action != "scale" or step.spec is not None or "by" not in step.args or "replicas" in step.args:
            continue
        for service, *_ in groups:
            offered = actions_of(service, targets)
            if "scale" not in offered or "replicas" in offered or unsure(service, targets, unread):
                continue
            if reaches(runbook.item, service):
                target = service.target.name if service.target else ""
                message = f"nothing tells how many replicas service {service.name} has: target {target} has no action replicas"
                remedy = "add replicas: with a PromQL expression of the count, or scale to a number"
                yield Problem(runbook.at("steps", index, "scale", key=True), "unknown-count", message, remedy)
                break


def verify_window(rules: RuleSet) -> Iterator[Problem]:
    """A runbook waits for a recovery shorter than a recovery takes, so no step could ever help."""
    for runbook in rules.runbooks:
        verify = runbook.item.verify
        if verify.within < verify.healthy_for:
            message = (
                f"within {format_duration(verify.within)} is shorter than healthy_for"
                f" {format_duration(verify.healthy_for)}, so no step can be seen to have helped"
            )
            remedy = f"write a within longer than {format_duration(verify.healthy_for)}"
            yield Problem(runbook.at("verify", "within"), "verify-window", message, remedy)

"""The lints of rules as a whole: one function per named check, each from the rule set to the problems it finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from remediator.config.document import Path_, nearest
from remediator.model.durations import format_duration
from remediator.model.rulebook import Runbook, Service
from remediator.problem import Problem, Severity
from remediator.rules.ruleset import (
    Located,
    RuleSet,
    actions_of,
    alike,
    contradiction,
    direction,
    implies,
    instances_of,
    reaches,
    shadows,
    steps_of,
    templates_of,
    unsure,
)
from remediator.template.compile import TemplateKind, compile_template

Check = Callable[[RuleSet], Iterator[Problem]]


def find_problems(rules: RuleSet) -> list[Problem]:
    """What every check finds."""
    return [problem for check in CHECKS.values() for problem in check(rules)]


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


def unknown_target(rules: RuleSet) -> Iterator[Problem]:
    """A service names a target that does not exist."""
    targets = rules.all_targets
    for service in rules.services:
        ref = service.item.target
        if ref is not None and ref.name not in targets:
            place = service.at("target", ref.name, key=True)
            yield Problem(place, "unknown-target", f"there is no target {ref.name}", nearest(ref.name, targets))


def missing_param(rules: RuleSet) -> Iterator[Problem]:
    """A service does not give a parameter that its target requires."""
    targets, unread = rules.all_targets, rules.unread_targets
    for service in rules.services:
        ref = service.item.target
        if ref is None or ref.name not in targets or ref.name in unread or not service.whole:
            continue
        for name, default in targets[ref.name].params.items():
            if default is None and name not in ref.params:
                message = f"target {ref.name} requires the parameter {name}"
                remedy = f"write target: {{{ref.name}: {{{name}: …}}}}"
                yield Problem(service.at("target", ref.name, key=True), "missing-param", message, remedy)


def unknown_param(rules: RuleSet) -> Iterator[Problem]:
    """A service gives its target a parameter that the target does not have."""
    targets, unread = rules.all_targets, rules.unread_targets
    for service in rules.services:
        ref = service.item.target
        if ref is None or ref.name not in targets or ref.name in unread:
            continue
        known = targets[ref.name].defaults
        for name in ref.params:
            if name not in known:
                place = service.at("target", ref.name, name, key=True)
                message = f"target {ref.name} has no parameter {name}"
                yield Problem(place, "unknown-param", message, nearest(name, known) or "it has none")


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
                offered -= {"replicas", "diagnose"}
                yield Problem(
                    runbook.at("steps", index, step.action, key=True),
                    "unknown-action",
                    _no_action(step.action, [service for group, _ in wrong for service in group]),
                    elsewhere if step.action in offered else nearest(step.action, offered) or elsewhere,
                )


def unknown_undo(rules: RuleSet) -> Iterator[Problem]:
    """An action is to be taken back by one that its target does not have."""
    for target in rules.targets:
        actions = target.item.actions
        for name, spec in actions.items() if target.whole else ():
            if spec.undo and spec.undo not in actions:
                message = f"target {target.item.name} has no action {spec.undo} to take {name} back"
                yield Problem(target.at("actions", name, "undo"), "unknown-undo", message, nearest(spec.undo, actions))
    targets, unread = rules.all_targets, rules.unread_targets
    for service in rules.services:
        ref = service.item.target
        if ref is None or not service.whole or unsure(service.item, targets, unread):
            continue
        offered = actions_of(service.item, targets)
        for name, spec in ref.actions.items():
            if spec.undo and spec.undo not in offered:
                place = service.at("target", ref.name, name, "undo")
                message = f"service {service.item.name} has no action {spec.undo} to take {name} back"
                yield Problem(place, "unknown-undo", message, nearest(spec.undo, offered))


def unknown_dependency(rules: RuleSet) -> Iterator[Problem]:
    """A service depends on one that no rule file names (an error when it looks misspelt, else a warning: services can be
    added while remediator runs)."""
    plain = {service.item.name for service in rules.services}
    patterns = [instances_of(service.item.name) for service in rules.services if service.item.templated]
    for service in rules.services:
        for index, name in enumerate(service.item.depends_on):
            if "{{" in name or name in plain or any(pattern.fullmatch(name) for pattern in patterns):
                continue
            remedy = nearest(name, plain - {service.item.name})
            misspelt = remedy.startswith("did you mean")
            yield Problem(
                service.at("depends_on", index),
                "unknown-dependency",
                f"there is no service {name}",
                remedy if misspelt else "name it under services:, or add it while remediator runs",
                Severity.ERROR if misspelt else Severity.WARNING,
            )


def dependency_cycle(rules: RuleSet) -> Iterator[Problem]:
    """Services depend on each other in a circle, so none of them could be healed first."""
    services = {service.item.name: service for service in reversed(rules.services)}
    done: set[str] = set()
    for start in reversed(services):
        if start in done:
            continue
        # A walk in depth with a stack of its own: chains may be longer than Python's.
        trail = {start: iter(services[start].item.depends_on)}
        while trail:
            name = next(reversed(trail))
            step = next(trail[name], None)
            if step is None:
                done.add(name)
                del trail[name]
            elif step in trail:
                names = list(trail)
                cycle = [*names[names.index(step) :], step]
                index = services[name].item.depends_on.index(step)
                message = f"services depend on each other in a circle: {' -> '.join(cycle)}"
                yield Problem(
                    services[name].at("depends_on", index), "dependency-cycle", message, "take one dependency away"
                )
            elif step in services and step not in done:
                trail[step] = iter(services[step].item.depends_on)


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


def runbook_never_chosen(rules: RuleSet) -> Iterator[Problem]:
    """A runbook that can never be chosen: an earlier one takes all it is for, or its matchers cannot all hold."""
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
        else:
            earlier.append(runbook)
        if message:
            yield Problem(runbook.at(*path), "runbook-never-chosen", message, remedy)


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
                "aggregate by the label that names the service: sum by (service) (…)",
            )


def no_steps(rules: RuleSet) -> Iterator[Problem]:
    """A runbook has no steps."""
    for runbook in rules.runbooks:
        if runbook.whole and not runbook.item.steps:
            message = f"runbook {runbook.item.name} has no steps"
            yield Problem(runbook.at("steps", key=True), "no-steps", message, "add a step, such as restart")


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


def label_not_in_name(rules: RuleSet) -> Iterator[Problem]:
    """A templated service's labels or dependencies use a label that its name does not, and so may not have."""
    for service in rules.services:
        item = service.item
        if not item.templated:
            continue
        named = compile_template(item.name, TemplateKind.TEXT).labels
        texts: list[tuple[Path_, str]] = [
            (("labels", name), text) for name, text in item.labels.items() if name != rules.service_label
        ]
        texts += [(("depends_on", index), text) for index, text in enumerate(item.depends_on)]
        for path, text in texts:
            for label in sorted(compile_template(text, TemplateKind.TEXT).labels - named):
                message = f"the service's name does not use the label {label}, so it is not known here"
                remedy = f"use one of {', '.join(sorted(named))}" if named else "use a label in the name"
                yield Problem(service.at(*path), "label-not-in-name", message, remedy)


CHECKS: dict[str, Check] = {
    "equal-names": equal_names,
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


def _no_action(action: str, services: Sequence[Service]) -> str:
    service, others = services[0], len(services) - 1
    more = f"; nor has that of {others} more" if others else ""
    if service.target is None:
        return f"service {service.name} has no target, and so no action {action}{more}"
    return f"target {service.target.name} of service {service.name} has no action {action}{more}"

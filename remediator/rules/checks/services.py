"""Checks of services and their targets: what they name must exist, and what is required must be given."""

from __future__ import annotations

from collections.abc import Iterator

from remediator.config.document import Path_, nearest
from remediator.problem import Problem, Severity
from remediator.rules.ruleset import (
    RuleSet,
    actions_of,
    instances_of,
    unsure,
)
from remediator.template.compile import TemplateKind, compile_template


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


def unknown_undo(rules: RuleSet) -> Iterator[Problem]:
    """An action's undo is an action that its target does not have."""
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

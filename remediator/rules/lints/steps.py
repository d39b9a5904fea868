"""Lints of single steps: no limit, no way back, or no timeout."""

from __future__ import annotations

import re
from collections.abc import Iterator

from remediator.model.action import TIMEOUT, ActionSpec
from remediator.model.durations import format_duration, parse_duration
from remediator.model.rules import Service
from remediator.problem import Problem, Severity
from remediator.rules.ruleset import RuleSet, reaches, steps_of

_THERE_AND_BACK = frozenset({"kubernetes", "helm", "swarm"})
"""Shipped targets whose rollback goes to what was before the present, and so, the second time, to the bad release."""
_WAITS = re.compile(
    r"(?P<flag>--(?:wait|watch|timeout)\b(?!=false)|\brollout\s+status\b|\bsleep\b)"
    r"(?:[=\s]+(?P<time>\d\w*))?"
)


def unbounded_scale(rules: RuleSet) -> Iterator[Problem]:
    """A step that makes more replicas each time, with no limit to them."""
    for runbook, index, step in steps_of(rules):
        by = step.args.get("by") if step.action == "scale" and step.spec is None else None
        if isinstance(by, int) and by > 0 and not {"to", "max"} & step.args.keys():
            message = f"scale by {by} has no max: each heal makes more replicas, without end"
            place = runbook.at("steps", index, "scale", "by")
            yield Problem(place, "unbounded-scale", message, "add max: with the most there may be", Severity.WARNING)


def repeated_rollback(rules: RuleSet) -> Iterator[Problem]:
    """A runbook rolls back twice where nothing says to what: the second time goes forward to the release that was
    bad."""
    for runbook in rules.runbooks:
        steps = runbook.item.steps
        found = [index for index, step in enumerate(steps) if step.action == "rollback" and step.spec is None]
        again = [index for index in found if steps[index].attempts > 1] or found[1:]
        if not again:
            continue
        reached = (located.item for located in rules.services if reaches(runbook.item, located.item) is not False)
        names = (service.target.name for service in reached if service.target is not None)
        named = next((name for name in names if name in _THERE_AND_BACK and _is_shipped(rules, name)), "")
        if named:
            message = (
                f"a second rollback goes forward again: target {named} goes back to what was before the present"
                " release, which is then the bad one"
            )
            remedy = "roll back once in a runbook, with attempts: 1"
            place = runbook.at("steps", again[0], "rollback", key=True)
            yield Problem(place, "repeated-rollback", message, remedy, Severity.WARNING)


def default_timeout(rules: RuleSet) -> Iterator[Problem]:
    """A step whose command waits for something, but has no timeout, so that it ends after the default one. Without a sign
    of waiting, the default is probably meant."""
    waiting = [(located.item, signs) for located in rules.services if (signs := _signs(rules, located.item))]
    for runbook, index, step in steps_of(rules):
        if step.spec is not None:
            sign = _sign(step.spec)
        else:
            reached = (signs for service, signs in waiting if reaches(runbook.item, service) is not False)
            sign = next((signs[step.action] for signs in reached if step.action in signs), "")
        if sign and step.timeout is None:
            message = (
                f"step {step.name} has no timeout, and so ends after {format_duration(TIMEOUT)}: its command waits"
                f" ({sign})"
            )
            remedy = "add timeout: with the longest that it may take"
            place = runbook.at("steps", index, step.action, key=True)
            yield Problem(place, "default-timeout", message, remedy, Severity.WARNING)


def _is_shipped(rules: RuleSet, target: str) -> bool:
    return rules.all_targets[target] is rules.shipped.get(target)


def _signs(rules: RuleSet, service: Service) -> dict[str, str]:
    """The actions of a service that wait, with the words that show it."""
    ref = service.target
    if ref is None or ref.name not in rules.all_targets:
        return {}
    actions = {**rules.all_targets[ref.name].actions, **ref.actions}
    return {name: sign for name, spec in actions.items() if (sign := _sign(spec))}


def _sign(spec: ActionSpec) -> str:
    """The words by which a command waits. Empty if the action has a timeout, or the command waits only briefly."""
    if spec.timeout is not None:
        return ""
    text = " ".join(spec.run or ()) or spec.shell or ""
    found = list(_WAITS.finditer(text))
    if any(_seconds(one["time"]) < TIMEOUT for one in found if one["time"] and one["flag"] != "sleep"):
        return ""
    return next((one[0].strip() for one in found if one["flag"] != "sleep" or _seconds(one["time"]) >= TIMEOUT), "")


def _seconds(text: str | None) -> float:
    """Of a duration or a number of seconds; 0 when it is neither."""
    try:
        return float(text or 0) if not text or text.isdecimal() else parse_duration(text)
    except ValueError:
        return 0.0

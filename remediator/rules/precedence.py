"""Which of several runbooks is chosen: the first that fits, in the order of the files. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from remediator.model.health import Health
from remediator.model.matcher import Matcher
from remediator.model.rules import Runbook, Service, Threshold
from remediator.rules.ruleset import Located, RuleSet, alike, contradiction, reaches
from remediator.template.compile import TemplateKind, compile_template, templated


def taken_before(rules: RuleSet) -> Iterator[tuple[Located[Runbook], list[Located[Runbook]]]]:
    """Each runbook that no service of the rules ever comes to, with the earlier ones that are chosen instead.

    Runbooks that no service at all could come to are left out (`shadows`).
    """
    groups = [group[0] for group in alike(rules)]
    earlier: list[Located[Runbook]] = []
    for runbook in rules.runbooks:
        if not sound(runbook) or any(shadows(other.item, runbook.item) for other in earlier):
            continue
        reached = [service for service in groups if reaches(runbook.item, service) is not False]
        pairs = [(service, health) for service in reached for health in runbook.item.when]
        before = [_chosen_before(earlier, runbook.item, service, health) for service, health in pairs]
        if before and None not in before:
            yield runbook, list({id(other): other for other in before if other is not None}.values())
        earlier.append(runbook)


def _chosen_before(
    earlier: Sequence[Located[Runbook]], later: Runbook, service: Service, health: Health
) -> Located[Runbook] | None:
    """The earlier runbook that is surely chosen for this service and health whenever the later one fits."""
    sure = _guaranteed(service)
    for located in earlier:
        runbook = located.item
        if runbook.corroborate and not later.corroborate:
            continue
        # One that believes an alert by itself may see another health than one that does not.
        same = runbook.corroborate == later.corroborate
        when = health in runbook.when if same else len(runbook.when) == 2
        known = {name: value for name, value in service.labels.items() if not templated(value)}
        if when and all(
            matcher.matches(known) if matcher.name in known else implied(matcher, (*later.match, *sure))
            for matcher in runbook.match
        ):
            return located
    return None


def _guaranteed(service: Service) -> list[Matcher]:
    """What surely holds for the labels of a templated service: its name uses them, and its matchers fit them."""
    if not service.templated:
        return []
    named = compile_template(service.name, TemplateKind.TEXT).labels
    return [*(Matcher(name, "!=", "") for name in named), *(m for m in service.match if m.name in named)]


def shadows(earlier: Runbook, later: Runbook) -> bool:
    """Whether the earlier runbook is chosen wherever the later one could be."""
    if earlier.corroborate and not later.corroborate:
        return False
    bad = {Health.DEGRADED, Health.FAILED}
    when = set(later.when) if earlier.corroborate == later.corroborate else bad
    return set(earlier.when) >= when and all(implied(matcher, later.match) for matcher in earlier.match)


def implied(matcher: Matcher, by: Iterable[Matcher]) -> bool:
    """Whether a matcher holds wherever all the others do."""
    not_empty = matcher.op == "!=" and not matcher.value
    return any(
        other == matcher
        or (other.op == "=" and other.name == matcher.name and matcher.matches({other.name: other.value}))
        or (not_empty and other.name == matcher.name and not other.matches({}))
        for other in by
    )


def sound(rule: Located[Threshold] | Located[Runbook]) -> bool:
    """Whether its matchers could be read and can hold together. If they cannot, that is a problem of its own."""
    return rule.whole and contradiction(rule.item.match) is None

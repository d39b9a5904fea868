"""What the rules would do about the alerts of a running Prometheus: those that fire, and those that its rules may raise.

A rule that does not fire has no labels of series. They are taken from when it last fired in the last day, or else from
its expression, with its comparisons made to give a value for every series.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from remediator.cli.alert_plan import AlertPlan, Readings, plan_for
from remediator.cli.check.alert_rules import AlertRule, RuleGroup, read_alert_rules
from remediator.cli.check.prometheus_servers import PrometheusServers, server_of
from remediator.cli.init.alertmanager_route import receivers_of
from remediator.clients.alertmanager import Alertmanagers, Member
from remediator.clients.prometheus.client import Answer
from remediator.config.policy import Policy, policy_of
from remediator.config.settings import Config
from remediator.errors import RefusedError, RemoteError, TemplateError
from remediator.model.health import Health, Judgement, QueryStatus, Reading, worst
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Service

_TIMEOUT = 30.0
_EXAMPLES = 50
"""Maximum number of label sets that are examined for one alert."""
_TOKEN = re.compile(
    r"""(?P<skip>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|\{(?:[^}"'`]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)*\}|\#.*)
    |(?P<op>>=|<=|==|!=|>|<)(?!\s*bool\b)\s*""",
    re.VERBOSE,
)


class AlertFinding(msgspec.Struct, frozen=True):
    """One alert of Prometheus and what would be done. `state` is firing, pending or inactive, by Prometheus.

    `services` is the number of services that the examined label sets belong to; the plan is that of one example.
    """

    alert: str
    group: str
    state: str
    services: int
    plan: AlertPlan


def find_alerts(
    rulebook: Rulebook, url: str, config: Config | None, say: Callable[[str], object]
) -> tuple[list[AlertFinding], str]:
    """What would be done about each alert of this Prometheus, and why it could not be asked (or "").

    `say` is called with what is left out of the account, such as Alertmanager's route when that cannot be read.
    """
    server = server_of(url, config)
    try:
        groups = asyncio.run(read_alert_rules(server))
    except RemoteError as error:
        return [], str(error)
    prometheis = PrometheusServers(url, config, query_timeout=_TIMEOUT)
    try:
        readings = readings_of(rulebook, prometheis.query)
        route = asyncio.run(_route(config, say)) if config is not None else None
        found = [
            _finding(rulebook, config, group, rule, prometheis.query_here, readings, route)
            for group in groups
            for rule in group.rules
            if rule.type == "alerting"
        ]
    finally:
        prometheis.close()
    order = {"firing": 0, "pending": 1}
    return sorted(found, key=lambda one: order.get(one.state, 2)), ""


def readings_now(rulebook: Rulebook, url: str, config: Config | None) -> Readings:
    """What the thresholds say of a service now, by this Prometheus. RemoteError when it cannot be asked."""
    prometheis = PrometheusServers(url, config, query_timeout=_TIMEOUT)
    try:
        return readings_of(rulebook, prometheis.query)
    finally:
        prometheis.close()


async def _route(config: Config, say: Callable[[str], object]) -> tuple[str, str] | None:
    """Alertmanager's configuration, and the name of remediator's receiver there."""
    named = [member for member in config.alertmanagers if member.receiver]
    if not named:
        return None
    alertmanagers = Alertmanagers([Member(member, member.receiver) for member in named])
    try:
        return await alertmanagers.config(), named[0].receiver
    except RemoteError as error:
        say(f"whether alerts are routed here was not checked: {error}")
        return None
    finally:
        await alertmanagers.close()


def _finding(
    rulebook: Rulebook,
    config: Config | None,
    group: RuleGroup,
    rule: AlertRule,
    ask: Callable[[str], Answer],
    readings: Readings,
    route: tuple[str, str] | None,
) -> AlertFinding:
    policy = policy_of(config) if config is not None else Policy()
    active = [alert.labels for alert in rule.alerts if alert.state == "firing"] or [a.labels for a in rule.alerts]
    fires = rule.state == "firing"
    # That thresholds see all well says nothing of an alert that does not fire.
    seen: Readings = readings if fires else lambda _: None
    now, plans = time.time(), list[AlertPlan]()
    names = set[str]()
    for labels in active or _examples(rule, ask):
        plan = plan_for(rulebook, policy, {"alertname": rule.name, **labels}, now, seen)
        if plan.service not in names or not plan.service:
            plans.append(plan)
        names.add(plan.service)
    names.discard("")
    if not plans:
        plain = {name: value for name, value in rule.labels.items() if "{{" not in value}
        plan = plan_for(rulebook, policy, {"alertname": rule.name, **plain}, now, seen)
        reason = plan.reason if plan.service else "no series now that would say whose it is"
        plans.append(msgspec.structs.replace(plan, reason=reason))
    best = next((plan for plan in plans if not plan.reason), None) or max(plans, key=lambda plan: bool(plan.service))
    return AlertFinding(rule.name, group.name, rule.state or "inactive", len(names), _routed(best, route))


def _routed(plan: AlertPlan, route: tuple[str, str] | None) -> AlertPlan:
    if plan.reason or route is None:
        return plan
    receivers = receivers_of(route[0], plan.labels)
    if receivers is None or route[1] in receivers:
        return plan
    reason = f"not routed here: Alertmanager sends it to {', '.join(receivers)}"
    return msgspec.structs.replace(plan, reason=reason)


def _examples(rule: AlertRule, ask: Callable[[str], Answer]) -> Iterator[dict[str, str]]:
    """Labels that the alert may have, as it had them in the last day, or as its expression has series."""
    name = rule.name.replace("\\", "\\\\").replace('"', '\\"')
    remembered = _series(ask(f'group without (alertstate) (last_over_time(ALERTS{{alertname="{name}"}}[1d]))'))
    if remembered:
        yield from remembered
        return
    plain = {label: value for label, value in rule.labels.items() if "{{" not in value}
    for labels in _series(ask(unfiltered(rule.query))):
        yield {**labels, **plain}


def _series(answer: Answer) -> list[dict[str, str]]:
    if answer.query_status is not QueryStatus.SEEN:
        return []
    found = sorted(answer.series, key=lambda series: sorted(series.labels.items()))
    return [
        {name: value for name, value in series.labels.items() if name not in ("__name__", "alertname")}
        for series in found[:_EXAMPLES]
    ]


def unfiltered(expr: str) -> str:
    """The expression with `bool` behind each comparison: then it has every series, and not only those in trouble."""
    return _TOKEN.sub(lambda found: f"{found['op']} bool " if found["op"] else found[0], expr)


def readings_of(rulebook: Rulebook, ask: Callable[[str, str], Answer]) -> Readings:
    """The judgement of each service by the values that its thresholds have now, before any `for`."""
    now = time.time()
    values: dict[str, dict[str, Reading]] = {}
    unanswered: set[str] = set()
    for threshold in rulebook.thresholds:
        answer = ask(threshold.expr, threshold.prometheus)
        if answer.query_status is QueryStatus.UNREACHABLE:
            raise RemoteError(answer.error, retry=True)
        if answer.query_status is not QueryStatus.SEEN or answer.warnings:
            unanswered.add(threshold.name)
            continue
        for series in answer.series:
            try:
                service = rulebook.service_for(series.labels)
            except (RefusedError, TemplateError):
                # No service can be named by it, as by the address of a socket; it is nobody's.
                continue
            if service is None or threshold not in rulebook.thresholds_for(service):
                continue
            reading = Reading(threshold.name, threshold.judge(series.value), now, now, value=series.value)
            of = values.setdefault(service.name, {})
            known = of.get(threshold.name)
            if known is None or worst((known.health, reading.health)) is not known.health:
                of[threshold.name] = reading

    def judgement(service: Service) -> Judgement:
        found = tuple(values.get(service.name, {}).values())
        names = {threshold.name for threshold in rulebook.thresholds_for(service)}
        if not found or names & unanswered:
            return Judgement(Health.UNKNOWN, now, now, "its thresholds have no value now", found)
        return Judgement(worst(reading.health for reading in found), now, now, _text(found), found)

    return judgement


def _text(readings: Iterable[Reading]) -> str:
    return ", ".join(f"{reading.threshold} {reading.value:.6g} ({reading.health})" for reading in readings)


def finding_as_json(finding: AlertFinding, plan: Mapping[str, object]) -> dict[str, object]:
    """The finding for programs; `plan` is its plan as JSON."""
    return {
        "alert": finding.alert,
        "group": finding.group,
        "state": finding.state,
        "services": finding.services,
        **plan,
    }

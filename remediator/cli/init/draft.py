"""The text of a config and of a rule file for an inventory, with comments that name the sources. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import indent
from typing import Any

import msgspec

from remediator.cli.init.alertmanager_route import ROUTE_SNIPPET, complete_route, find_receiver
from remediator.cli.init.conventions import SeriesKind
from remediator.cli.init.inventory import TO_BE_WRITTEN, DraftedService, Inventory
from remediator.cli.init.survey_result import AlertmanagerFacts, QuestionResult, Survey
from remediator.cli.init.yaml_text import comment, commented, flow, quotation, scalar
from remediator.clients.http_options import HttpClient
from remediator.model.durations import format_duration
from remediator.model.matcher import Matcher

RULE_FILE = "rules/services.yml"
EXTERNAL_URL = "http://localhost:9797"
"""Where people reach remediator's pages, unless they say otherwise: its listen address by default."""
CONFIG_SCHEMA = "remediator-config.schema.json"
RULES_SCHEMA = "remediator-rules.schema.json"

_HEADINGS = {
    SeriesKind.SERVICE: "Named by the label {label}: {reason}.",
    SeriesKind.DEPLOYMENT: "Deployments of Kubernetes that no service has the name of, or several.",
    SeriesKind.CONTAINER: "Containers of Docker that no service has the name of.",
    SeriesKind.MACHINE: "Machines, by node exporter. No runbook is for them: a restart hardly mends a disk.",
    SeriesKind.PROBE: "Addresses that blackbox exporter probes. No runbook is for them until they have a target.",
}
_RUNBOOK_OF_KUBERNETES = """\
  # What Kubernetes runs: it starts other pods before it ends these. Not while somebody is at it.
  - name: restart_deployment
    match: ['reached_by="kubernetes"']
    when: [failed]
    mode: observe
    steps:
      - restart:
        unless: guard(rollout_in_progress)
    verify: {healthy_for: 1m, within: 10m}
    limits: {cooldown: 30m, rate: [2/1h, 5/1d], blast_radius: 30%, breaker: 3/6h}
"""
_RUNBOOK_OF_OTHERS = """\
  - name: restart
    match: ['reached_by=~"systemd|docker|to_be_written"']
    when: [failed]
    mode: observe
    steps: [restart]
    verify: {healthy_for: 1m, within: 10m}
    limits: {cooldown: 15m, rate: [3/1h, 7/1d], blast_radius: 30%, breaker: 3/6h}
"""
_TARGETS = """
# Nothing tells how these services are reached. Write here the command that restarts one, or give them another target:
# systemd, docker, compose, kubernetes, supervisor, ... Until then a restart that you ask for fails, and says so.
targets:
  - name: to_be_written
    actions:
      restart:
        shell: 'echo "the command to restart" {{ service.name }} "is still to be written" >&2; exit 1'
"""


def draft_config(
    survey: Survey,
    prometheus: HttpClient,
    alertmanager: HttpClient,
    facts: AlertmanagerFacts | None = None,
    grafana: str = "",
    external_url: str = EXTERNAL_URL,
) -> str:
    """The text of the config. `facts` is None if no Alertmanager answered; `grafana` is an address.

    Secrets must be in files, whose names are written unchanged.
    """
    return "".join(
        (
            f"# yaml-language-server: $schema={CONFIG_SCHEMA}\n",
            "# Where things are, drafted by `remediator init`. `remediator check` reads this and the rule files.\n",
            "global:\n",
            f"  service_label: {scalar(survey.label)}   # {quotation(survey.reason)}\n",
            f"  external_url: {scalar(external_url)}   # how people reach its pages; links in alerts and annotations lead there\n\n",
            f"prometheus: {_client(prometheus)}\n",
            *_alertmanagers(alertmanager, facts),
            *_grafana(grafana),
            "\nrule_files: ['rules/*.yml']\n",
            "storage: {url: 'sqlite:///remediator.db', retention: 90d}\n",
        )
    )


def draft_rules(survey: Survey, inventory: Inventory, facts: AlertmanagerFacts | None = None) -> str:
    """The text of the rule file."""
    targets = {service.target for service in inventory.services}
    runbooks = [
        *([_RUNBOOK_OF_KUBERNETES] if "kubernetes" in targets else []),
        *([_RUNBOOK_OF_OTHERS] if targets - {"", "kubernetes"} else []),
    ]
    return "".join(
        (
            f"# yaml-language-server: $schema=../{RULES_SCHEMA}\n",
            "# Who there is, how well is well, and what would be done, drafted by `remediator init` from what Prometheus knew.\n"
            "# Every runbook observes: it decides and tells, and runs nothing. Read it, watch it for some days, correct it,\n"
            "# then write mode: approve, and at last mode: auto.\n\n",
            "# The first service whose match fits owns a series or an alert. Its labels name the thresholds that judge it.\n"
            "services:\n",
            *_services(survey, inventory),
            *_unowned_alerts(survey.label, facts),
            "\nthresholds:\n",
            "\n".join(_threshold(result, inventory) for result in inventory.results),
            *(["\nrunbooks:\n", "\n".join(runbooks)] if runbooks else []),
            *([_TARGETS] if TO_BE_WRITTEN in targets else []),
        )
    )


def _alertmanagers(client: HttpClient, facts: AlertmanagerFacts | None) -> Iterator[str]:
    if facts is None:
        yield comment(f"No Alertmanager answered at {client.url}. To hear of alerts, and to speak to people:")
        yield f"# alertmanagers: [{_client(client, receiver='remediator')}]\n"
        return
    receiver, route = find_receiver(facts.config), complete_route(facts.config)
    if receiver is None:
        yield f"alertmanagers: [{_client(client)}]\n"
        yield comment(
            "None of its receivers posts to remediator; until one does, remediator asks for the alerts once a minute. Put this in"
            " the place of the route in Alertmanager's configuration, add the receiver to those there, and name it above as"
            " receiver:"
        )
    else:
        yield f"alertmanagers: [{_client(client, receiver=receiver.name)}]   # it posts to remediator\n"
        if not receiver.routed:
            yield "# No route there leads to that receiver. Put this in the place of the route in Alertmanager's configuration:\n"
        elif route:
            yield comment(
                "The route to it takes from people the alerts that no other route matches. Put this in the place of the route in"
                " Alertmanager's configuration; it gives them back:"
            )
    yield commented(route or ROUTE_SNIPPET if receiver is None else route)


def _grafana(url: str) -> Iterator[str]:
    if url:
        yield "# The token of a service account with the role Editor, in a file of its own: echo glsa_… > grafana-token\n"
        yield f"grafana: {{url: {scalar(url)}, authorization: {{credentials_file: grafana-token}}}}\n"


def _services(survey: Survey, inventory: Inventory) -> Iterator[str]:
    kind = None
    for service in inventory.services:
        if service.kind is not kind:
            yield "\n" if kind else ""
            kind = service.kind
            yield comment(_HEADINGS[kind].format(label=survey.label, reason=survey.reason), 2)
        yield _service(service, survey.label)
    if inventory.monitors:
        names = ", ".join(map(quotation, inventory.monitors))
        yield comment(f"Left out, as they are monitoring itself, or exporters with series of other things: {names}.", 2)
    for name in inventory.unusable:
        yield comment(f"Left out, as no rule file can have its name: {quotation(name)}", 2)


def _service(service: DraftedService, label: str) -> str:
    labels = {
        **service.labels,
        **({"reached_by": service.target} if service.target else {}),
        **{_judge(question): threshold for question, threshold in service.judged.items()},
    }
    # The service label always holds the service's name.
    labels.pop(label, None)
    lines = [f"  - name: {scalar(service.name)}"]
    if service.match:
        lines.append(f"    match: {flow([str(Matcher(name, '=', value)) for name, value in service.match.items()])}")
    lines.append(f"    labels: {flow(labels)}")
    if service.target:
        target = flow({service.target: service.params} if service.params else service.target)
        lines.append(f"    target: {target}" + (f"   # {service.why}" if service.why else ""))
    return "\n".join(lines) + "\n"


def _judge(question: str) -> str:
    """The label that names the threshold which answers a service's question."""
    return f"{question}_by"


def _unowned_alerts(label: str, facts: AlertmanagerFacts | None) -> Iterator[str]:
    """A comment about firing alerts that name no service."""
    alerts = facts.alerts if facts is not None else ()
    strangers = sorted({labels.get("alertname", "") for labels in alerts if not labels.get(label)} - {""})
    if strangers:
        names = ", ".join(map(quotation, strangers[:10]))
        yield comment(
            f"Alerts that fire now and have no label {label}: {names}. They reach a service only by its match.", 2
        )


def _threshold(result: QuestionResult, inventory: Inventory) -> str:
    question = result.question
    convention = question.convention
    count = sum(question.name in service.judged.values() for service in inventory.services)
    many = f"{count} service{'' if count == 1 else 's'}"
    lines = [
        comment(f"{convention.source}: {convention.meaning}. It sees {many}.", 2).rstrip(),
        f"  - name: {scalar(question.name)}",
        f"    match: {flow([str(Matcher(_judge(convention.question), '=', question.name))])}",
        "    expr: |",
        indent(question.expr, " " * 6).rstrip(),
        *([f"    degraded: {scalar(str(convention.degraded))}"] if convention.degraded else []),
        f"    failed: {scalar(str(convention.failed))}",
        f"    for: {format_duration(convention.for_)}",
        *([f"    unit: {convention.unit}"] if convention.unit else []),
    ]
    return "\n".join(lines) + "\n"


def _client(client: HttpClient, **more: str) -> str:
    """A server's settings for the config: those that differ from the defaults."""
    return flow({**_given(client), **more})


def _given(settings: msgspec.Struct) -> dict[str, Any]:
    pairs = {item.name: (getattr(settings, item.name), item) for item in msgspec.structs.fields(settings)}
    return {
        name: _plain(value)
        for name, (value, item) in pairs.items()
        if item.required or (value != item.default and value not in ({}, (), None))
    }


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return _given(value)
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value

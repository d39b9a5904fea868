"""`remediator why SERVICE`: why it did, or did not, act; with the values it looked at."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from remediator.cli.client import Client, add_connection, ago, answered, clean, moment, service_path, show_json


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("why", help="why it did, or did not, act on a service", description=__doc__)
    parser.add_argument("service")
    add_connection(parser)
    parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """Tell the account."""
    why = client.get(service_path(args.service, "/why"))
    if args.output == "json":
        return show_json(why)
    for line in account(why):
        print(clean(line))
    return None


def account(why: dict[str, Any]) -> Iterator[str]:
    """The account as sentences, one to a line."""
    service = why["service"]
    since = f" since {ago(service['since'])}" if service["since"] else ""
    yield f"{service['name']} is {service['health']}{since}: {service['text']}"
    for reading in service["readings"]:
        value = "no value" if reading["value"] is None else f"{_number(reading['value'])}"
        sight = "" if reading["sight"] == "seen" else f" ({reading['sight'].replace('_', ' ')})"
        yield f"  {reading['threshold']} = {value}, {reading['health']}{sight}, looked at {ago(reading['seenAt'])}"
    if not service["readings"]:
        yield "  No threshold judges it; its alerts do."
    for alert in why["alerts"]:
        name = alert["labels"].get("alertname", "an alert")
        text = f": {alert['text']}" if alert["text"] else ""
        yield f"  {name} is {alert['status']} since {ago(alert['startsAt'])}, from {alert['source']}{text}"
    runbook = f"Runbook {service['runbook']} is for it" if service["runbook"] else "No runbook is for it"
    yield f"{runbook}; {'target ' + service['target'] if service['target'] else 'it has no target'}."
    yield from _incident(why["incident"])
    held = [(gate["gate"], gate["hold"]) for gate in why["gates"] if gate["hold"]]
    for gate, hold in held:
        yield f"Gate {gate.replace('_', ' ')} holds: {hold['text']}"
        if hold["wayOut"]:
            yield f"  What would change it: {hold['wayOut']}"
    if why["gates"] and not held:
        yield f"None of the {len(why['gates'])} gates holds it back."
    for name, fact in why["facts"].items():
        yield f"{name.capitalize()}: {fact}"
    if service["decision"] and "decision now" not in why["facts"]:
        yield f"Last decision: {service['decision']}"


def _incident(incident: dict[str, Any] | None) -> Iterator[str]:
    if incident is None:
        yield "No incident is open."
        return
    yield f"Incident {incident['id']} is open since {moment(incident['openedAt'])}: {incident['text']}"
    for run in incident["runs"]:
        yield f"  {moment(run['startedAt'])} {run['title']}: {(run['outcome'] or 'running').replace('_', ' ')}: {run['text']}"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"

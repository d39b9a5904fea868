"""`remediator why SERVICE`, or `--alert FINGERPRINT`: why it did, or did not, act; with the values it looked at."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from remediator.cli.client import Client, add_connection, ago, answered, clean, moment, service_path, show_json
from remediator.cli.incidents import answered_by, run_words


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("why", help="why it did, or did not, act on a service", description=__doc__)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("service", nargs="?", help="the account of this service")
    asked.add_argument(
        "--alert", metavar="FINGERPRINT", help="what became of this alert, and the account of its service"
    )
    add_connection(parser)
    parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """Print the account."""
    if args.alert is not None:
        found = client.get(f"/api/v1/alerts/{quote(args.alert, safe='')}")
        lines = [*map(_alert, found["alerts"]), *(account(found["why"]) if found["why"] else ())]
    else:
        found = client.get(service_path(args.service, "/why"))
        lines = list(account(found))
    if args.output == "json":
        return show_json(found)
    for line in lines:
        print(clean(line))
    return None


def account(why: dict[str, Any]) -> Iterator[str]:
    """The account as sentences, one per line."""
    service = why["service"]
    since = f" since {ago(service['since'])}" if service["since"] else ""
    yield f"{service['name']} is {service['health']}{since}: {service['text']}"
    for reading in service["readings"]:
        value = "no value" if reading["value"] is None else f"{_number(reading['value'])}"
        status = "" if reading["sight"] == "seen" else f" ({reading['sight'].replace('_', ' ')})"
        yield f"  {reading['threshold']} = {value}, {reading['health']}{status}, looked at {ago(reading['seenAt'])}"
    if not service["readings"]:
        yield "  No threshold judges it; its alerts do."
    for alert in why["alerts"]:
        yield f"  {_alert(alert)}"
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


def _alert(alert: dict[str, Any]) -> str:
    name = alert["labels"].get("alertname", "an alert")
    became = (alert["disposition"] or "not decided yet").replace("_", " ") + (
        f" by {alert['gate']}" if alert["gate"] else ""
    )
    incident = f", incident {alert['incident']}" if alert["incident"] else ""
    text = f": {alert['text']}" if alert["text"] else ""
    since = f"since {ago(alert['startsAt'])}" if alert["status"] == "firing" else f"{ago(alert['endsAt'])}"
    return f"{name} is {alert['status']} {since}, from {alert['source']}: {became}{incident}{text}"


def _incident(incident: dict[str, Any] | None) -> Iterator[str]:
    if incident is None:
        yield "No incident is open."
        return
    yield f"Incident {incident['id']} is open since {moment(incident['openedAt'])}: {incident['text']}"
    if incident["approval"] is not None:
        yield f"  {moment(incident['approval']['at'])} {answered_by(incident['approval'])}"
    for run in incident["runs"]:
        yield f"  {moment(run['startedAt'])} {run_words(incident, run)}: {(run['outcome'] or 'running').replace('_', ' ')}: {run['text']}"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"

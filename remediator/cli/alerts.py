"""`remediator alerts`: every alert it was sent or raised itself, and what became of it."""

from __future__ import annotations

import argparse
from typing import Any

from remediator.cli.client import Client, add_connection, ago, answered, show_json, show_table


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("alerts", help="alerts and what became of them", description=__doc__)
    parser.add_argument("service", nargs="?", default="", help="only those of this service")
    parser.add_argument("--firing", action="store_true", help="only those that fire")
    parser.add_argument("--before", type=int, help="only those with a lower seq, for the next page")
    parser.add_argument("--limit", type=int, default=50, help="at most so many (default: %(default)s)")
    add_connection(parser)
    parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """Print the alerts, most recently changed first."""
    found = client.get("/api/v1/alerts", service=args.service, firing=args.firing, before=args.before, limit=args.limit)
    if args.output == "json":
        return show_json(found)
    rows = [
        (
            alert["labels"].get("alertname", ""),
            alert["status"],
            alert["service"],
            (alert["disposition"] or "waiting").replace("_", " "),
            alert["gate"],
            ago(alert["startsAt"]),
            alert["text"],
        )
        for alert in found
    ]
    columns = ("alert", "state", "service", "became", "gate", "since", "text")
    return show_table(columns, rows, "there are no such alerts")

"""`remediator services`: every service, how it is, and what is being done about it."""

from __future__ import annotations

import argparse
from typing import Any

from remediator.cli.client import Client, add_connection, ago, answered, show_json, show_table


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("services", help="every service and how it is", description=__doc__)
    parser.add_argument("--health", default="", help="only those that are so, such as failed")
    add_connection(parser)
    parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """Print the services, those in trouble first."""
    found = [view for view in client.get("/api/v1/services") if args.health in ("", view["health"])]
    if args.output == "json":
        return show_json(found)
    order = ("failed", "degraded", "recovering", "unknown", "healthy")
    found.sort(key=lambda view: (order.index(view["health"]), view["name"]))
    rows = [
        (view["name"], view["health"], ago(view["since"]), view["target"], view["runbook"], _incident(view), _now(view))
        for view in found
    ]
    columns = ("service", "health", "since", "target", "runbook", "incident", "now")
    return show_table(columns, rows, "no service is known" if not args.health else f"no service is {args.health}")


def _incident(view: dict[str, Any]) -> str:
    return "" if view["incident"] is None else f"#{view['incident']}"


def _now(view: dict[str, Any]) -> str:
    if view["hold"] is not None:
        return f"{view['hold']['gate']}: {view['hold']['text']}"
    trouble = view["health"] != "healthy"
    return str(view["decision"] or (view["text"] if trouble else ""))

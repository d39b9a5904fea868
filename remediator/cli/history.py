"""`remediator history`: the journal, newest first; with `--follow`, as it is written."""

from __future__ import annotations

import argparse
import json
from typing import Any

from remediator.cli.client import Client, add_connection, answered, clean, moment, one_line, show_json, show_table


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("history", help="what was seen, decided and done", description=__doc__)
    parser.add_argument("service", nargs="?", default="", help="only that of this service")
    parser.add_argument("--before", type=int, help="only entries with a lower number, for the next page")
    parser.add_argument("--limit", type=int, default=50, help="at most so many (default: %(default)s)")
    parser.add_argument("--follow", "-f", action="store_true", help="show entries as they come")
    add_connection(parser)
    parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """Print the journal."""
    if args.follow:
        return _follow(args, client)
    found = client.get("/api/v1/history", service=args.service, before=args.before, limit=args.limit)
    if args.output == "json":
        return show_json(found)
    rows = [(e["id"], moment(e["at"]), e["service"], _incident(e), _kind(e), e["text"]) for e in found]
    return show_table(("entry", "at", "service", "incident", "what", "text"), rows, "nothing has happened yet")


def _follow(args: argparse.Namespace, client: Client) -> None:
    for entry in client.events():
        if args.service not in ("", entry["service"]):
            continue
        if args.output == "json":
            print(json.dumps(entry, ensure_ascii=False), flush=True)
        else:
            words = (moment(entry["at"]), entry["service"], _incident(entry), _kind(entry) + ":", entry["text"])
            print(clean(one_line(" ".join(word for word in words if word))), flush=True)


def _incident(entry: dict[str, Any]) -> str:
    return "" if entry["incident"] is None else f"#{entry['incident']}"


def _kind(entry: dict[str, Any]) -> str:
    return str(entry["kind"]).replace("_", " ")

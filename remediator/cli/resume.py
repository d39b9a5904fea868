"""`remediator resume ID`: end a pause; without an id, show the pauses."""

from __future__ import annotations

import argparse
from typing import Any

from remediator.cli.client import Client, add_connection, ago, answered, author_of, clean, show_json, show_table


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("resume", help="end a pause; without an id, show the pauses", description=__doc__)
    parser.add_argument("id", nargs="?", type=int)
    parser.add_argument("--author", default="", help="who asks (default: the user of this shell)")
    add_connection(parser)
    parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """End the pause, or print all pauses."""
    if args.id is None:
        return _show(args, client.get("/api/v1/pauses"))
    found = client.delete(f"/api/v1/pauses/{args.id}", author=author_of(args))
    if args.output == "json":
        return show_json(found)
    print(clean(f"pause {found['id']} has ended"))
    return None


def _show(args: argparse.Namespace, found: list[dict[str, Any]]) -> None:
    if args.output == "json":
        return show_json(found)
    rows = [
        (pause["id"], ", ".join(pause["matchers"]) or "every service", ago(pause["endsAt"]), pause["author"], pause["comment"])
        for pause in found
    ]  # fmt: skip
    return show_table(("pause", "of", "ends", "by", "why"), rows, "nothing is paused")

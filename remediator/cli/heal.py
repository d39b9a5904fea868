"""`remediator heal SERVICE`: ask for a heal, as an operator; what comes of it is in the journal."""

from __future__ import annotations

import argparse
from typing import Any

from remediator.cli.client import (
    Client,
    add_author,
    add_connection,
    answered,
    author_of,
    clean,
    service_path,
    show_json,
)


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("heal", help="run the runbook of a service", description=__doc__)
    parser.add_argument("service")
    parser.add_argument("--force", action="store_true", help="also when cooldown or mode would hold it back")
    add_author(parser, comment="why; needed with --force")
    add_connection(parser)
    parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """Ask for the heal."""
    body = {"author": author_of(args), "comment": args.comment, "force": args.force}
    found = client.post(service_path(args.service, "/heal"), body)
    if args.output == "json":
        return show_json(found)
    print(clean(f"{args.service}: {found['text'] or 'the heal is asked for'}"))
    return None

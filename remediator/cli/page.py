"""`remediator page`: a link to the pages that signs a browser in, once."""

from __future__ import annotations

import argparse
from typing import Any

from remediator.cli.client import Client, add_connection, answered, clean, show_json


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "page",
        help="a link to the pages that signs a browser in",
        description="Print a link to the pages that signs a browser in: once, within five minutes, for twelve hours.",
    )
    add_connection(parser)
    parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """Print the link."""
    url = args.url.rstrip("/") + client.post("/api/v1/sign-in-links", {})["path"]
    if args.output == "json":
        show_json({"url": url})
    else:
        print(clean(url))

"""`remediator deny INCIDENT`: refuse an incident that waits for approval."""

from __future__ import annotations

import argparse
from typing import Any

from remediator.cli.answer import add_answer, send_answer
from remediator.cli.client import Client, answered


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("deny", help="refuse the next step of an incident", description=__doc__)
    add_answer(parser, comment="why")
    parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """Say so."""
    send_answer(args, client, "deny", "is denied")

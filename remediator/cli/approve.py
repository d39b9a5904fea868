"""`remediator approve INCIDENT`: let an incident that waits for approval go on."""

from __future__ import annotations

import argparse
from typing import Any

from remediator.cli.answer import add_answer, send_answer
from remediator.cli.client import Client, answered


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("approve", help="let the next step of an incident run", description=__doc__)
    add_answer(parser, comment="what people should know")
    parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """Say so."""
    send_answer(args, client, "approve", "is approved")

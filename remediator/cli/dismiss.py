"""`remediator dismiss INCIDENT`: close an incident by hand: people took over, or it was none."""

from __future__ import annotations

import argparse
from typing import Any

from remediator.cli.answer import add_answer, send_answer
from remediator.cli.client import Client, answered


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("dismiss", help="close an incident by hand", description=__doc__)
    add_answer(parser, comment="why; needed")
    parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """Say so."""
    send_answer(args, client, "dismiss", "is dismissed")

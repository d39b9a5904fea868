"""`remediator approve`, `deny` and `dismiss`: an operator's answer to an incident."""

from __future__ import annotations

import argparse
from typing import Any

from remediator.cli.client import Client, add_author, add_connection, answered, author_of, clean, show_json

_VERBS = {
    "approve": (
        "let the next step of an incident run",
        "`remediator approve INCIDENT`: let an incident that waits for approval go on.",
        "what people should know",
        "is approved",
    ),
    "deny": (
        "refuse the next step of an incident",
        "`remediator deny INCIDENT`: refuse an incident that waits for approval.",
        "why",
        "is denied",
    ),
    "dismiss": (
        "close an incident by hand",
        "`remediator dismiss INCIDENT`: close an incident by hand: people took over, or it was none.",
        "why; needed",
        "is dismissed",
    ),
}
"""For each verb: its help, its description, the help of `--comment`, and the end of the printed sentence."""


def add(commands: Any) -> None:
    """Declare the three commands."""
    for verb, (help_text, description, comment, _) in _VERBS.items():
        parser = commands.add_parser(verb, help=help_text, description=description)
        parser.add_argument("incident", type=int)
        add_author(parser, comment=comment)
        add_connection(parser)
        parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """Send the answer, and print its result."""
    body = {"author": author_of(args), "comment": args.comment}
    found = client.post(f"/api/v1/incidents/{args.incident}/{args.command}", body)
    if args.output == "json":
        show_json(found)
    else:
        print(clean(f"incident {found['id']} of {found['service']} {_VERBS[args.command][3]}"))

"""What `approve`, `deny` and `dismiss` share: their arguments, and the sending of the answer."""

from __future__ import annotations

import argparse

from remediator.cli.client import Client, add_author, add_connection, author_of, clean, show_json


def add_answer(parser: argparse.ArgumentParser, *, comment: str) -> None:
    """The arguments."""
    parser.add_argument("incident", type=int)
    add_author(parser, comment=comment)
    add_connection(parser)


def send_answer(args: argparse.Namespace, client: Client, verb: str, done: str) -> None:
    """Send it, and say what it did."""
    body = {"author": author_of(args), "comment": args.comment}
    found = client.post(f"/api/v1/incidents/{args.incident}/{verb}", body)
    if args.output == "json":
        return show_json(found)
    print(clean(f"incident {found['id']} of {found['service']} {done}"))
    return None

"""`remediator pause MATCHERS`: like a silence, for healing: nothing is run for the services that match."""

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
    moment,
    show_json,
)
from remediator.errors import RemediatorError


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("pause", help="hold back healing for a while", description=__doc__)
    parser.add_argument("matchers", nargs="*", metavar="MATCHERS", help="""which services, such as 'tier="web"'""")
    parser.add_argument("--all", action="store_true", help="every service")
    parser.add_argument("--for", dest="duration", default="1h", help="how long (default: %(default)s)")
    add_author(parser, comment="why; needed")
    add_connection(parser)
    parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """Create the pause."""
    body = {
        "matchers": _matchers(args),
        "duration": args.duration,
        "author": author_of(args),
        "comment": args.comment,
    }
    found = client.post("/api/v1/pauses", body)
    if args.output == "json":
        return show_json(found)
    of = ", ".join(found["matchers"]) or "every service"
    print(clean(f"healing of {of} is paused until {moment(found['endsAt'])}; remediator resume {found['id']} ends it"))
    return None


def _matchers(args: argparse.Namespace) -> list[str]:
    from remediator.model.durations import parse_duration
    from remediator.model.matcher import parse_matchers

    try:
        parse_duration(args.duration)
        found = [str(matcher) for text in args.matchers for matcher in parse_matchers(text)]
    except ValueError as error:
        raise RemediatorError(f"cannot pause: {error}") from None
    if bool(found) == args.all:
        raise RemediatorError("cannot pause: give matchers, or --all for every service; not both")
    if not args.comment.strip():
        raise RemediatorError("cannot pause without a comment: say why, with --comment")
    return found

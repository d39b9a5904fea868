"""`remediator incidents`: what went wrong and how it ended; with `--id`, one of them step by step."""

from __future__ import annotations

import argparse
import time
from typing import Any

from remediator.cli.client import (
    Client,
    add_connection,
    ago,
    answered,
    clean,
    moment,
    seconds_of,
    show_json,
    show_table,
)


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("incidents", help="what went wrong and how it ended", description=__doc__)
    parser.add_argument("service", nargs="?", default="", help="only those of this service")
    parser.add_argument("--open", action="store_true", help="only those that are open")
    parser.add_argument("--id", type=int, help="one incident, step by step")
    parser.add_argument("--before", type=int, help="only those with a lower number, for the next page")
    parser.add_argument("--limit", type=int, default=50, help="at most so many (default: %(default)s)")
    add_connection(parser)
    parser.set_defaults(run=run)


@answered
def run(args: argparse.Namespace, client: Client) -> None:
    """Print the incidents, newest first."""
    if args.id is not None:
        found = client.get(f"/api/v1/incidents/{args.id}")
        return show_json(found) if args.output == "json" else _tell(found)
    found = client.get("/api/v1/incidents", service=args.service, open=args.open, before=args.before, limit=args.limit)
    if args.output == "json":
        return show_json(found)
    rows = [
        (f"#{i['id']}", i["service"], i["verdict"] or "open", ago(i["openedAt"]), _took(i), _steps(i), _what(i))
        for i in found
    ]
    columns = ("incident", "service", "state", "opened", "took", "steps", "what happened")
    return show_table(columns, rows, "there are no such incidents")


def _tell(incident: dict[str, Any]) -> None:
    state = incident["verdict"] or "open"
    print(clean(f"Incident {incident['id']} of {incident['service']} by runbook {incident['runbook']}: {state}"))
    print(clean(f"{moment(incident['openedAt'])}  opened: {incident['text']}"))
    for run in incident["runs"]:
        said = f"{run_words(incident, run)}: {run['outcome'] or 'running'}: {run['text']}"
        print(clean(f"{moment(run['startedAt'])}  {said}"))
        for line in (*commanded(run["call"]), *run["output"].splitlines()):
            print(clean(f"    {line}"))
    if incident["approval"] is not None:
        print(clean(f"{moment(incident['approval']['at'])}  {answered_by(incident['approval'])}"))
    if incident["hold"] is not None:
        print(clean(f"Held by {incident['hold']['gate']}: {incident['hold']['text']}"))
        for line in commanded(incident["next"]["call"] if incident["next"] else ""):
            print(clean(f"    {line}"))
    if incident["closedAt"] is not None:
        print(clean(f"{moment(incident['closedAt'])}  {state}: {incident['closing']}"))


def commanded(call: str) -> list[str]:
    """A call as lines that one would type."""
    first, *others = call.splitlines() or [""]
    return [f"$ {first}", *(f"  {line}" for line in others)] if call else []


def run_words(incident: dict[str, Any], run: dict[str, Any]) -> str:
    """Which step a run is, and what it does, where that says more."""
    more = run["summary"] != f"{run['action']} {incident['service']}"
    return f"{run['title']}: {run['summary']}" if more else str(run["title"])


def answered_by(approval: dict[str, Any]) -> str:
    """Who answered, and what."""
    word = "approved" if approval["approved"] else "denied"
    return f"{word} by {approval['author']}" + (f": {approval['comment']}" if approval["comment"] else "")


def _took(incident: dict[str, Any]) -> str:
    from remediator.model.durations import rough_duration

    end = seconds_of(incident["closedAt"]) or time.time()
    return rough_duration(max(0, round(end - (seconds_of(incident["openedAt"]) or end))))


def _steps(incident: dict[str, Any]) -> str:
    runs = (run for run in incident["runs"] if run["step"] is not None)
    return ", ".join(f"{run['action']} {run['outcome'] or 'running'}" for run in runs)


def _what(incident: dict[str, Any]) -> str:
    if incident["hold"] is not None and incident["open"]:
        return f"{incident['hold']['gate']}: {incident['hold']['text']}"
    return str(incident["closing"] or incident["text"])

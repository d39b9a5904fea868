"""A backtest's report as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from remediator.cli.client import clean, show_table
from remediator.model.durations import rough_duration
from remediator.simulation.backtest.analysis.compare import Difference
from remediator.simulation.backtest.analysis.findings import Command, Findings, Trouble
from remediator.simulation.backtest.analysis.totals import cleared, moment, totals
from remediator.simulation.backtest.analysis.unhandled_alerts import REASONS, UnhandledAlerts, shown_labels
from remediator.simulation.backtest.replay import ReplayReading
from remediator.simulation.backtest.report import READINGS, Report, restarts

_ROWS = 40
_LONG = 70
"""Maximum number of characters shown of a command, or of an alert's labels."""


def show_report(report: Report) -> None:
    """Print the report."""
    found = report.any
    span = rough_duration(found.end - found.start)
    print(f"{moment(found.start)} to {moment(found.end)} ({span}, every {found.step}s), {_many(found)}")
    for caveat in report.caveats:
        print(clean(caveat))
    print()
    if len(report.findings) > 1:
        for reading in report.findings:
            print(f"  {reading:<9} {READINGS[reading]}")
        print()
    rows = totals(list(report.columns.values()))
    show_table(("", *report.columns), [(f"  {row.name}" if row.part else row.name, *row.cells) for row in rows], "")
    print()
    _services(report)
    for reading, findings in report.findings.items():
        if findings.troubles and (reading is ReplayReading.RECORDED or len(report.findings) == 1):
            print(f"\nIncidents, {reading}:")
            incidents = [_incident(trouble) for trouble in findings.troubles]
            _table(("since", "service", "runbook", "would run", "because", "ended"), incidents)
    if found.unhandled_alerts:
        print("\nAlerts that led to nothing:")
        _table(
            ("alert", "reason", "times", "fired for", "one of them"),
            [_unhandled(one) for one in found.unhandled_alerts],
        )
    for reading in report.against:
        print(f"\nAgainst the other rules, {reading}:")
        lines = [line for difference in report.differences(reading) for line in _difference(difference)]
        _table(("service", "commands", "", "at", "command"), lines or [("no difference", "", "", "", "")])


def _services(report: Report) -> None:
    every = list(report.findings.values())
    named = [{service.name: service for service in found.services} for found in every]
    rows = []
    for name in dict.fromkeys(name for services in named for name in services):
        parts = [services[name] for services in named if name in services]
        first = parts[0]
        rows.append(
            (
                name,
                rough_duration(first.bad) if first.bad else "",
                str(len(first.episodes) or ""),
                rough_duration(first.longest) if first.longest else "",
                cleared(first.cleared) if first.episodes else "",
                " / ".join(str(len(part.troubles)) for part in parts),
                " / ".join(str(len(part.commands)) for part in parts),
                " / ".join(f"{found.a_week(restarts(part)):.1f}" for found, part in zip(every, parts, strict=False)),
                ", ".join(dict.fromkeys(held.gate for part in parts for held in part.held)),
            )
        )
    rows.sort(key=lambda row: (not row[1] and set(row[5]) <= {*"0 /"}, row[0]))
    trouble = ("was bad for", "times", "the longest", "by itself")
    _table(("service", *trouble, "incidents", "commands", "restarts a week", "held by"), rows)


def _unhandled(one: UnhandledAlerts) -> tuple[str, ...]:
    example = _short(shown_labels(one.labels))
    return (one.alert, REASONS[one.reason], str(one.count), rough_duration(one.seconds), example)


def _incident(trouble: Trouble) -> tuple[str, ...]:
    lasted = f"after {rough_duration(trouble.until - trouble.since)}" if trouble.until else "still open"
    run = "; ".join(_command(command) for command in trouble.commands) or "nothing"
    ended = f"{trouble.verdict} {lasted}" if trouble.until else lasted
    return (moment(trouble.since), trouble.service, trouble.runbook, run, trouble.because, ended)


def _difference(difference: Difference) -> Iterable[tuple[str, ...]]:
    count = f"{difference.before} → {difference.after}"
    for sign, commands in (("-", difference.no_more), ("+", difference.new)):
        for command in commands:
            yield (difference.service, count, sign, moment(command.at), _command(command))


def _command(command: Command) -> str:
    return _short(command.title or command.action)


def _short(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    show_table(columns, rows[:_ROWS], "there are no services")
    if len(rows) > _ROWS:
        print(f"… and {len(rows) - _ROWS} more, which --output json and --html have")


def _many(found: Findings) -> str:
    count = len(found.services)
    return f"{count} service" + ("" if count == 1 else "s")

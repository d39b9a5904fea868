"""A backtest's report for people at a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from remediator.backtest.compare import Difference
from remediator.backtest.episodes import Episode, median
from remediator.backtest.findings import Command, Findings, Trouble
from remediator.backtest.replay import Reading
from remediator.backtest.report import READINGS, Report, restarts
from remediator.backtest.unheeded import REASONS, Unheeded, shown_labels
from remediator.cli.client import clean, show_table
from remediator.durations import rough_duration

_ROWS = 40
_EXAMPLE = 70
"""How many characters of an alert's labels are shown."""


def show_report(report: Report) -> None:
    """Print it."""
    found = report.any
    span = rough_duration(found.end - found.start)
    print(f"{_when(found.start)} to {_when(found.end)} ({span}, every {found.step}s), {_many(found)}")
    for caveat in report.caveats:
        print(clean(caveat))
    print()
    if len(report.findings) > 1:
        for reading in report.findings:
            print(f"  {reading:<9} {READINGS[reading]}")
        print()
    show_table(("", *report.findings), _totals(report), "")
    print()
    _services(report)
    for reading, findings in report.findings.items():
        if findings.troubles and (reading is Reading.RECORDED or len(report.findings) == 1):
            print(f"\nIncidents, {reading}:")
            rows = [_incident(trouble) for trouble in findings.troubles]
            _table(("since", "service", "runbook", "would run", "because", "ended"), rows)
    if found.unheeded:
        print("\nAlerts that led to nothing:")
        _table(("alert", "reason", "times", "fired for", "one of them"), [_unheeded(one) for one in found.unheeded])
    for reading in report.against:
        print(f"\nAgainst the other rules, {reading}:")
        rows = [row for difference in report.differences(reading) for row in _difference(difference)]
        _table(("service", "commands", "", "at", "command"), rows or [("no difference", "", "", "", "")])


def _totals(report: Report) -> Iterable[Sequence[object]]:
    every = list(report.findings.values())
    yield ("times of trouble", *(found.episodes for found in every))
    yield ("  cleared by itself", *(_cleared(found.cleared) for found in every))
    yield ("incidents", *(len(found.troubles) for found in every))
    for verdict in _keys(every, lambda found: found.verdicts):
        yield (f"  {verdict}", *(found.verdicts[verdict] for found in every))
    yield ("commands", *(len(found.commands) for found in every))
    for action in _keys(every, lambda found: found.actions):
        yield (f"  {action}", *(found.actions[action] for found in every))
    yield ("most services healed in an hour", *(_busiest(found) for found in every))
    for gate in dict.fromkeys(gate for found in every for gate in found.gates):
        yield (f"held by {gate}", *(rough_duration(found.gates.get(gate, 0.0)) for found in every))
    if any(found.not_corroborated for found in every):
        yield ("alerts not corroborated", *(found.not_corroborated for found in every))


def _services(report: Report) -> None:
    rows = []
    every = list(report.findings.values())
    for parts in zip(*(found.services for found in every), strict=False):
        first, found = parts[0], every[0]
        rows.append(
            (
                first.name,
                rough_duration(first.bad) if first.bad else "",
                str(len(first.episodes) or ""),
                rough_duration(first.longest) if first.longest else "",
                _cleared(first.cleared) if first.episodes else "",
                " / ".join(str(len(part.troubles)) for part in parts),
                " / ".join(str(len(part.commands)) for part in parts),
                " / ".join(f"{found.a_week(restarts(part)):.1f}" for part in parts),
                ", ".join(dict.fromkeys(held.gate for part in parts for held in part.held)),
            )
        )
    rows.sort(key=lambda row: (not row[1] and set(row[5]) <= {*"0 /"}, row[0]))
    trouble = ("was bad for", "times", "the longest", "by itself")
    _table(("service", *trouble, "incidents", "commands", "restarts a week", "held by"), rows)


def _cleared(episodes: Sequence[Episode]) -> str:
    return f"{len(episodes)} (median {rough_duration(median(episodes))})" if episodes else "0"


def _unheeded(one: Unheeded) -> tuple[str, ...]:
    example = shown_labels(one.labels)
    short = example if len(example) <= _EXAMPLE else f"{example[: _EXAMPLE - 1]}…"
    return (one.alert, REASONS[one.reason], str(one.count), rough_duration(one.seconds), short)


def _incident(trouble: Trouble) -> tuple[str, ...]:
    lasted = f"after {rough_duration(trouble.until - trouble.since)}" if trouble.until else "still open"
    run = "; ".join(_command(command) for command in trouble.commands) or "nothing"
    ended = f"{trouble.verdict} {lasted}" if trouble.until else lasted
    return (_when(trouble.since), trouble.service, trouble.runbook, run, trouble.because, ended)


def _difference(difference: Difference) -> Iterable[tuple[str, ...]]:
    count = f"{difference.before} → {difference.after}"
    for sign, commands in (("-", difference.no_more), ("+", difference.new)):
        for command in commands:
            yield (difference.service, count, sign, _when(command.at), _command(command))


def _command(command: Command) -> str:
    return f"{command.action} ({command.call})" if command.call else command.action


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    show_table(columns, rows[:_ROWS], "there are no services")
    if len(rows) > _ROWS:
        print(f"… and {len(rows) - _ROWS} more, which --output json and --html have")


def _busiest(found: Findings) -> str:
    at, services = found.busiest
    return f"{services} ({_when(at)})" if services else "0"


def _keys(every: list[Findings], counts: Callable[[Findings], Counter[str]]) -> list[str]:
    return list(dict.fromkeys(key for found in every for key, _ in counts(found).most_common()))


def _many(found: Findings) -> str:
    count = len(found.services)
    return f"{count} service" + ("" if count == 1 else "s")


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"

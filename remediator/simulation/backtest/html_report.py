"""The report as one self-contained HTML page: totals, and a timeline of every service. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from remediator import __version__
from remediator.model.durations import rough_duration
from remediator.model.health import Health
from remediator.simulation.backtest.analysis.episodes import spells
from remediator.simulation.backtest.analysis.findings import Findings, ServiceFindings
from remediator.simulation.backtest.analysis.totals import cleared, moment, totals
from remediator.simulation.backtest.analysis.unhandled_alerts import REASONS, shown_labels
from remediator.simulation.backtest.report import READINGS, Report, first_after, restarts

_TICKS = (900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 30 * 86400)
_MOST_TICKS = 12


class Band(NamedTuple):
    """A part of a timeline: start and width in percent of the whole, its CSS classes, and its text."""

    left: float
    width: float
    kind: str
    text: str


def page(report: Report) -> str:
    """The page, as HTML."""
    environment = Environment(
        loader=PackageLoader("remediator.simulation.backtest", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters.update(moment=moment, rough=rough_duration)
    return environment.get_template("html_report.html").render(
        report=report,
        found=report.any,
        readings=READINGS,
        totals=totals(list(report.columns.values())),
        ticks=list(_ticks(report.any)),
        bands=bands,
        commands=commands,
        eventful=_eventful,
        restarts=restarts,
        first_after=first_after,
        cleared=cleared,
        reasons=REASONS,
        shown_labels=shown_labels,
        version=__version__,
    )


def bands(found: Findings, service: ServiceFindings) -> Iterator[Band]:
    """The times at which the service was unhealthy, its alerts fired, an incident was open, or a gate held."""
    for health, at, until in spells(service.healths, found.end):
        if health is not Health.HEALTHY:
            yield _band(found, at, until, str(health), str(health))
    for episode in service.alerting:
        until = found.end if episode.until is None else episode.until
        yield _band(found, episode.since, until, "alerting", "its alerts fired")
    for trouble in service.troubles:
        until = trouble.until if trouble.until is not None else found.end
        yield _band(found, trouble.since, until, f"incident {trouble.verdict}", f"{trouble.verdict}: {trouble.because}")
    for held in service.held:
        yield _band(found, held.since, held.until, "hold", f"held by {held.gate}: {held.text}")


def commands(found: Findings, service: ServiceFindings) -> Iterator[Band]:
    """The commands that would have been run."""
    for command in service.commands:
        yield _band(
            found,
            command.at,
            command.at,
            command.action,
            f"{command.title or command.action}: {command.call}".strip(": "),
        )


def _band(found: Findings, since: float, until: float, kind: str, text: str) -> Band:
    whole = found.end - found.start
    left, right = ((min(max(at, found.start), found.end) - found.start) / whole * 100 for at in (since, until))
    lasted = f" to {moment(until)}, {rough_duration(until - since)}" if until > since else ""
    return Band(left, right - left, kind, f"{moment(since)}{lasted}\n{text}")


def _ticks(found: Findings) -> Iterator[tuple[float, str]]:
    """The position of each line of the timeline, in percent, and its label."""
    whole = found.end - found.start
    apart = next((tick for tick in _TICKS if whole / tick <= _MOST_TICKS), _TICKS[-1])
    at = (found.start // apart + 1) * apart
    while at < found.end:
        form = "%d %b" if apart >= 86400 or at % 86400 == 0 else "%H:%M"
        yield (at - found.start) / whole * 100, datetime.fromtimestamp(at, UTC).strftime(form)
        at += apart


def _eventful(service: ServiceFindings) -> bool:
    unwell = service.episodes or any(health is not Health.HEALTHY for _, health in service.healths)
    return bool(service.troubles or service.held or unwell)

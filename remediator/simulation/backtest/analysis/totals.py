"""The rows of a report's totals, for the text and the HTML report. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from remediator.model.durations import rough_duration
from remediator.simulation.backtest.analysis.episodes import Episode, median
from remediator.simulation.backtest.analysis.findings import Findings
from remediator.simulation.backtest.analysis.unhandled_alerts import REASONS

Key = TypeVar("Key", bound=Hashable)


class TotalsRow(NamedTuple):
    """A row's name and its cells, one per column. `part` marks a breakdown of the row above."""

    name: str
    cells: tuple[str, ...]
    part: bool = False


def totals(every: Sequence[Findings]) -> Iterator[TotalsRow]:
    """The rows for findings that stand side by side."""

    def row(name: str, cell: Callable[[Findings], object], *, part: bool = False) -> TotalsRow:
        return TotalsRow(name, tuple(str(cell(found)) for found in every), part)

    def parts(counts: Callable[[Findings], Counter[Key]], name: Callable[[Key], str]) -> Iterator[TotalsRow]:
        counted = [counts(found) for found in every]
        for key in dict.fromkeys(key for one in counted for key, _ in one.most_common()):
            yield TotalsRow(name(key), tuple(str(one[key]) for one in counted), part=True)

    yield row("times of trouble", lambda found: found.episodes)
    yield row("cleared by itself", lambda found: cleared(found.cleared), part=True)
    yield row("incidents", lambda found: len(found.troubles))
    yield from parts(lambda found: found.verdicts, str)
    yield row("commands", lambda found: len(found.commands))
    yield from parts(lambda found: found.actions, str)
    yield row("most services healed in an hour", _busiest)
    for gate in dict.fromkeys(gate for found in every for gate in found.gates):
        cells = (rough_duration(found.gates.get(gate, 0.0)) for found in every)
        yield TotalsRow(f"held by {gate}", tuple(cells))
    yield row("alerts that led to nothing", lambda found: found.led_to_nothing.total())
    yield from parts(lambda found: found.led_to_nothing, lambda reason: REASONS[reason])


def cleared(episodes: Sequence[Episode]) -> str:
    """Their number and their median duration."""
    return f"{len(episodes)} (median {rough_duration(median(episodes))})" if episodes else "0"


def moment(at: float) -> str:
    """The time in UTC, to the second."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"


def _busiest(found: Findings) -> str:
    at, services = found.busiest
    return f"{services} ({datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%MZ})" if services else "0"

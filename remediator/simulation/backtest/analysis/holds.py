"""From when to when gates held, by what the journal and the alerts of a replay say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from remediator.model.incident import Disposition, Entry, EntryKind
from remediator.simulation.backtest.analysis.episodes import Episode, lasting


class HeldPeriod(msgspec.Struct, frozen=True):
    """From when to when a gate held a service's heal, in seconds since the epoch, and its sentence."""

    service: str
    gate: str
    text: str
    since: float
    until: float

    @property
    def seconds(self) -> float:
        return self.until - self.since


def holds(entries: Iterable[Entry], firing: Mapping[str, Sequence[Episode]], end: float) -> Iterator[HeldPeriod]:
    """The holds of the journal's `entries`, which are in order of time; `firing` are by service the times at which any
    alert of it fired.

    A hold ends with what happens to the service next. One of alerts, of which there is no incident yet, ends at the latest
    when the last of them is over: there is no entry for that. That alerts are not corroborated is no hold: nothing
    waits for anything.
    """
    holding: dict[str, tuple[Entry, float]] = {}
    for entry in entries:
        name = entry.service
        before, until = holding.get(name, (None, end))
        if before is not None:
            # Each alert that comes while a gate holds has an entry of its own.
            if _of_alerts(entry) and entry.data["gate"] == before.data["gate"] and entry.at <= until:
                continue
            yield from _held(before, min(until, entry.at))
            del holding[name]
        if _of_alerts(entry):
            holding[name] = (entry, lasting(firing.get(name, ()), entry.at, end))
        elif entry.kind is EntryKind.HELD:
            holding[name] = (entry, end)
    for before, until in holding.values():
        yield from _held(before, until)


def _of_alerts(entry: Entry) -> bool:
    return entry.kind is EntryKind.ALERT_SETTLED and entry.data["disposition"] == Disposition.HELD


def _held(entry: Entry, until: float) -> Iterator[HeldPeriod]:
    if until > entry.at:
        yield HeldPeriod(entry.service, entry.data["gate"], entry.text, entry.at, until)

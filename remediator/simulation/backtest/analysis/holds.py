"""The periods in which gates held, derived from a replay's journal and alerts. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from remediator.model.incident import Disposition, Entry, EntryKind
from remediator.simulation.backtest.analysis.episodes import Episode, lasting


class HeldPeriod(msgspec.Struct, frozen=True):
    """A period in which a gate held a service's heal, in seconds since the epoch, and the gate's sentence."""

    service: str
    gate: str
    text: str
    since: float
    until: float

    @property
    def seconds(self) -> float:
        return self.until - self.since


def holds(entries: Iterable[Entry], firing: Mapping[str, Sequence[Episode]], end: float) -> Iterator[HeldPeriod]:
    """The holds in the journal. `entries` are in order of time, `firing` has the episodes of each service's alerts.

    A hold ends with the service's next entry. A hold of alerts without an incident also ends with the last of these
    alerts, because the journal has no entry for that. An alert that is not corroborated is not held: it waits for nothing.
    """
    holding: dict[str, tuple[Entry, float]] = {}
    for entry in entries:
        name = entry.service
        before, until = holding.get(name, (None, end))
        if before is not None:
            # Each alert that arrives while a gate holds has its own entry.
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

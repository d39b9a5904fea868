"""Alerts that led to nothing: no service owns them, no runbook takes them, or thresholds contradict them. Pure functions."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from remediator.model.incident import Disposition, Entry, EntryKind, Incident, StoredAlert
from remediator.model.matcher import Matcher
from remediator.simulation.backtest.analysis.episodes import ended

REASONS = {
    Disposition.NO_SERVICE: "no service",
    Disposition.NO_RUNBOOK: "no runbook",
    Disposition.NOT_CORROBORATED: "not corroborated",
    Disposition.NOT_ACTIONABLE: "not actionable",
}
"""The dispositions of alerts that lead to nothing, in words."""


class UnhandledAlerts(msgspec.Struct, frozen=True):
    """The alerts of one name that led to nothing for one reason.

    `seconds` is their total duration, `labels` are those of one of them.
    """

    alert: str
    reason: Disposition
    count: int
    seconds: float
    services: tuple[str, ...]
    labels: dict[str, str]


def unhandled_alerts(
    alerts: Iterable[StoredAlert], entries: Iterable[Entry], incidents: Iterable[Incident], end: float
) -> list[UnhandledAlerts]:
    """The alerts that led to nothing, the most frequent first. Entries and incidents are in order of time.

    Alerts that were part of an incident are left out, and so are those that a gate held for most of their time.
    """
    told: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.kind is EntryKind.ALERT_SETTLED:
            told.setdefault(entry.data["fingerprint"], []).append(entry)
    troubles: dict[str, list[Incident]] = {}
    for incident in incidents:
        troubles.setdefault(incident.service, []).append(incident)
    found: dict[tuple[str, Disposition], list[StoredAlert]] = {}
    for stored in alerts:
        reason = _fate(stored, told.get(stored.alert.fingerprint, ()), end)
        if reason in REASONS and not _part_of(stored, troubles.get(stored.service, ()), end):
            found.setdefault((stored.alert.name, reason), []).append(stored)
    every = (
        UnhandledAlerts(
            name,
            reason,
            len(same),
            sum(ended(one, end) - one.alert.starts_at for one in same),
            tuple(sorted({one.service for one in same} - {""})),
            same[0].alert.labels,
        )
        for (name, reason), same in found.items()
    )
    return sorted(every, key=lambda one: (-one.count, -one.seconds, one.alert))


def _fate(stored: StoredAlert, entries: Sequence[Entry], end: float) -> Disposition | None:
    """The alert's disposition for most of its time. It may differ for a while, as thresholds lag behind alerts."""
    until = ended(stored, end)
    first = bisect_left(entries, stored.alert.starts_at, key=lambda entry: entry.at)
    mine = entries[first : bisect_right(entries, until, key=lambda entry: entry.at)]
    spent: dict[Disposition, float] = {}
    for entry, after in zip(mine, [*(entry.at for entry in mine[1:]), until], strict=False):
        said = Disposition(entry.data["disposition"])
        spent[said] = spent.get(said, 0.0) + after - entry.at
    return max(spent, key=lambda said: spent[said], default=None)


def _part_of(stored: StoredAlert, incidents: Sequence[Incident], end: float) -> bool:
    """Whether an incident of its service was open while the alert fired. It then opened or joined that incident."""
    since, until = stored.alert.starts_at, ended(stored, end)
    later = bisect_right(incidents, since, key=lambda one: one.closed_at or end)
    return later < len(incidents) and incidents[later].opened_at < until


def shown_labels(labels: Mapping[str, str]) -> str:
    """The alert's labels without its name, written as matchers."""
    return ", ".join(str(Matcher(name, "=", value)) for name, value in labels.items() if name != "alertname")

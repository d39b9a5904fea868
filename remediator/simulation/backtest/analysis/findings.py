"""Findings: the heals of a replay and their reasons, holds and their gates, and the length of trouble. Pure functions."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from remediator.actions.titles import run_title
from remediator.model.alert import Source
from remediator.model.health import Health
from remediator.model.incident import Disposition, Incident, StoredAlert
from remediator.simulation.backtest.analysis.episodes import Episode, either, fired, unwell
from remediator.simulation.backtest.analysis.holds import HeldPeriod, holds
from remediator.simulation.backtest.analysis.unhandled_alerts import UnhandledAlerts, unhandled_alerts
from remediator.simulation.backtest.replay import Replayed, ReplayReading

WEEK = 7 * 86400.0
_HOUR = 3600.0


class Command(msgspec.Struct, frozen=True):
    """A step that would have been run at `at`, in seconds since the epoch, with its assumed outcome."""

    at: float
    action: str
    call: str
    outcome: str
    title: str = ""
    """What it does, in words."""


class Trouble(msgspec.Struct, frozen=True):
    """An incident: its cause, its commands, and how it would have ended. `until` is None when it outlasted the history."""

    service: str
    runbook: str
    since: float
    until: float | None
    verdict: str
    because: str
    closing: str
    commands: tuple[Command, ...]


class ServiceFindings(msgspec.Struct, frozen=True):
    """The findings of one service. `healths` are the changes of its health by thresholds.

    `alerting` are the episodes of its alerts, where alerts judge it. `episodes` is its trouble by either.
    """

    name: str
    troubles: tuple[Trouble, ...]
    held: tuple[HeldPeriod, ...]
    healths: tuple[tuple[float, Health], ...]
    alerting: tuple[Episode, ...]
    episodes: tuple[Episode, ...]

    @property
    def commands(self) -> tuple[Command, ...]:
        """The commands for this service."""
        return tuple(command for trouble in self.troubles for command in trouble.commands)

    @property
    def bad(self) -> float:
        """Total seconds in trouble."""
        return sum(episode.seconds for episode in self.episodes)

    @property
    def longest(self) -> float:
        """Seconds of the longest episode."""
        return max((episode.seconds for episode in self.episodes), default=0.0)

    @property
    def cleared(self) -> tuple[Episode, ...]:
        """The episodes that ended without any command for the service in between."""
        times = sorted(command.at for command in self.commands)
        return tuple(
            one
            for one in self.episodes
            if one.until is not None and bisect_left(times, one.since) == bisect_right(times, one.until)
        )


class Findings(msgspec.Struct, frozen=True):
    """The outcome of one replay from `start` to `end`. Prometheus has data from `seen_from` on.

    `unhandled_alerts` has the most frequent first. `notes` say which assumptions it rests on.
    """

    reading: ReplayReading
    start: float
    end: float
    seen_from: float
    step: int
    services: tuple[ServiceFindings, ...]
    unhandled_alerts: tuple[UnhandledAlerts, ...]
    notes: tuple[str, ...]

    @property
    def episodes(self) -> int:
        """The number of episodes of all services."""
        return sum(len(service.episodes) for service in self.services)

    @property
    def cleared(self) -> tuple[Episode, ...]:
        """The episodes that ended without any command for their service in between."""
        return tuple(episode for service in self.services for episode in service.cleared)

    @property
    def troubles(self) -> list[Trouble]:
        """Every incident, oldest first."""
        return sorted((t for service in self.services for t in service.troubles), key=lambda t: t.since)

    @property
    def commands(self) -> list[Command]:
        """Every command, oldest first."""
        return sorted((c for service in self.services for c in service.commands), key=lambda c: c.at)

    @property
    def verdicts(self) -> Counter[str]:
        """The number of incidents by verdict."""
        return Counter(trouble.verdict for trouble in self.troubles)

    @property
    def actions(self) -> Counter[str]:
        """The number of commands by action."""
        return Counter(command.action for command in self.commands)

    @property
    def gates(self) -> dict[str, float]:
        """Seconds that each gate held, summed over all services, the longest first."""
        seconds: dict[str, float] = {}
        for held in (held for service in self.services for held in service.held):
            seconds[held.gate] = seconds.get(held.gate, 0.0) + held.seconds
        return dict(sorted(seconds.items(), key=lambda item: -item[1]))

    @property
    def led_to_nothing(self) -> Counter[Disposition]:
        """The number of alerts that led to nothing, by reason."""
        counts: Counter[Disposition] = Counter()
        for one in self.unhandled_alerts:
            counts[one.reason] += one.count
        return counts

    @property
    def hours(self) -> dict[float, int]:
        """The number of services healed by hour, keyed by the hour's start. Hours without heals are left out."""
        hours: dict[float, set[str]] = {}
        for service in self.services:
            for command in service.commands:
                hours.setdefault(command.at // _HOUR * _HOUR, set()).add(service.name)
        return {at: len(hours[at]) for at in sorted(hours)}

    @property
    def busiest(self) -> tuple[float, int]:
        """The start of the hour with most services healed, and their number."""
        return max(self.hours.items(), key=lambda hour: (hour[1], -hour[0]), default=(self.start, 0))

    @property
    def seen(self) -> float:
        """Seconds of history that have data; at least 1."""
        return max(self.end - self.seen_from, 1.0)

    def a_week(self, count: int) -> float:
        """A count over the time that has data, as a number a week."""
        return count * WEEK / self.seen


def findings(
    replayed: Replayed,
    reading: ReplayReading,
    start: float,
    end: float,
    step: int,
    named: Iterable[str],
    seen_from: float | None = None,
) -> Findings:
    """The findings of a replay. `named` are the rules' services, which are listed even if nothing was seen of them.

    `seen_from` is when Prometheus' data begin, where that is after `start`.
    """
    troubles: dict[str, list[Trouble]] = {}
    for incident in replayed.incidents:
        troubles.setdefault(incident.service, []).append(_trouble(incident))
    alerts: dict[str, list[StoredAlert]] = {}
    for stored in replayed.alerts:
        alerts.setdefault(stored.service, []).append(stored)
    firing = {name: fired(theirs, end) for name, theirs in alerts.items()}
    held: dict[str, list[HeldPeriod]] = {}
    for one in holds(replayed.entries, firing, end):
        held.setdefault(one.service, []).append(one)
    believed = {incident.service for incident in replayed.incidents if not incident.plan.runbook.corroborate}
    names = sorted({*named, *replayed.healths, *alerts} - {""})
    services = []
    for name in names:
        healths = replayed.healths.get(name, ())
        seen = any(health is not Health.UNKNOWN for _, health in healths)
        alerting = fired(_speaking(alerts.get(name, ())), end) if name in believed or not seen else []
        unwells = unwell(healths, end)
        services.append(
            ServiceFindings(
                name,
                tuple(troubles.get(name, ())),
                tuple(held.get(name, ())),
                tuple(healths),
                tuple(alerting),
                tuple(either(unwells, alerting, end) if alerting else unwells),
            )
        )
    nothing = unhandled_alerts(replayed.alerts, replayed.entries, replayed.incidents, end)
    seen_from = start if seen_from is None else max(start, seen_from)
    return Findings(reading, start, end, seen_from, step, tuple(services), tuple(nothing), tuple(_notes(replayed)))


def _speaking(alerts: Iterable[StoredAlert]) -> Iterator[StoredAlert]:
    """The alerts that say by themselves that the service is in trouble."""
    for stored in alerts:
        if stored.alert.source is Source.ALERTMANAGER and stored.disposition is not Disposition.NOT_CORROBORATED:
            yield stored


def _trouble(incident: Incident) -> Trouble:
    commands = tuple(
        Command(run.started_at, run.action, run.call, str(run.outcome or "running"), run_title(incident, run))
        for run in incident.runs
        if run.step >= 0 and (run.outcome is None or run.outcome.ran)
    )
    return Trouble(
        incident.service,
        incident.runbook,
        incident.opened_at,
        incident.closed_at,
        str(incident.verdict or "open"),
        incident.text,
        incident.closing,
        commands,
    )


def _notes(replayed: Replayed) -> Iterator[str]:
    if replayed.counted:
        yield "how many there are of a service is not recorded where the target's command tells it: 1 is assumed"
    yield from replayed.unanswered

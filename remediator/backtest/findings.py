"""What came of a replay: heals and what they were for, holds and their gates, and how long trouble lasted. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from remediator.backtest.episodes import fired
from remediator.backtest.holds import Held, holds
from remediator.backtest.replay import Reading, Replayed
from remediator.backtest.unheeded import Unheeded, unheeded
from remediator.health import Health
from remediator.incident import Disposition, Incident, StoredAlert

WEEK = 7 * 86400.0
_HOUR = 3600.0


class Command(msgspec.Struct, frozen=True):
    """A step that would have been run: when, in seconds since the epoch, what, and how it is taken to have ended."""

    at: float
    action: str
    call: str
    outcome: str


class Trouble(msgspec.Struct, frozen=True):
    """An incident: what was seen, what would have been run, and how it would have ended. `until` is None when it had not
    ended with the history."""

    service: str
    runbook: str
    since: float
    until: float | None
    verdict: str
    because: str
    closing: str
    commands: tuple[Command, ...]


class ServiceFindings(msgspec.Struct, frozen=True):
    """One service. `healths` are the times at which its health by thresholds became another, and which; `bad` is for how
    many seconds it was degraded or failed, `longest` how long its longest trouble lasted."""

    name: str
    troubles: tuple[Trouble, ...]
    held: tuple[Held, ...]
    healths: tuple[tuple[float, Health], ...]
    bad: float
    longest: float

    @property
    def commands(self) -> tuple[Command, ...]:
        """Everything that would have been run for it."""
        return tuple(command for trouble in self.troubles for command in trouble.commands)


class Findings(msgspec.Struct, frozen=True):
    """The outcome of one replay from `start` to `end`. `unheeded` are the alerts that led to nothing, most often first;
    `notes` say what it rests on that history does not have."""

    reading: Reading
    start: float
    end: float
    step: int
    services: tuple[ServiceFindings, ...]
    unheeded: tuple[Unheeded, ...]
    notes: tuple[str, ...]

    @property
    def troubles(self) -> list[Trouble]:
        """Every incident, oldest first."""
        return sorted((t for service in self.services for t in service.troubles), key=lambda t: t.since)

    @property
    def commands(self) -> list[Command]:
        """Everything that would have been run, oldest first."""
        return sorted((c for service in self.services for c in service.commands), key=lambda c: c.at)

    @property
    def verdicts(self) -> Counter[str]:
        """How many incidents ended how."""
        return Counter(trouble.verdict for trouble in self.troubles)

    @property
    def actions(self) -> Counter[str]:
        """How often each action would have been run."""
        return Counter(command.action for command in self.commands)

    @property
    def gates(self) -> dict[str, float]:
        """For how many seconds each gate held, of all services together; the longest first."""
        seconds: dict[str, float] = {}
        for held in (held for service in self.services for held in service.held):
            seconds[held.gate] = seconds.get(held.gate, 0.0) + held.seconds
        return dict(sorted(seconds.items(), key=lambda item: -item[1]))

    @property
    def not_corroborated(self) -> int:
        """How many alerts fired of services that their thresholds saw healthy."""
        return sum(one.count for one in self.unheeded if one.reason is Disposition.NOT_CORROBORATED)

    @property
    def busiest(self) -> tuple[float, int]:
        """The hour in which most services would have been healed: when it begins, and how many."""
        hours: dict[float, set[str]] = {}
        for service in self.services:
            for command in service.commands:
                hours.setdefault(command.at // _HOUR * _HOUR, set()).add(service.name)
        if not hours:
            return self.start, 0
        hour = max(hours, key=lambda at: (len(hours[at]), -at))
        return hour, len(hours[hour])

    def a_week(self, count: int) -> float:
        """So many, as a number a week."""
        return count * WEEK / max(self.end - self.start, 1.0)


def findings(
    replayed: Replayed, reading: Reading, start: float, end: float, step: int, named: Iterable[str]
) -> Findings:
    """What came of a replay; `named` are the services of the rules, to be there though nothing was seen of them."""
    troubles: dict[str, list[Trouble]] = {}
    for incident in replayed.incidents:
        troubles.setdefault(incident.service, []).append(_trouble(incident))
    alerts: dict[str, list[StoredAlert]] = {}
    for stored in replayed.alerts:
        alerts.setdefault(stored.service, []).append(stored)
    firing = {name: fired(theirs, end) for name, theirs in alerts.items()}
    held: dict[str, list[Held]] = {}
    for one in holds(replayed.entries, firing, end):
        held.setdefault(one.service, []).append(one)
    names = sorted({*named, *replayed.healths, *troubles, *held})
    services = tuple(
        ServiceFindings(
            name,
            tuple(troubles.get(name, ())),
            tuple(held.get(name, ())),
            tuple(replayed.healths.get(name, ())),
            sum(episodes := _episodes(replayed.healths.get(name, []), end)),
            max([*episodes, *((one.until or end) - one.since for one in troubles.get(name, ()))], default=0.0),
        )
        for name in names
    )
    nothing = unheeded(replayed.alerts, replayed.entries, replayed.incidents, end)
    return Findings(reading, start, end, step, services, tuple(nothing), tuple(_notes(replayed)))


def _trouble(incident: Incident) -> Trouble:
    commands = tuple(
        Command(run.started_at, run.action, run.call, str(run.outcome or "running"))
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


def _episodes(healths: list[tuple[float, Health]], end: float) -> list[float]:
    """For how many seconds it was degraded or failed at a stretch, each time."""
    lasted: list[float] = []
    bad_before = False
    ends = [*(at for at, _ in healths[1:]), end]
    for (at, health), until in zip(healths, ends, strict=False):
        if health.bad and bad_before:
            lasted[-1] += until - at
        elif health.bad:
            lasted.append(until - at)
        bad_before = health.bad
    return lasted


def _notes(replayed: Replayed) -> Iterator[str]:
    if replayed.counted:
        yield "how many there are of a service is not recorded where the target's command tells it: 1 is assumed"
    yield from replayed.unanswered

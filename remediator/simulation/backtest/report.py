"""The report of a backtest: the findings of every reading, and of the rules compared with. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from remediator.model.durations import rough_duration
from remediator.simulation.backtest.analysis.compare import Difference, differences
from remediator.simulation.backtest.analysis.episodes import Episode, median
from remediator.simulation.backtest.analysis.findings import Findings, ServiceFindings, Trouble
from remediator.simulation.backtest.replay import ReplayReading

READINGS = {
    ReplayReading.RECORDED: "everything goes on as it was recorded, whatever is run",
    ReplayReading.CURED: "each first step that ends well ends the trouble, until the recording has an end of it",
}
"""The readings, and what each assumes."""

CAVEATS = (
    "History does not react to a heal: what happened after it would have been another story.",
    "Of alerts only their labels and times are remembered: annotations, silences and what Alertmanager waited are not.",
)
"""The caveats of every backtest."""

LITTLE = 2 * 86400.0
"""Histories shorter than this many seconds say little about a week, because days, nights and weekends differ."""


class Report(msgspec.Struct, frozen=True):
    """The findings by reading. `against` has those of the rules to compare with, where there are any.

    `earnest` names the runbooks that were played as if their mode were `auto`. `warnings` are Prometheus' warnings,
    `remarks` sentences about what it remembers. `interval` is the daemon's evaluation interval in seconds.
    """

    findings: dict[ReplayReading, Findings]
    against: dict[ReplayReading, Findings]
    earnest: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    interval: float | None = None
    remarks: tuple[str, ...] = ()

    @property
    def any(self) -> Findings:
        """The findings of the first reading, for values that all readings share."""
        return next(iter(self.findings.values()))

    @property
    def columns(self) -> dict[str, Findings]:
        """The findings by the title of their column. For each reading, those of the other rules come first."""
        columns: dict[str, Findings] = {}
        for reading, found in self.findings.items():
            if reading in self.against:
                columns[f"{reading}, others"] = self.against[reading]
            columns[reading] = found
        return columns

    @property
    def caveats(self) -> list[str]:
        """The caveats of this backtest, as sentences."""
        played = f"Played as if their mode were auto: {', '.join(self.earnest)}." if self.earnest else ""
        warned = [f"Prometheus warned, so data may be missing: {warning}." for warning in self.warnings]
        warned += self.remarks
        if self.interval not in (None, self.any.step):
            warned.append(
                f"Thresholds are evaluated every {self.any.step}s here, by the config every {self.interval:g}s."
            )
        if self.any.seen < LITTLE:
            warned.append(f"A number a week that rests on {rough_duration(self.any.seen)} is little evidence.")
        notes = dict.fromkeys(note for found in self.findings.values() for note in found.notes)
        return [*CAVEATS, *([played] if played else []), *warned, *(f"{note[0].upper()}{note[1:]}." for note in notes)]

    def differences(self, reading: ReplayReading) -> list[Difference]:
        """The differences from the rules compared with."""
        return differences(self.against[reading], self.findings[reading]) if reading in self.against else []


def as_json(report: Report) -> dict[str, Any]:
    """The report for programs. Times are seconds since the epoch, durations seconds."""
    found = report.any
    return {
        "from": found.start,
        "to": found.end,
        "seen_from": found.seen_from,
        "step": found.step,
        "caveats": report.caveats,
        "readings": {
            reading: _totals(findings)
            | {
                "unheeded": msgspec.to_builtins(findings.unhandled_alerts),
                "services": [_service(findings, service) for service in findings.services],
            }
            | (_compared(report, reading) if reading in report.against else {})
            for reading, findings in report.findings.items()
        },
    }


def _compared(report: Report, reading: ReplayReading) -> dict[str, Any]:
    return {
        "against": _totals(report.against[reading]),
        "differences": msgspec.to_builtins(report.differences(reading)),
    }


def _totals(findings: Findings) -> dict[str, Any]:
    at, services = findings.busiest
    return {
        "episodes": findings.episodes,
        "cleared_by_itself": _cleared(findings.cleared),
        "incidents": len(findings.troubles),
        "verdicts": dict(findings.verdicts),
        "commands": len(findings.commands),
        "actions": dict(findings.actions),
        "held_seconds": findings.gates,
        "alerts_unheeded": dict(findings.led_to_nothing),
        "busiest_hour": {"at": at, "services": services},
        "services_an_hour": [{"at": hour, "services": count} for hour, count in findings.hours.items()],
    }


def _service(findings: Findings, service: ServiceFindings) -> dict[str, Any]:
    return {
        "name": service.name,
        "bad_seconds": service.bad,
        "longest_seconds": service.longest,
        "cleared_by_itself": _cleared(service.cleared),
        "restarts_a_week": findings.a_week(restarts(service)),
        "commands_a_week": findings.a_week(len(service.commands)),
        "episodes": msgspec.to_builtins(service.episodes),
        "incidents": [_trouble(trouble) for trouble in service.troubles],
        "held": [msgspec.to_builtins(held) for held in service.held],
        "health": [[at, str(health)] for at, health in service.healths],
    }


def _cleared(episodes: Sequence[Episode]) -> dict[str, float]:
    return {"count": len(episodes), "median_seconds": median(episodes)}


def _trouble(trouble: Trouble) -> dict[str, Any]:
    return {**msgspec.to_builtins(trouble), "first_command_after": first_after(trouble)}


def restarts(service: ServiceFindings) -> int:
    """The number of restarts of the service."""
    return sum(command.action == "restart" for command in service.commands)


def first_after(trouble: Trouble) -> float | None:
    """Seconds from the opening of an incident to its first command. None when it had no command."""
    return trouble.commands[0].at - trouble.since if trouble.commands else None

"""Compares two rule sets over the same history. Pure functions."""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from remediator.simulation.backtest.analysis.findings import Command, Findings

SAME = 600.0
"""Two equal commands for a service count as the same when they are at most this many seconds apart."""


class Difference(msgspec.Struct, frozen=True):
    """The commands for one service that only one of two rule sets would have run.

    `before` and `after` are the number of commands that each rule set has for it.
    """

    service: str
    before: int
    after: int
    no_more: tuple[Command, ...]
    new: tuple[Command, ...]


def differences(before: Findings, after: Findings) -> list[Difference]:
    """The differences by service, without services for which both would have run the same."""
    old = {service.name: service.commands for service in before.services}
    new = {service.name: service.commands for service in after.services}
    found = []
    for name in sorted({*old, *new}):
        here, there = new.get(name, ()), old.get(name, ())
        difference = Difference(name, len(there), len(here), _only(there, here), _only(here, there))
        if difference.no_more or difference.new:
            found.append(difference)
    return found


def _only(commands: tuple[Command, ...], others: tuple[Command, ...]) -> tuple[Command, ...]:
    """The commands without a counterpart among the others. Each of the others is the counterpart of at most one."""
    times: dict[tuple[str, str], list[float]] = {}
    for other in others:
        times.setdefault((other.action, other.call), []).append(other.at)
    alone = []
    for command in commands:
        left = times.get((command.action, command.call), [])
        place = bisect_left(left, command.at - SAME)
        if place < len(left) and left[place] <= command.at + SAME:
            del left[place]
        else:
            alone.append(command)
    return tuple(alone)

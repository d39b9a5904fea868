"""Episodes: spans of time in which alerts fired or a service was in trouble. Pure functions."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from remediator.model.health import Health
from remediator.model.incident import StoredAlert


class Episode(msgspec.Struct, frozen=True):
    """A span from `since` to `until`, in seconds since the epoch. `until` is None when its end was not seen.

    `seconds` is the part of it that was actually seen.
    """

    since: float
    until: float | None
    seconds: float


def fired(alerts: Iterable[StoredAlert], end: float) -> list[Episode]:
    """The episodes up to `end` in which any of these alerts fired, oldest first. Adjacent ones are joined."""
    return _joined(((one.alert.starts_at, ended(one, end)) for one in alerts), end)


def spells(healths: Sequence[tuple[float, Health]], end: float) -> Iterator[tuple[Health, float, float]]:
    """Each health with the start and end of the time in which the service had it. `healths` are the changes."""
    for (at, health), until in zip(healths, [*(at for at, _ in healths[1:]), end], strict=False):
        yield health, at, until


def unwell(healths: Sequence[tuple[float, Health]], end: float) -> list[Episode]:
    """The episodes in which a service was degraded or failed. `healths` are the changes of its health.

    An episode ends when the service is seen healthy. Unknown health ends nothing, and its seconds are not counted.
    """
    found: list[Episode] = []
    since: float | None = None
    seconds = 0.0
    for health, at, until in spells(healths, end):
        if health.bad:
            since = at if since is None else since
            seconds += until - at
        elif health is Health.HEALTHY and since is not None:
            found.append(Episode(since, at, seconds))
            since, seconds = None, 0.0
    return [*found, Episode(since, None, seconds)] if since is not None else found


def either(one: Iterable[Episode], other: Iterable[Episode], end: float) -> list[Episode]:
    """The episodes of both lists, joined where they overlap."""
    every = (*one, *other)
    return _joined(((each.since, end if each.until is None else each.until) for each in every), end)


def median(episodes: Sequence[Episode]) -> float:
    """The median duration in seconds; 0 without episodes."""
    return statistics.median(one.seconds for one in episodes) if episodes else 0.0


def ended(stored: StoredAlert, end: float) -> float:
    """When the alert ended, at the latest `end`."""
    return end if stored.alert.ends_at is None else min(stored.alert.ends_at, end)


def lasting(episodes: Sequence[Episode], at: float, end: float) -> float:
    """The end of the episode around this time; the time itself when there is none. Episodes are in order of time."""
    before = bisect_right(episodes, at, key=lambda one: one.since)
    if not before:
        return at
    until = episodes[before - 1].until
    return end if until is None else max(at, until)


def _joined(spans: Iterable[tuple[float, float]], end: float) -> list[Episode]:
    together: list[tuple[float, float]] = []
    for since, until in sorted(spans):
        if together and since <= together[-1][1]:
            together[-1] = (together[-1][0], max(until, together[-1][1]))
        else:
            together.append((since, until))
    return [Episode(since, until if until < end else None, until - since) for since, until in together]

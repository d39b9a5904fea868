"""Stretches of time in which something was so: that alerts fired, that a service was in trouble. Pure."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from remediator.model.health import Health
from remediator.model.incident import StoredAlert


class Episode(msgspec.Struct, frozen=True):
    """From when to when, in seconds since the epoch; `until` is None when no end of it was seen. `seconds` is for how
    long of that it is known to have been so."""

    since: float
    until: float | None
    seconds: float


def fired(alerts: Iterable[StoredAlert], end: float) -> list[Episode]:
    """When any of these alerts fired, up to `end`, oldest first; what follows without a gap is one."""
    return _joined(((one.alert.starts_at, ended(one, end)) for one in alerts), end)


def spells(healths: Sequence[tuple[float, Health]], end: float) -> Iterator[tuple[Health, float, float]]:
    """Each health with from when to when a service had it, by the times at which its health became another."""
    for (at, health), until in zip(healths, [*(at for at, _ in healths[1:]), end], strict=False):
        yield health, at, until


def unwell(healths: Sequence[tuple[float, Health]], end: float) -> list[Episode]:
    """When a service was degraded or failed, by the times at which its health became another. It is over when it is seen
    healthy; what cannot be seen ends nothing, and is not counted."""
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
    """When it was so by one of two accounts."""
    every = (*one, *other)
    return _joined(((each.since, end if each.until is None else each.until) for each in every), end)


def median(episodes: Sequence[Episode]) -> float:
    """The median of how many seconds they lasted; 0 when there are none."""
    return statistics.median(one.seconds for one in episodes) if episodes else 0.0


def ended(stored: StoredAlert, end: float) -> float:
    """When an alert was over, or `end` if it fired on."""
    return end if stored.alert.ends_at is None else min(stored.alert.ends_at, end)


def lasting(episodes: Sequence[Episode], at: float, end: float) -> float:
    """Until when the episode of this time goes on; the time itself when there is none. They are in order of time."""
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

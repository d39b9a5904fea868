"""Stretches of time in which something was so: that alerts fired, that a service was in trouble. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from remediator.incident import StoredAlert


class Episode(msgspec.Struct, frozen=True):
    """From when to when, in seconds since the epoch; `until` is None when no end of it was seen. `seconds` is for how
    long of that it is known to have been so."""

    since: float
    until: float | None
    seconds: float


def fired(alerts: Iterable[StoredAlert], end: float) -> list[Episode]:
    """When any of these alerts fired, up to `end`, oldest first; what follows without a gap is one."""
    together: list[tuple[float, float]] = []
    for since, until in sorted((one.alert.starts_at, ended(one, end)) for one in alerts):
        if together and since <= together[-1][1]:
            together[-1] = (together[-1][0], max(until, together[-1][1]))
        else:
            together.append((since, until))
    return [Episode(since, until if until < end else None, until - since) for since, until in together]


def ended(stored: StoredAlert, end: float) -> float:
    """When an alert was over, or `end` if it fired on."""
    return end if stored.alert.ends_at is None else min(stored.alert.ends_at, end)


def lasting(episodes: Sequence[Episode], at: float, end: float) -> float:
    """Until when the episode of this time goes on; the time itself when there is none."""
    here = (one for one in episodes if one.since <= at and (one.until is None or at < one.until))
    episode = next(here, None)
    return at if episode is None else end if episode.until is None else episode.until

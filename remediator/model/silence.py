"""Silences and suppressions as Alertmanager knows them: who or what keeps which alerts from people, and why."""

from __future__ import annotations

import msgspec

from remediator.model.matcher import Labels, Matcher, matches_all
from remediator.model.regex import RegexCostError


class Silence(msgspec.Struct, frozen=True):
    """One silence. Times are seconds since the epoch; it is in force from `starts_at` until `ends_at`."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: float
    ends_at: float
    author: str
    comment: str = ""

    def covers(self, labels: Labels, now: float) -> bool:
        """Whether an alert with these labels is silenced by it at this time. One without matchers covers nothing."""
        if not self.starts_at <= now < self.ends_at or not self.matchers:
            return False
        try:
            return matches_all(self.matchers, labels)
        except RegexCostError:
            # Somebody meant something to be left alone, and nobody can say that it is not this.
            return True


class Suppression(msgspec.Struct, frozen=True):
    """What keeps one alert from every receiver, by Alertmanager's own word: ids of silences of others, names of alerts
    that inhibit it, names of the time intervals that mute its route."""

    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    muted_by: tuple[str, ...] = ()

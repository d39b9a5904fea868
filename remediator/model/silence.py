"""A silence as Alertmanager knows it: who keeps which alerts from being told of, until when, and why."""

from __future__ import annotations

import msgspec

from remediator.model.matcher import Labels, Matcher, matches_all


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
        return self.starts_at <= now < self.ends_at and bool(self.matchers) and matches_all(self.matchers, labels)

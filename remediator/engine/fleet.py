"""What is true of all services together: who turned bad and when, and who is being healed by which runbook."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from remediator.decision.case import Panic
from remediator.model.health import Judgement
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Runbook, Service, Share

WITHIN = 60.0
"""Seconds within which services have to turn bad for it to be one event."""
LEAST = 3
"""So many services have to turn bad for a panic, however small the fleet."""


class Reserved(NamedTuple):
    """A command that was decided on and is not committed yet."""

    runbook: str
    at: float
    counts: bool


class Fleet:
    """The engine state updates it as services are judged and incidents open and close."""

    def __init__(self) -> None:
        self._panicked_at: dict[str, float] = {}
        self._panicked_before: float | None = None
        """When there was last a panic before this process began, of whatever services."""
        self._bad: dict[str, float] = {}
        self._panics: dict[str, tuple[float, Panic | None]] = {}
        self._healing: dict[str, set[str]] = {}
        self._reserved: dict[str, Reserved] = {}
        self._reach: dict[str, tuple[int, int]] = {}

    def turned_bad(self, name: str, since: float) -> None:
        """A service is said to be bad, before it is judged."""
        if name not in self._bad:
            self._bad[name] = since
            self._panics.clear()

    @property
    def bad(self) -> Mapping[str, float]:
        """Since when each service that is bad is so."""
        return self._bad

    def judged(self, name: str, judgement: Judgement) -> None:
        """Record a service's new health."""
        before = self._bad.pop(name, None)
        if judgement.health.bad:
            self._bad[name] = judgement.since
        if self._bad.get(name) != before:
            self._panics.clear()

    @property
    def panicked_at(self) -> float | None:
        """When there was last a panic anywhere."""
        return max(self._panicked_at.values(), default=self._panicked_before)

    def panicked_by(self, source: str) -> float | None:
        """When there was last a panic among the services that this Prometheus sees."""
        return self._panicked_at.get(source, self._panicked_before)

    def remember_panic(self, at: float | None) -> None:
        """There was last a panic at this time, before this process began."""
        self._panicked_before = at

    def panic(
        self, share: Share, services: Callable[[], Collection[str]], now: float, source: str = ""
    ) -> Panic | None:
        """Whether more than this share of the services is bad and turned so within a minute. The result is
        kept for one time, until another service is judged bad or well. A panic lasts as long as they are bad, and needs
        no memory: after a restart it is found again. `services` are those that a Prometheus sees, `source` its name."""
        looked_at, panic = self._panics.get(source, (-math.inf, None))
        if looked_at != now:
            panic = self._at_once(share, services)
            self._panics[source] = (now, panic)
            if panic is not None:
                self._panicked_at[source] = now
        return panic

    def heals(self, runbook: str, name: str) -> None:
        """A service is being healed by a runbook."""
        self._healing.setdefault(runbook, set()).add(name)

    def healed(self, runbook: str, name: str) -> None:
        """The heal of a service by a runbook is over."""
        self._healing.get(runbook, set()).discard(name)

    def reserve(self, runbook: str, name: str, now: float, *, counts: bool) -> None:
        """A command of a runbook was decided on: until it is released it is there for the gates of every other case.
        `counts` says whether it is a step, which counts against rates."""
        self._reserved[name] = Reserved(runbook, now, counts)

    def release(self, name: str) -> None:
        """The command has been committed as started, or will not be."""
        self._reserved.pop(name, None)

    @property
    def reserved(self) -> int:
        """How many commands were decided on that are not committed yet."""
        return len(self._reserved)

    def reserved_starts(self, runbook: str = "") -> tuple[float, ...]:
        """When the steps among them were decided on: those of a runbook, or all."""
        reserved = self._reserved.values()
        return tuple(one.at for one in reserved if one.counts and runbook in ("", one.runbook))

    def blast(
        self, runbook: Runbook, name: str, rulebook: Rulebook, known: Callable[[], Iterable[Service]], size: int
    ) -> tuple[int, int]:
        """How many other services of a runbook are being healed, and how many known services it is for. Counting these
        costs a walk over all, so it is done again only when `size`, the number of services, is another."""
        reserved = {other for other, one in self._reserved.items() if one.runbook == runbook.name}
        healing = len((self._healing.get(runbook.name, set()) | reserved) - {name})
        counted, reach = self._reach.get(runbook.name, (-1, 0))
        if size != counted:
            reach = sum(
                any(found.name == runbook.name for found in rulebook.runbooks_for(service.labels))
                for service in known()
            )
            self._reach[runbook.name] = (size, reach)
        return healing, reach

    def forget_reach(self) -> None:
        """The rules are others."""
        self._reach.clear()

    def _at_once(self, share: Share, services: Callable[[], Collection[str]]) -> Panic | None:
        if len(self._bad) < LEAST:
            return None
        among = services()
        bad_since = {name: since for name, since in self._bad.items() if name in among}
        most = max(share.of(len(among)), LEAST - 1)
        if len(bad_since) <= most:
            return None
        turned = sorted(bad_since.values())
        # With one more than may be within a minute, it is too many.
        for first, last in zip(turned, turned[most:], strict=False):
            if last - first <= WITHIN:
                bad = sum(first <= since <= first + WITHIN for since in turned)
                return Panic(bad, len(among), first)
        return None

"""Which service is decided on when: a queue ordered by time, with one entry for each service."""

from __future__ import annotations

import heapq

from remediator.decision.recheck import Recheck


class Schedule:
    """Services by the time at which they are due; the earliest time given counts."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def put(self, name: str, at: float) -> None:
        """Something happened to a service: decide on it at this time."""
        self._put(name, at)

    def recheck(self, name: str, now: float, recheck: Recheck) -> None:
        """Nothing happened to a service: decide on it again when it is time for that."""
        self._put(name, min(recheck.until, now + recheck.every))

    def take(self, now: float, most: int) -> list[str]:
        """The services that are due, the longest overdue first. They are no longer scheduled then."""
        names: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(names) < most:
            at, name = heapq.heappop(self._heap)
            if self._due.get(name) == at:
                del self._due[name]
                names.append(name)
        return names

    def next(self) -> float:
        """When the next service is due; infinity when none is."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else float("inf")

    def _put(self, name: str, at: float) -> None:
        current = self._due.get(name)
        if current is None or at < current:
            self._due[name] = at
            heapq.heappush(self._heap, (at, name))

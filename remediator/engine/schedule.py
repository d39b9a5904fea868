"""The agenda: which service is to be looked at when."""

from __future__ import annotations

import heapq


class Schedule:
    """Services by the time at which they are due; the earliest time given counts."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def put(self, name: str, at: float) -> None:
        """Have a service looked at by this time."""
        current = self._due.get(name)
        if current is None or at < current:
            self._due[name] = at
            heapq.heappush(self._heap, (at, name))

    def rest(self, name: str, now: float, until: float, every: float, *, alone: bool) -> None:
        """Have a service looked at `until` which, or something happens, nothing changes about it; and every so many
        seconds, for what nobody would tell of. `alone` says that it has to happen to this very service."""
        self.put(name, min(until, now + every))

    def stir(self, now: float, *, everyone: bool = False) -> None:
        """Something has happened that may change what was decided on those that rest and are not alone, or on everyone.
        Here they are looked at soon enough."""

    def take(self, now: float, most: int) -> list[str]:
        """The services that are due, the longest overdue first; they are off the agenda then."""
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

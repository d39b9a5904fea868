"""A cache of the recordings that were used last, bounded by their number of points."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from remediator.errors import RemoteError
from remediator.simulation.backtest.data.recording import Recording

Key = tuple[str, int]
"""An expression and the start of a stretch."""


class Recent:
    """Recordings by key, with at most `points` points together; a single recording may have more.

    A failed read is not repeated: its error is raised again.
    """

    def __init__(self, points: int) -> None:
        self._most = points
        self._points = 0
        self._held: OrderedDict[Key, Recording] = OrderedDict()
        self._failed: dict[Key, RemoteError] = {}

    def get(self, key: Key, read: Callable[[], Recording]) -> Recording:
        """The recording of a key, read unless the cache holds it."""
        if key in self._failed:
            raise self._failed[key]
        if key not in self._held:
            try:
                self._held[key] = read()
            except RemoteError as error:
                self._failed[key] = error
                raise
            self._points += self._held[key].points
        self._held.move_to_end(key)
        while self._points > self._most and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._points -= oldest.points
        return self._held[key]

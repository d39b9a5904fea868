"""Telling everyone who follows that something is new. What it is, they read where it is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


class Broadcast:
    """One kind of news, and who follows it."""

    def __init__(self) -> None:
        self.count = 0
        """How often there has been news. A follower that remembers the count knows whether there is more."""
        self._followers: list[Callable[[], object]] = []

    def notify(self) -> None:
        """Call everyone who follows."""
        self.count += 1
        for on_news in tuple(self._followers):
            on_news()

    def subscribe(self, on_news: Callable[[], object]) -> None:
        """Have `on_news` called at once whenever there is news; it must not wait for anything."""
        self._followers.append(on_news)

    @contextlib.contextmanager
    def following(self, on_news: Callable[[], object]) -> Iterator[None]:
        """Subscribe for as long as this is entered."""
        self._followers.append(on_news)
        try:
            yield
        finally:
            self._followers.remove(on_news)

"""The routes of a running Alertmanager: how long it waits before it tells a receiver of an alert. Pure.

An alert goes down the tree of routes as in Alertmanager's `dispatch` package: into the first child that matches, and into
later ones as long as those before them continue; where no child matches, the route itself is the alert's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import yaml

from remediator.model.durations import parse_duration
from remediator.model.matcher import Labels, Matcher, matches_all, parse_matcher, parse_matchers

DEFAULT_GROUP_WAIT = 30.0
"""Alertmanager's default, in seconds."""


class Route(NamedTuple):
    """A route with what it inherits from the routes above it."""

    receiver: str
    group_wait: float
    match: tuple[Matcher, ...]
    goes_on: bool
    children: tuple[Route, ...]

    def of(self, labels: Labels) -> Iterator[Route]:
        """The routes of an alert with these labels at or below this one, which matches it."""
        reached = False
        for child in self.children:
            if matches_all(child.match, labels):
                reached = True
                yield from child.of(labels)
                if not child.goes_on:
                    break
        if not reached:
            yield self


def read_routes(config: str) -> Route:
    """The tree of an Alertmanager configuration. ValueError when it has none, or a part of it is not understood."""
    return _read(_root(config), "", DEFAULT_GROUP_WAIT)


def group_wait(root: Route, labels: Labels, receivers: Collection[str]) -> float:
    """How many seconds after its start one of these receivers gets an alert, at the latest; where it is sent to none
    of them, or none is known, any receiver that gets it."""
    routes = list(root.of(labels))
    own = [route for route in routes if route.receiver in receivers]
    return max(route.group_wait for route in own or routes)


def longest_group_wait(config: str) -> float:
    """The longest group_wait of any route in an Alertmanager configuration, in seconds. ValueError when it cannot be
    told. A route without one has its parent's."""
    routes: list[tuple[Any, float]] = [(_root(config), DEFAULT_GROUP_WAIT)]
    waits = [0.0]
    while routes:
        route, inherited = routes.pop()
        if isinstance(route, dict):
            wait = _group_wait(route, inherited)
            waits.append(wait)
            routes += [(child, wait) for child in route.get("routes") or []]
    return max(waits)


def _root(config: str) -> Any:
    """What a configuration has as its route, whatever that is."""
    try:
        document = yaml.safe_load(config)
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML: {error}") from None
    return document.get("route") if isinstance(document, dict) else None


def _group_wait(route: dict[str, Any], inherited: float) -> float:
    return parse_duration(str(route["group_wait"])) if route.get("group_wait") else inherited


def _read(route: Any, receiver: str, wait: float) -> Route:
    if not isinstance(route, dict):
        raise ValueError("a route is not a mapping")  # noqa: TRY004
    receiver = str(route.get("receiver") or receiver)
    wait = _group_wait(route, wait)
    children = route.get("routes") or []
    if not isinstance(children, list):
        raise ValueError("routes is not a list")  # noqa: TRY004
    match = tuple(_matchers(route))
    below = tuple(_read(child, receiver, wait) for child in children)
    return Route(receiver, wait, match, route.get("continue") is True, below)


def _matchers(route: dict[str, Any]) -> Iterator[Matcher]:
    for key, op in (("match", "="), ("match_re", "=~")):
        given = route.get(key) or {}
        if not isinstance(given, dict):
            raise ValueError(f"{key} is not a mapping")  # noqa: TRY004
        for name, value in given.items():
            # Written and read back, so that a regular expression is one that can be used.
            yield parse_matcher(str(Matcher(str(name), op, str(value))))
    texts = route.get("matchers") or []
    for text in [texts] if isinstance(texts, str) else texts:
        yield from parse_matchers(str(text))

"""Finds remediator's receiver in an Alertmanager's configuration, and adds it to the route there. Pure.

The route that is made changes no other receivers. Alerts pass remediator's route first, which continues; then a second
route takes all of them, with the routes that were there. A catch-all at the end of the existing routes would not do: it
would also get what an existing route with `continue: true` matched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

from remediator.cli.init.yaml_text import block
from remediator.model.matcher import Matcher, parse_matchers

_NAME = "remediator"
_PATH = "/webhook"
_PORT = 9797
_NOT_INHERITED = ("routes", "continue", "match", "match_re", "matchers")
"""Keys that are not copied to the new root: its routes are new, and a root route may not have the others."""

ROUTE_SNIPPET = f"""\
route:
  receiver: team                    # your route stays as it is: receiver, group_by, group_wait, …
  routes:
    - receiver: {_NAME}          # is sent everything but what is about remediator itself,
      matchers: ['sender!="{_NAME}"', 'job!="{_NAME}"']
      group_wait: 0s                # without delay,
      group_interval: 1m
      continue: true                # and people are still sent what they are sent today:
    - receiver: team                # the receiver of your route once more,
      routes: []                    # with your routes as they are
receivers:
  - name: team                      # your receivers as they are
  - name: {_NAME}
    webhook_configs:
      - url: http://127.0.0.1:{_PORT}{_PATH}
        send_resolved: true
"""
"""What to add to an Alertmanager's configuration; README.md and examples/alertmanager.yml have the same."""


class Receiver(NamedTuple):
    """A receiver that posts to remediator. `routed` says whether any route leads to it."""

    name: str
    routed: bool


def find_receiver(config: str) -> Receiver | None:
    """The receiver whose webhook looks like remediator's: by path and port, or by name, because newer versions hide URLs.

    None also when the text is no configuration.
    """
    document = _read(config)
    routed = set(_routed(document.get("route")))
    for receiver in _mappings(document.get("receivers")):
        webhooks = _mappings(receiver.get("webhook_configs"))
        name = str(receiver.get("name", ""))
        if any(_is_remediator_url(str(webhook.get("url", ""))) for webhook in webhooks) or (webhooks and name == _NAME):
            return Receiver(name, name in routed)
    return None


def complete_route(config: str) -> str:
    """The route of a configuration with remediator's added, as YAML, and the receiver if there is none yet.

    A route that is there and takes alerts from people is made right. Empty when remediator has a route that does not,
    or when the configuration cannot be read.
    """
    document = _read(config)
    route = document.get("route")
    present = find_receiver(config)
    if not isinstance(route, dict) or not route.get("receiver"):
        return ""
    name = present.name if present is not None else _unused_name(document)
    own: dict[str, Any] = {}
    if present is not None and present.routed:
        own = _greedy_route(route, name)
        if not own:
            return ""
        route = {**route, "routes": [child for child in _mappings(route.get("routes")) if child is not own]}
    parts: dict[str, Any] = {"route": _with_remediator(route, name, own)}
    if present is None:
        webhook = {"url": f"http://127.0.0.1:{_PORT}{_PATH}", "send_resolved": True}
        parts["receivers"] = [{"name": name, "webhook_configs": [webhook]}]
    try:
        return block(parts)
    except (ValueError, RecursionError):
        return ""


def _greedy_route(route: dict[str, Any], name: str) -> dict[str, Any]:
    """The root's route to remediator that takes from people what no other route matches; empty if there is none.

    It takes nothing when a route after it matches everything, as one without matchers does.
    """
    children = _mappings(route.get("routes"))
    for index, child in enumerate(children):
        if str(child.get("receiver", "")) != name or child.get("routes"):
            continue
        shared = child.get("continue") and any(not _has_matchers(later) for later in children[index + 1 :])
        return {} if shared else child
    return {}


def _has_matchers(route: dict[str, Any]) -> bool:
    return any(route.get(key) for key in ("match", "match_re", "matchers"))


def _with_remediator(route: dict[str, Any], name: str, own: dict[str, Any]) -> dict[str, Any]:
    """The new root. `own` is the route to remediator that was there, whose settings are kept."""
    root = {key: value for key, value in route.items() if key not in _NOT_INHERITED}
    about_itself = [f'sender!="{_NAME}"', f'job!="{_NAME}"']
    given = own.get("matchers") or []
    matchers = [*given, *(matcher for matcher in about_itself if matcher not in given)]
    timing = {} if own else {"group_wait": "0s", "group_interval": "1m"}
    remediator = {**own, "receiver": name, "matchers": matchers, **timing, "continue": True}
    everything: dict[str, Any] = {"receiver": route["receiver"]}
    if route.get("routes"):
        everything["routes"] = route["routes"]
    return {**root, "routes": [remediator, everything]}


def _unused_name(document: dict[str, Any]) -> str:
    names = {str(receiver.get("name", "")) for receiver in _mappings(document.get("receivers"))}
    return next(name for name in (_NAME, *(f"{_NAME}-{n}" for n in range(2, len(names) + 3))) if name not in names)


def _read(config: str) -> dict[str, Any]:
    """The configuration; empty when the text is none."""
    try:
        document = yaml.safe_load(config)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _routed(route: Any) -> Iterator[str]:
    """The receivers of a route and of all routes below it."""
    todo = _mappings([route])
    seen = set[int]()
    while todo:
        one = todo.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield str(one.get("receiver", ""))
            todo += _mappings(one.get("routes"))


def _is_remediator_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.port == _PORT and parts.path.rstrip("/").endswith(_PATH)
    except ValueError:
        return False


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def receivers_of(config: str, labels: Mapping[str, str]) -> list[str] | None:
    """The receivers that a configuration's route sends an alert to; None when the route cannot be read."""
    route = _read(config).get("route")
    if not isinstance(route, dict):
        return None
    try:
        return list(dict.fromkeys(_matched(route, labels, "")))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _matched(route: dict[str, Any], labels: Mapping[str, str], inherited: str) -> list[str]:
    """Alertmanager's rule: the routes below that match, up to the first that does not continue, or else this one."""
    if not all(matcher.matches(labels) for matcher in _matchers(route)):
        return []
    receiver = str(route.get("receiver") or inherited)
    found: list[str] = []
    for child in _mappings(route.get("routes")):
        matched = _matched(child, labels, receiver)
        found += matched
        if matched and not child.get("continue"):
            break
    return found or [receiver]


def _matchers(route: dict[str, Any]) -> Iterator[Matcher]:
    for key, op in (("match", "="), ("match_re", "=~")):
        for name, value in (route.get(key) or {}).items():
            yield Matcher(str(name), op, str(value))
    for text in route.get("matchers") or ():
        yield from parse_matchers(str(text))

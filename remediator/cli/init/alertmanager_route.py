"""Finds remediator's receiver and route in an Alertmanager's configuration. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

_NAME = "remediator"
_PATH = "/webhook"
_PORT = 9797

ROUTE_SNIPPET = f"""\
route:
  routes:
    - matchers: ['sender="{_NAME}"']   # what remediator says is for people alone
      receiver: …                        # as your first route says
    - receiver: {_NAME}
      continue: true                     # people still hear of what they hear of today
receivers:
  - name: {_NAME}
    webhook_configs:
      - url: http://127.0.0.1:{_PORT}{_PATH}
        send_resolved: true
"""
"""What to add to Alertmanager's configuration."""


class Receiver(NamedTuple):
    """A receiver that posts to remediator. `routed` says whether any route leads to it."""

    name: str
    routed: bool


def find_receiver(config: str) -> Receiver | None:
    """The receiver whose webhook looks like remediator's: by path and port, or by name, because newer versions hide URLs.

    None also when the text is no configuration.
    """
    try:
        document = yaml.safe_load(config)
    except yaml.YAMLError:
        return None
    if not isinstance(document, dict):
        return None
    routed = set(_routed(document.get("route")))
    for receiver in _mappings(document.get("receivers")):
        webhooks = _mappings(receiver.get("webhook_configs"))
        name = str(receiver.get("name", ""))
        if any(_is_remediator_url(str(webhook.get("url", ""))) for webhook in webhooks) or (webhooks and name == _NAME):
            return Receiver(name, name in routed)
    return None


def _routed(route: Any) -> Iterator[str]:
    """The receivers of a route and of all routes below it."""
    todo = _mappings([route])
    while todo:
        one = todo.pop()
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

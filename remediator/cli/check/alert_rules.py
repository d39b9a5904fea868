"""Reads the alert rules of a running Prometheus, with the alerts that are active by them (`/api/v1/rules`)."""

from __future__ import annotations

import msgspec

from remediator.clients.http_options import HttpClient
from remediator.clients.json_client import JsonClient

_TIMEOUT = 30.0
_MOST_BYTES = 64 * 1024 * 1024


class ActiveAlert(msgspec.Struct):
    """An alert that is pending or firing."""

    labels: dict[str, str] = {}
    state: str = ""


class AlertRule(msgspec.Struct):
    """An alert rule. `state` is firing, pending or inactive; servers that do not say leave it empty."""

    name: str = ""
    type: str = "alerting"
    query: str = ""
    labels: dict[str, str] = {}
    state: str = ""
    alerts: list[ActiveAlert] = []


class RuleGroup(msgspec.Struct):
    """The rules of one group."""

    name: str = ""
    rules: list[AlertRule] = []


class _Groups(msgspec.Struct):
    groups: list[RuleGroup] = []


class _RulesAnswer(msgspec.Struct):
    data: _Groups


async def read_alert_rules(server: HttpClient) -> list[RuleGroup]:
    """The groups of alert rules. RemoteError when they cannot be read."""
    client = JsonClient(server, "Prometheus", timeout=_TIMEOUT, most=_MOST_BYTES)
    try:
        answer = await client.ask(
            "read its alert rules", "GET", "api/v1/rules", _RulesAnswer, query=[("type", "alert")]
        )
    finally:
        await client.close()
    return answer.data.groups

"""The severities of a running Prometheus' alert rules that the config does not name, so that nothing is done for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from remediator.clients.http_options import HttpClient
from remediator.clients.json_client import JsonClient
from remediator.config.settings import severity_key
from remediator.errors import RemoteError
from remediator.model.health import Health

MEANT = frozenset({"info", "informational", "none", "debug", ""})
"""Severities for which nothing is to be done, as everybody means them."""
_TIMEOUT = 30.0
_MOST = 64 * 1024 * 1024


class _AlertRule(msgspec.Struct):
    labels: dict[str, str] = {}


class _RuleGroup(msgspec.Struct):
    rules: list[_AlertRule] = []


class _RuleGroups(msgspec.Struct):
    groups: list[_RuleGroup] = []


class _RulesAnswer(msgspec.Struct):
    data: _RuleGroups


def unnamed_severities(server: HttpClient, known: Mapping[str, Health]) -> str:
    """A sentence about the server's severities that are not in the mapping; empty when there are none."""
    try:
        labels = asyncio.run(_rule_labels(server))
    except RemoteError as error:
        return f"the severities of its alert rules were not checked: {error}"
    return unnamed_text(labels, known)


def unnamed_text(rules: Iterable[Mapping[str, str]], known: Mapping[str, Health]) -> str:
    """The sentence about rules with these labels."""
    found = Counter(severity_key(labels.get("severity", "")) for labels in rules)
    unnamed = sorted(name for name in found if name not in known and name not in MEANT and "{{" not in name)
    if not unnamed:
        return ""
    named = ", ".join(f"{name} ({found[name]} rule{'s' if found[name] != 1 else ''})" for name in unnamed)
    return f"nothing is done for alerts of these severities, which severity: in the config does not name: {named}"


async def _rule_labels(server: HttpClient) -> list[dict[str, str]]:
    client = JsonClient(server, "Prometheus", timeout=_TIMEOUT, most=_MOST)
    try:
        answer = await client.ask(
            "read its alert rules", "GET", "api/v1/rules", _RulesAnswer, query=[("type", "alert")]
        )
    finally:
        await client.close()
    return [rule.labels for group in answer.data.groups for rule in group.rules]

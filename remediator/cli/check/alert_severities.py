"""The severities of a running Prometheus' alert rules that the config does not name, so that nothing is done for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

from remediator.cli.check.alert_rules import read_alert_rules
from remediator.clients.http_options import HttpClient
from remediator.config.settings import severity_key
from remediator.errors import RemoteError
from remediator.model.health import Health

MEANT = frozenset({"info", "informational", "none", "debug", ""})
"""Severities for which nothing is to be done, as everybody means them."""


def unnamed_severities(server: HttpClient, known: Mapping[str, Health]) -> str:
    """A sentence about the server's severities that are not in the mapping; empty when there are none."""
    try:
        groups = asyncio.run(read_alert_rules(server))
    except RemoteError as error:
        return f"the severities of its alert rules were not checked: {error}"
    return unnamed_text((rule.labels for group in groups for rule in group.rules), known)


def unnamed_text(rules: Iterable[Mapping[str, str]], known: Mapping[str, Health]) -> str:
    """The sentence about rules with these labels."""
    found = Counter(severity_key(labels.get("severity", "")) for labels in rules)
    unnamed = sorted(name for name in found if name not in known and name not in MEANT and "{{" not in name)
    if not unnamed:
        return ""
    named = ", ".join(f"{name} ({found[name]} rule{'s' if found[name] != 1 else ''})" for name in unnamed)
    return f"nothing is done for alerts of these severities, which severity: in the config does not name: {named}"

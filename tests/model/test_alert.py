"""Alerts: the fingerprint is Alertmanager's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from remediator.model.alert import Alert, fingerprint

PAYLOADS = sorted((Path(__file__).parent.parent / "payloads").rglob("*.json"))


def test_there_are_recorded_fingerprints() -> None:
    assert PAYLOADS


@pytest.mark.parametrize("file", PAYLOADS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_fingerprints_are_alertmanagers(file: Path) -> None:
    document = json.loads(file.read_bytes())
    for alert in document.get("alerts", []):
        if alert.get("fingerprint"):
            assert fingerprint(alert["labels"]) == alert["fingerprint"]


def test_order_does_not_matter_but_everything_else_does() -> None:
    assert fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})
    different = [{}, {"a": "12"}, {"a1": "2"}, {"a": "1", "b": "2"}, {"ü": "☃"}]
    assert len({fingerprint(labels) for labels in different}) == len(different)


def test_an_alert() -> None:
    alert = Alert("f", 1.0, None, {"alertname": "Down"})
    assert alert.firing
    assert alert.key == ("f", 1.0)
    assert alert.name == "Down"
    assert not Alert("f", 1.0, 2.0, {}).firing
    assert Alert("f", 1.0, 2.0, {}).name == ""

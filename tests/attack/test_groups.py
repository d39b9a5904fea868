"""Groups of alerts: one that cannot be read keeps none of the others out."""

from __future__ import annotations

from typing import Any

import pytest
from doubles.site import Site

from remediator.model.incident import EntryKind


def alert(name: str, **others: Any) -> dict[str, Any]:
    given = {"labels": {"alertname": name, "service": "shop"}, "startsAt": "2027-01-15T07:00:00Z", "status": "firing"}
    return {**given, **others}


def labelled(**labels: Any) -> dict[str, Any]:
    return alert("Bad", labels={"alertname": "Bad", "service": "shop", **labels})


BAD = [
    labelled(stack="x" * 17_000),
    labelled(**{f"l{n}": "x" for n in range(257)}),
    labelled(**{"n" * 2_000: "x"}),
    labelled(count=1),
    alert("Bad", startsAt="yesterday"),
    alert("Bad", startsAt=None),
    alert("Bad", status="pending"),
    alert("Bad", annotations=[]),
    alert("Bad", labels=None),
    "Bad",
    None,
    [],
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("at", [0, 1, 2])
async def test_one_alert_does_not_spoil_its_group(site: Site, bad: Any, at: int) -> None:
    alerts = [alert("A"), alert("B")]
    alerts.insert(at, bad)
    for _ in range(3):
        status, _ = await site.ask("POST", "/webhook", json={"version": "4", "receiver": "r", "alerts": alerts})
        assert status == 200
    assert sorted(stored.alert.name for stored in await site.store.firing_alerts()) == ["A", "B"]
    entries = [entry for entry in await site.store.journal() if entry.kind is EntryKind.ALERT_REFUSED]
    assert len(entries) == 1
    assert entries[0].text.startswith("cannot read")
    assert len(entries[0].text) < 600
    assert site.metrics.registry.get_sample_value("remediator_unreadable_alerts_total") == 3


async def test_all_of_a_group_of_unreadable_alerts_are_refused(site: Site) -> None:
    for _ in range(2):
        status, answer = await site.ask("POST", "/webhook", json={"version": "4", "alerts": BAD[:2]})
        assert (status, answer["errorType"]) == (400, "over_limit")
    entries = [entry for entry in await site.store.journal() if entry.kind is EntryKind.ALERT_REFUSED]
    assert len(entries) == 2
    assert site.metrics.registry.get_sample_value("remediator_unreadable_alerts_total") == 4

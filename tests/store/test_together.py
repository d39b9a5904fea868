"""The contract of every store: operations that wait at the same time are written together, and do as much as one by one."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from store.makers import T0, make_alert, new_incident, settlement

from remediator.errors import ConflictError
from remediator.model.gate import Gate
from remediator.model.health import Health
from remediator.model.incident import Disposition, EntryKind, Hold, Incident, Verdict
from remediator.store.interface import NewIncident, Store

MANY = 40
NAMES = [f"service-{number}" for number in range(MANY)]


async def open_all(store: Store, names: list[str]) -> list[Incident]:
    """Open an incident of each, all of them waiting for the writer while it has something else to do."""
    busy = asyncio.ensure_future(store.put_alerts([make_alert(instance=f"busy-{n}") for n in range(200)], T0))
    opened = await asyncio.gather(*(store.open_incident(new_incident(name)) for name in names))
    await busy
    return opened


async def test_incidents_that_open_together_are_what_they_are_one_by_one(store: Store) -> None:
    first = new_incident("first")
    alone = await store.open_incident(first)
    opened = await open_all(store, NAMES)
    assert [one.service for one in opened] == NAMES
    assert [one.id for one in opened] == sorted(one.id for one in opened)
    assert await store.open_incidents() == [alone, *opened]
    entry, *entries = await store.journal()
    assert [(one.service, one.incident) for one in entries] == [(one.service, one.id) for one in opened]
    assert {(one.kind, one.at) for one in entries} == {(entry.kind, entry.at)}
    assert [one.text for one in entries] == [one.text for one in opened]
    assert [one.data | {"labels": {}} for one in entries] == [entry.data | {"labels": {}}] * MANY


async def test_one_that_cannot_be_opened_keeps_no_other_from_it(store: Store) -> None:
    [taken] = await open_all(store, [NAMES[7]])
    twice = [*NAMES, NAMES[11]]
    done = await asyncio.gather(*(store.open_incident(new_incident(name)) for name in twice), return_exceptions=True)
    failed = [number for number, one in enumerate(done) if isinstance(one, ConflictError)]
    assert failed == [7, MANY]
    assert f"incident {taken.id} of it is open" in str(done[7])
    assert sorted(one.service for one in await store.open_incidents()) == sorted(NAMES)
    assert [entry.service for entry in await store.journal()] == [
        NAMES[7],
        *(name for name in NAMES if name != NAMES[7]),
    ]


async def test_the_alerts_of_incidents_that_open_together_are_settled(store: Store) -> None:
    alerts = [make_alert(instance=name) for name in NAMES]
    await store.put_alerts(alerts, T0)
    opened = await asyncio.gather(
        *(
            store.open_incident(new_incident(name), [settlement(alert, Disposition.OPENED)])
            for name, alert in zip(NAMES, alerts, strict=True)
        )
    )
    stored = await store.firing_alerts()
    assert [(one.disposition, one.incident) for one in stored] == [(Disposition.OPENED, one.id) for one in opened]


async def test_holds_that_are_set_and_lifted_together_are_told_each(store: Store) -> None:
    opened = await open_all(store, NAMES)
    end = await store.journal_end()
    holds = [Hold(Gate.PAUSED, f"holds {one.service}", until=T0 + 60) for one in opened]
    await asyncio.gather(*(store.hold_incident(one.id, hold, T0) for one, hold in zip(opened, holds, strict=True)))
    assert [one.hold for one in await store.open_incidents()] == holds
    told = await store.journal(after=end)
    assert [(one.kind, one.service, one.text) for one in told] == [
        (EntryKind.HELD, one.service, f"holds {one.service}") for one in opened
    ]
    await store.close_incident(opened[3].id, Verdict.CLEARED, "is over", Health.HEALTHY, T0)
    end = await store.journal_end()
    done = await asyncio.gather(*(store.hold_incident(one.id, None, T0 + 1) for one in opened), return_exceptions=True)
    assert [number for number, one in enumerate(done) if one is not None] == [3]
    assert f"incident {opened[3].id} is not open" in str(done[3])
    assert all(one.hold is None for one in await store.open_incidents())
    assert [one.kind for one in await store.journal(after=end)] == [EntryKind.RELEASED] * (MANY - 1)


async def test_what_is_said_of_one_thing_twice_is_told_twice_and_the_last_counts(store: Store) -> None:
    [opened] = await open_all(store, ["checkout"])
    alert = make_alert()
    await store.put_alerts([alert], T0)
    end = await store.journal_end()
    gates = [f"gate-{number}" for number in range(MANY)]
    await asyncio.gather(*(store.settle([settlement(alert, Disposition.HELD, gate=gate)], T0) for gate in gates))
    await asyncio.gather(*(store.hold_incident(opened.id, hold, T0) for hold in [Hold(Gate.PAUSED, "a"), None] * MANY))
    [stored] = [one for one in await store.firing_alerts() if one.alert == alert]
    assert stored.gate == gates[-1]
    entries = await store.journal(after=end)
    assert [entry.data["gate"] for entry in entries[:MANY]] == gates
    assert [entry.kind for entry in entries[MANY:]] == [EntryKind.HELD, EntryKind.RELEASED] * MANY


@pytest.mark.parametrize("odd", ["a\0b", "ünï 💥", '"\\\\u0000'])
async def test_texts_come_back_as_they_were_written_alone(store: Store, odd: str) -> None:
    def new(name: str) -> NewIncident:
        return msgspec.structs.replace(new_incident(f"{odd}{name}"), text=odd, labels={"odd": odd})

    await store.open_incident(new("alone"))
    opened = await asyncio.gather(*(store.open_incident(new(name)) for name in NAMES))
    first, *others = await store.open_incidents()
    assert [one.id for one in others] == [one.id for one in opened]
    assert [one.service for one in others] == [first.service.replace("alone", name) for name in NAMES]
    assert {(one.text, one.labels["odd"]) for one in others} == {(first.text, first.labels["odd"])}
    assert {one.text for one in await store.journal()} == {first.text}

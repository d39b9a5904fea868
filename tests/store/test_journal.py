"""The contract of every store: the journal and its followers, pauses, services added at run time, and forgetting."""

from __future__ import annotations

import math

import pytest
from store.makers import SUCCEEDED, T0, make_alert, make_plan, new_incident

from remediator.errors import ConflictError
from remediator.model.health import Health
from remediator.model.incident import EntryKind, Verdict
from remediator.model.matcher import parse_matchers
from remediator.store.interface import Store

WEB = parse_matchers('tier="web", team!="db"')


async def test_the_journal_is_followed_by_number(store: Store) -> None:
    assert await store.journal() == []
    assert await store.journal_end() == 0
    ids = [(await store.open_incident(new_incident(f"s{n}"))).id for n in range(7)]
    for id in ids[:3]:
        await store.close_incident(id, Verdict.CLEARED, "it went away", Health.HEALTHY, T0 + 1)
    everything = await store.journal()
    assert [entry.id for entry in everything] == sorted({entry.id for entry in everything})
    assert len(everything) == 10
    assert everything[-1].id == await store.journal_end()
    first = await store.journal(limit=4)
    assert first + await store.journal(after=first[-1].id) == everything
    assert await store.recent_journal() == everything[::-1]
    newest = await store.recent_journal(limit=3)
    assert newest + await store.recent_journal(before=newest[-1].id) == everything[::-1]


async def test_the_journal_of_one_service_or_incident(store: Store) -> None:
    for name in ("web", "db", "web"):
        opened = await store.open_incident(new_incident(name))
        await store.close_incident(opened.id, Verdict.CLEARED, "it went away", Health.HEALTHY, T0 + 1)
    web = await store.journal(service="web")
    assert [entry.service for entry in web] == ["web"] * 4
    assert await store.journal(service="web", after=web[1].id) == web[2:]
    assert await store.recent_journal(service="web") == web[::-1]
    assert await store.recent_journal(service="web", before=web[2].id, limit=1) == [web[1]]
    assert await store.journal(incident=opened.id) == web[2:]
    assert await store.journal(incident=opened.id, after=web[2].id) == web[3:]
    assert await store.journal(incident=opened.id, service="db") == []


async def test_cursors_and_annotations_are_remembered(store: Store) -> None:
    assert await store.cursor("grafana") is None
    await store.move_cursor("grafana", 5)
    await store.move_cursor("log", 2)
    assert (await store.cursor("grafana"), await store.cursor("log")) == (5, 2)
    assert await store.annotation("incident:1") is None
    await store.put_annotation("incident:1", 77, "grafana", 6)
    assert (await store.annotation("incident:1"), await store.cursor("grafana")) == (77, 6)
    await store.put_annotation("incident:1", 78, "grafana", 7)
    assert (await store.annotation("incident:1"), await store.cursor("grafana")) == (78, 7)


async def test_a_pause_holds_until_it_ends(store: Store) -> None:
    pause = await store.add_pause(WEB, T0, T0 + 7200, "ada", "load test")
    assert (pause.matchers, pause.starts_at, pause.ends_at) == (WEB, T0, T0 + 7200)
    everything = await store.add_pause((), T0 + 10, T0 + 20, "bob", "")
    assert await store.pauses(T0) == [pause, everything]
    assert await store.pauses(T0 + 20) == [pause]
    ended = await store.end_pause(pause.id, "bob", T0 + 30)
    assert ended.ends_at == T0 + 30
    assert await store.pauses(T0 + 30) == []
    for id in (pause.id, everything.id, 99):
        with pytest.raises(ConflictError, match=f"cannot end pause {id}"):
            await store.end_pause(id, "bob", T0 + 31)
    entries = await store.journal()
    assert [(entry.kind, entry.text) for entry in entries] == [
        (EntryKind.PAUSED, 'ada paused healing of tier="web", team!="db" until 2025-11-24T02:00:00.123Z: load test'),
        (EntryKind.PAUSED, "bob paused healing of every service until 2025-11-24T00:00:20.123Z"),
        (EntryKind.RESUMED, 'bob resumed healing of tier="web", team!="db"'),
    ]
    assert entries[0].data == {
        "pause": pause.id,
        "matchers": 'tier="web", team!="db"',
        "ends_at": T0 + 7200,
        "author": "ada",
        "comment": "load test",
    }
    assert entries[2].data == {**entries[0].data, "ends_at": T0 + 30, "author": "bob"}


async def test_services_added_at_run_time_are_remembered(store: Store) -> None:
    search, cart = make_plan("search").service, make_plan("cart").service
    await store.add_service(search, "ada", T0)
    await store.add_service(cart, "ada", T0)
    assert await store.added_services() == [cart, search]
    with pytest.raises(ConflictError, match="cannot add the service cart"):
        await store.add_service(cart, "bob", T0)
    await store.remove_service("cart", "bob", T0)
    assert await store.added_services() == [search]
    with pytest.raises(ConflictError, match="cannot remove the service cart"):
        await store.remove_service("cart", "bob", T0)
    assert [(entry.kind, entry.service, entry.data) for entry in await store.journal()] == [
        (EntryKind.SERVICE_ADDED, "search", {"author": "ada"}),
        (EntryKind.SERVICE_ADDED, "cart", {"author": "ada"}),
        (EntryKind.SERVICE_REMOVED, "cart", {"author": "bob"}),
    ]


async def incident_that_closed(store: Store, service: str, at: float) -> int:
    opened = await store.open_incident(new_incident(service, at=at))
    run = await store.begin_step(opened.id, 0, 1, "restart", "runs restart", "", at, at + 1)
    await store.end_step(run.id, SUCCEEDED, at)
    await store.put_annotation(f"incident:{opened.id}", 1, "grafana", 1)
    await store.put_annotation(f"run:{run.id}", 2, "grafana", 1)
    await store.close_incident(opened.id, Verdict.RECOVERED, "it recovered", Health.HEALTHY, at)
    return opened.id


async def test_what_ended_long_ago_is_forgotten_and_nothing_else(store: Store) -> None:
    old = await incident_that_closed(store, "web", T0)
    recent = await incident_that_closed(store, "web", T0 + 100)
    still_open = await store.open_incident(new_incident("db", at=T0))
    await store.put_alerts([make_alert("a", ends_at=T0), make_alert("b")], T0)
    await store.put_alerts([make_alert("c", ends_at=T0)], T0 + 100)
    await store.add_pause((), T0, T0 + 1, "ada", "")
    kept_pause = await store.add_pause((), T0, T0 + 100, "ada", "")
    await store.add_service(make_plan("search").service, "ada", T0)

    # The incident, its run, two annotations; an alert; a pause; of the journal all that tells of nothing kept.
    assert await store.forget(T0 + 50) == 4 + 1 + 1 + (4 + 3)

    assert await store.incident(old) is None
    assert await store.annotation(f"incident:{old}") is None
    assert {incident.id for incident in await store.incidents()} == {recent, still_open.id}
    assert await store.annotation(f"incident:{recent}") == 1
    assert [len(incident.runs) for incident in await store.incidents(service="web")] == [1]
    assert {stored.alert.labels["service"] for stored in await store.alerts()} == {"b", "c"}
    assert await store.pauses(0) == [kept_pause]
    assert len(await store.added_services()) == 1
    assert {entry.incident for entry in await store.journal()} == {recent, still_open.id}
    assert await store.forget(T0 + 50) == 0


async def test_numbers_are_not_used_again_when_everything_is_forgotten(store: Store) -> None:
    first = await incident_that_closed(store, "web", T0)
    end = await store.journal_end()
    await store.forget(T0 + 1)
    assert await store.journal() == []
    assert await incident_that_closed(store, "web", T0 + 2) > first
    assert [entry.id for entry in await store.journal(after=end)] == [end + 1, end + 2, end + 3, end + 4]


async def test_forgetting_goes_on_until_all_is_gone(store: Store) -> None:
    await store.put_alerts([make_alert(n=str(n), ends_at=T0) for n in range(1700)], T0)
    assert await store.forget(T0 + 1) == 1700
    assert await store.alerts_since(0) == []


async def test_the_last_panic_is_remembered(store: Store) -> None:
    assert await store.last_panic() is None
    await store.put_panic(T0)
    await store.put_panic(T0 + 60.5)
    assert await store.last_panic() == math.ceil(T0 + 60.5)

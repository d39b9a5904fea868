"""The contract of every store: alerts, by identity, and what became of them."""

from __future__ import annotations

import random

import msgspec
from store.makers import T0, make_alert, new_incident, settlement

from remediator.model.alert import Source
from remediator.model.incident import Disposition, EntryKind
from remediator.store.interface import Accepted, Store


async def test_a_new_alert_fires_and_a_repeated_one_changes_nothing(store: Store) -> None:
    alert = make_alert()
    assert await store.put_alerts([alert], T0 + 1) == Accepted(new=1)
    [stored] = await store.firing_alerts()
    assert (stored.alert, stored.received_at, stored.updated_at) == (alert, T0 + 1, T0 + 1)
    assert (stored.disposition, stored.service, stored.gate, stored.incident) == (None, "", "", None)

    assert await store.put_alerts([alert], T0 + 2) == Accepted(repeated=1)
    [again] = await store.firing_alerts()
    assert (again.seq, again.received_at, again.updated_at) == (stored.seq, T0 + 1, T0 + 2)
    assert await store.alerts_since(stored.seq) == []


async def test_a_repeated_alert_brings_its_newest_annotations(store: Store) -> None:
    alert = make_alert()
    await store.put_alerts([alert], T0)
    newer = msgspec.structs.replace(alert, annotations={"summary": "0.9 by now"})
    assert await store.put_alerts([newer], T0) == Accepted(repeated=1)
    assert [stored.alert for stored in await store.firing_alerts()] == [newer]


async def test_a_resolved_alert_fires_no_more_and_is_a_change(store: Store) -> None:
    alert = make_alert()
    await store.put_alerts([alert], T0)
    [stored] = await store.firing_alerts()
    incident = await store.open_incident(new_incident(), [settlement(alert, Disposition.OPENED)])
    over = msgspec.structs.replace(alert, ends_at=T0 + 60)
    assert await store.put_alerts([over], T0 + 61) == Accepted(resolved=1)
    assert await store.put_alerts([over], T0 + 62) == Accepted(repeated=1)
    assert await store.firing_alerts() == []
    [changed] = await store.alerts_since(stored.seq)
    assert changed.seq > stored.seq
    assert changed.alert == over
    assert (changed.disposition, changed.incident) == (Disposition.OPENED, incident.id)


async def test_an_alert_never_seen_before_may_be_resolved(store: Store) -> None:
    assert await store.put_alerts([make_alert(ends_at=T0 + 5)], T0 + 6) == Accepted(resolved=1)
    [stored] = await store.alerts_since(0)
    assert not stored.alert.firing
    assert (stored.disposition, stored.text) == (Disposition.RESOLVED, "was over when it was first heard of")


async def test_an_alert_that_fires_again_is_a_new_one_to_be_settled(store: Store) -> None:
    alert = make_alert()
    await store.put_alerts([alert], T0)
    await store.settle([settlement(alert, Disposition.HELD, gate="cooldown", incident=7)], T0)
    await store.put_alerts([msgspec.structs.replace(alert, ends_at=T0 + 1)], T0 + 1)
    assert await store.put_alerts([alert], T0 + 2) == Accepted(new=1)
    [stored] = await store.firing_alerts()
    assert (stored.disposition, stored.gate, stored.text, stored.incident) == (None, "", "", None)
    assert stored.received_at == T0 + 2


async def test_the_same_labels_at_another_start_are_another_alert(store: Store) -> None:
    # Neighbouring floats: an identity is exact.
    starts = [T0, T0 + 2.4e-7, T0 + 4.8e-7]
    assert len(set(starts)) == 3
    assert await store.put_alerts([make_alert(starts_at=at) for at in starts], T0) == Accepted(new=3)
    stored = await store.alerts_with(make_alert().fingerprint)
    assert [one.alert.starts_at for one in stored] == starts[::-1]


async def test_of_one_breach_only_the_alert_that_began_last_fires(store: Store) -> None:
    breach = msgspec.structs.replace(make_alert(), source=Source.THRESHOLD)
    last = msgspec.structs.replace(breach, starts_at=T0 + 9)
    alertmanagers = make_alert(starts_at=T0 + 3)
    await store.put_alerts([last], T0 + 9)
    await store.put_alerts([alertmanagers], T0 + 9)
    # One that began before comes late, from whoever led before.
    assert await store.put_alerts([breach], T0 + 10) == Accepted(new=1)
    assert [stored.alert for stored in await store.firing_alerts()] == [last, alertmanagers]
    [_, _, late] = await store.alerts_with(breach.fingerprint)
    assert (late.alert.starts_at, late.alert.ends_at) == (T0, T0 + 9)


async def test_times_come_back_exactly(store: Store) -> None:
    random_times = random.Random(7)
    alerts = [make_alert(starts_at=random_times.uniform(0, 4e9), n=str(n)) for n in range(2000)]
    await store.put_alerts(alerts, T0)
    await store.settle([settlement(alert, Disposition.HELD, gate="blind") for alert in alerts], T0)
    stored = await store.firing_alerts()
    assert [one.alert for one in stored] == alerts
    assert {one.gate for one in stored} == {"blind"}


async def test_the_last_word_on_an_alert_counts_within_one_batch(store: Store) -> None:
    alert = make_alert()
    batch = [alert, msgspec.structs.replace(alert, ends_at=T0 + 1), alert]
    assert await store.put_alerts(batch, T0) == Accepted(new=1, repeated=2)
    assert len(await store.firing_alerts()) == 1
    assert await store.put_alerts([], T0) == Accepted()


async def test_readers_follow_by_sequence_number_in_pages(store: Store) -> None:
    alerts = [make_alert(n=str(n)) for n in range(25)]
    for alert in alerts:
        await store.put_alerts([alert], T0)
    seen, seq = [], 0
    while page := await store.alerts_since(seq, limit=10):
        seen += [stored.alert for stored in page]
        seq = page[-1].seq
    assert seen == alerts


async def test_sequence_numbers_are_never_used_again(store: Store) -> None:
    over = make_alert(ends_at=T0 + 1)
    await store.put_alerts([over], T0)
    [stored] = await store.alerts_since(0)
    assert await store.forget(T0 + 1) == 1
    await store.put_alerts([over], T0 + 2)
    [again] = await store.alerts_since(0)
    assert again.seq > stored.seq


async def test_pages_go_from_the_newest_change_down(store: Store) -> None:
    web = [make_alert("web", n=str(n)) for n in range(4)]
    db = [make_alert("db", n=str(n)) for n in range(2)]
    await store.put_alerts(web + db, T0)
    await store.settle([settlement(alert, Disposition.HELD, gate="paused") for alert in web + db], T0)
    await store.put_alerts([msgspec.structs.replace(web[0], ends_at=T0)], T0)

    everything = await store.alerts()
    assert [stored.alert.key for stored in everything] == [a.key for a in (web[0], *reversed(db), *reversed(web[1:]))]
    first = await store.alerts(limit=4)
    assert first + await store.alerts(before=first[-1].seq) == everything
    assert [stored.alert for stored in await store.alerts(service="db")] == db[::-1]
    assert [stored.alert for stored in await store.alerts(service="web", firing_only=True)] == web[:0:-1]
    assert len(await store.alerts(firing_only=True)) == 5
    assert await store.alerts(service="web", before=everything[-1].seq) == []


async def test_those_without_a_disposition_are_found_whether_they_fire_or_not(store: Store) -> None:
    decided, gone, fires = (make_alert(name) for name in ("decided", "gone", "fires"))
    await store.put_alerts([decided, gone, fires], T0)
    await store.put_alerts([msgspec.structs.replace(gone, ends_at=T0 + 1)], T0 + 1)
    await store.settle([settlement(decided, Disposition.NO_SERVICE)], T0 + 1)
    assert [stored.alert.labels["service"] for stored in await store.undecided_alerts()] == ["fires", "gone"]
    assert len(await store.undecided_alerts(1)) == 1


async def test_what_became_of_an_alert_is_told_when_it_changes(store: Store) -> None:
    alert = make_alert()
    await store.put_alerts([alert], T0)
    [before] = await store.firing_alerts()
    held = settlement(alert, Disposition.HELD, gate="cooldown")
    for given in (
        held,
        held,
        settlement(alert, Disposition.HELD, gate="rate"),
        settlement(alert, Disposition.NO_RUNBOOK),
    ):
        await store.settle([given], T0 + 1)
    [stored] = await store.firing_alerts()
    assert stored.seq == before.seq
    assert (stored.service, stored.disposition, stored.gate) == ("checkout", Disposition.NO_RUNBOOK, "")
    entries = await store.journal()
    assert [(entry.kind, entry.text, entry.service, entry.at) for entry in entries] == [
        (EntryKind.ALERT_SETTLED, text, "checkout", T0 + 1) for text in ("held cooldown", "held rate", "no_runbook")
    ]
    assert entries[0].data == {"fingerprint": alert.fingerprint, "disposition": "held", "gate": "cooldown"}


async def test_what_an_incident_tells_is_not_told_twice(store: Store) -> None:
    alert = make_alert()
    await store.put_alerts([alert], T0)
    for disposition in (Disposition.OPENED, Disposition.JOINED, Disposition.RESOLVED):
        await store.settle([settlement(alert, disposition, incident=3)], T0)
    assert await store.journal() == []


async def test_a_resolved_alert_stays_with_its_incident(store: Store) -> None:
    alert = make_alert()
    await store.put_alerts([alert], T0)
    await store.settle([settlement(alert, Disposition.JOINED, incident=3)], T0)
    await store.settle([settlement(alert, Disposition.RESOLVED)], T0)
    [stored] = await store.firing_alerts()
    assert (stored.disposition, stored.incident) == (Disposition.RESOLVED, 3)


async def test_many_are_settled_as_one_is(store: Store) -> None:
    alerts = [make_alert(f"s{n}") for n in range(50)]
    await store.put_alerts(alerts, T0)
    await store.settle([settlement(alert, Disposition.JOINED, incident=n) for n, alert in enumerate(alerts)], T0)
    stored = await store.firing_alerts()
    assert [(one.service, one.incident) for one in stored] == [(f"s{n}", n) for n in range(50)]
    await store.settle([settlement(alert, Disposition.RESOLVED) for alert in alerts], T0)
    assert [one.incident for one in await store.firing_alerts()] == list(range(50))
    for _ in range(2):
        await store.settle([settlement(alert, Disposition.HELD, gate="panic") for alert in alerts], T0)
    assert [entry.service for entry in await store.journal()] == [f"s{n}" for n in range(50)]
    assert {one.incident for one in await store.firing_alerts()} == {None}


async def test_an_alert_that_is_not_there_cannot_be_settled_and_harms_nothing(store: Store) -> None:
    await store.settle([], T0)
    await store.settle([settlement(make_alert(), Disposition.HELD, gate="blind")], T0)
    assert await store.alerts_since(0) == []
    assert await store.journal() == []


async def test_an_alert_that_began_anew_ends_the_earlier_one_of_its_labels(store: Store) -> None:
    first = make_alert()
    again = msgspec.structs.replace(first, starts_at=first.starts_at + 60)
    await store.put_alerts([first, make_alert("other")], T0)
    assert await store.put_alerts([again], T0 + 60) == Accepted(new=1)
    firing = [stored.alert for stored in await store.firing_alerts()]
    assert firing == [make_alert("other"), again]
    (_, before) = await store.alerts_with(first.fingerprint)
    assert before.alert.ends_at == again.starts_at
    assert [stored.alert.key for stored in await store.alerts_since(2)] == [again.key, first.key]

    # A resend that comes late does not bring it back.
    assert await store.put_alerts([first], T0 + 61) == Accepted(new=1)
    assert [stored.alert for stored in await store.firing_alerts()] == firing
    # What thresholds and operators ask for is their own.
    asked = msgspec.structs.replace(again, starts_at=T0 + 90, source=Source.OPERATOR)
    await store.put_alerts([asked], T0 + 90)
    assert [stored.alert for stored in await store.firing_alerts()] == [*firing, asked]


async def test_an_end_ends_what_fires_whatever_start_it_is_told_with(store: Store) -> None:
    """Grafana 12 tells its end as its start; of two Prometheis the one that tells the end began seconds later or earlier."""
    for number, starts_at in enumerate((T0 + 60.0, T0 + 5.0, T0 - 5.0)):
        fires = make_alert(f"Down{number}")
        await store.put_alerts([fires], T0)
        over = msgspec.structs.replace(fires, starts_at=starts_at, ends_at=T0 + 60.0)
        assert (await store.put_alerts([over], T0 + 61.0)).resolved == 1
    assert await store.firing_alerts() == []
    assert len(await store.alerts()) == 3


async def test_a_late_end_of_an_earlier_alert_does_not_end_the_present_one(store: Store) -> None:
    fires = make_alert("Down", starts_at=T0 + 100.0)
    await store.put_alerts([fires], T0 + 100.0)
    over = msgspec.structs.replace(fires, starts_at=T0, ends_at=T0 + 50.0)
    await store.put_alerts([over], T0 + 101.0)
    (still,) = await store.firing_alerts()
    assert still.alert == fires

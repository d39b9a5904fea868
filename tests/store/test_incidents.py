"""The contract of every store: incidents and their steps, the invariants, and what the journal says of each change."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from store.makers import SUCCEEDED, T0, make_alert, new_incident, settlement

from remediator.errors import ConflictError
from remediator.model.action import Outcome, Result
from remediator.model.alert import Source
from remediator.model.gate import Gate
from remediator.model.health import Health
from remediator.model.incident import DIAGNOSE, Approval, Disposition, EntryKind, Hold, Incident, StepRun, Verdict
from remediator.model.rules import Dashboard
from remediator.store.interface import Store, Summary


async def begin(store: Store, incident: int, step: int = 0, attempt: int = 1, at: float = T0) -> StepRun:
    return await store.begin_step(
        incident, step, attempt, "restart", "runs restart: it is failing", "systemctl restart checkout", at, at + 90
    )


async def close(store: Store, incident: int, verdict: Verdict = Verdict.RECOVERED, at: float = T0 + 60) -> Incident:
    return await store.close_incident(incident, verdict, f"it has {verdict}", Health.HEALTHY, at)


async def last_entry(store: Store) -> tuple[EntryKind, str, str, int | None, int | None, dict[str, Any]]:
    [entry] = await store.recent_journal(limit=1)
    return entry.kind, entry.text, entry.service, entry.incident, entry.run, entry.data


async def test_an_incident_comes_back_as_it_was_opened(store: Store) -> None:
    new = msgspec.structs.replace(new_incident(), forced=True)
    opened = await store.open_incident(new)
    assert opened == Incident(id=opened.id, **msgspec.structs.asdict(new))
    assert await store.incident(opened.id) == opened
    assert await store.open_incidents() == [opened]
    assert await store.incident(opened.id + 1) is None


async def test_opening_settles_its_alerts_and_tells_all_an_announcer_needs(store: Store) -> None:
    first, second = make_alert(), make_alert(instance="b")
    await store.put_alerts([first, second], T0)
    new = new_incident(dashboard=Dashboard("shop", 3))
    opened = await store.open_incident(
        new, [settlement(first, Disposition.OPENED), settlement(second, Disposition.JOINED)]
    )
    assert [(one.disposition, one.incident, one.service) for one in await store.firing_alerts()] == [
        (Disposition.OPENED, opened.id, "checkout"),
        (Disposition.JOINED, opened.id, "checkout"),
    ]
    [entry] = await store.journal()
    assert (entry.kind, entry.at, entry.text) == (EntryKind.INCIDENT_OPENED, T0, new.text)
    assert (entry.service, entry.incident, entry.run) == ("checkout", opened.id, None)
    assert entry.data == {
        "runbook": "web",
        "relapse_of": None,
        "health": "failed",
        "labels": new.labels,
        "annotations": new.annotations,
        "thresholds": ["error_ratio"],
        "source": "alertmanager",
        "dashboard": {"uid": "shop", "panel": 3},
    }


async def test_a_service_has_one_open_incident(store: Store) -> None:
    alert = make_alert()
    await store.put_alerts([alert], T0)
    opened = await store.open_incident(new_incident())
    with pytest.raises(ConflictError, match=f"checkout: incident {opened.id} of it is open"):
        await store.open_incident(new_incident(), [settlement(alert, Disposition.OPENED)])
    # The refused write left nothing behind.
    assert [one.disposition for one in await store.firing_alerts()] == [None]
    assert len(await store.journal()) == 1
    await store.open_incident(new_incident("search"))
    await close(store, opened.id)
    again = await store.open_incident(new_incident())
    assert again.id > opened.id


async def test_of_many_that_open_at_once_one_wins(store: Store) -> None:
    tries = [store.open_incident(new_incident(f"s{n % 5}")) for n in range(50)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    won = [result for result in results if isinstance(result, Incident)]
    assert sorted(incident.service for incident in won) == [f"s{n}" for n in range(5)]
    assert all(isinstance(result, ConflictError) for result in results if result not in won)
    assert {incident.id for incident in await store.open_incidents()} == {incident.id for incident in won}
    assert len(await store.journal()) == 5


async def test_a_step_is_recorded_before_and_after_it_runs(store: Store) -> None:
    opened = await store.open_incident(new_incident(dashboard=Dashboard("shop")))
    run = await begin(store, opened.id)
    assert run == StepRun(
        id=run.id,
        incident=opened.id,
        service="checkout",
        runbook="web",
        step=0,
        attempt=1,
        action="restart",
        started_at=T0,
        deadline=T0 + 90,
        text="runs restart: it is failing",
        call="systemctl restart checkout",
    )
    assert await last_entry(store) == (
        EntryKind.STEP_STARTED,
        "runs restart: it is failing",
        "checkout",
        opened.id,
        run.id,
        {
            "step": 0,
            "attempt": 1,
            "action": "restart",
            "call": "systemctl restart checkout",
            "runbook": "web",
            "dashboard": {"uid": "shop", "panel": 0},
        },
    )
    [incident] = await store.open_incidents()
    assert incident.running == run

    ended = await store.end_step(run.id, SUCCEEDED, T0 + 2, "ssh web1 systemctl restart checkout")
    assert ended == msgspec.structs.replace(
        run,
        ended_at=T0 + 2,
        outcome=Outcome.SUCCEEDED,
        text="restart succeeded",
        exit_code=0,
        output="done\n",
        call="ssh web1 systemctl restart checkout",
    )
    assert (await last_entry(store))[-1] == {
        "step": 0,
        "attempt": 1,
        "action": "restart",
        "outcome": "succeeded",
        "exit_code": 0,
        "output": "done\n",
        "call": "ssh web1 systemctl restart checkout",
        "started_at": T0,
        "runbook": "web",
        "dashboard": {"uid": "shop", "panel": 0},
    }
    stored = await store.incident(opened.id)
    assert stored is not None
    assert stored.runs == (ended,)
    assert stored.last_run == ended


async def test_a_step_keeps_its_call_unless_another_is_given(store: Store) -> None:
    opened = await store.open_incident(new_incident())
    run = await begin(store, opened.id)
    assert (await store.end_step(run.id, SUCCEEDED, T0)).call == "systemctl restart checkout"


async def test_an_incident_has_one_running_step(store: Store) -> None:
    opened = await store.open_incident(new_incident())
    run = await begin(store, opened.id)
    with pytest.raises(ConflictError, match="cannot begin attempt 2 of step 0"):
        await begin(store, opened.id, attempt=2)
    await store.end_step(run.id, SUCCEEDED, T0)
    with pytest.raises(ConflictError, match="has ended already"):
        await store.end_step(run.id, Result(Outcome.UNKNOWN, "its owner died"), T0)
    with pytest.raises(ConflictError, match="this attempt was made already"):
        await begin(store, opened.id)
    second = await begin(store, opened.id, attempt=2)
    assert second.id > run.id
    other = await store.open_incident(new_incident("search"))
    await begin(store, other.id)


async def test_an_attempt_begun_by_two_at_once_is_begun_once(store: Store) -> None:
    opened = await store.open_incident(new_incident())
    results = await asyncio.gather(*(begin(store, opened.id) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, StepRun) for result in results) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 9


async def test_what_is_not_open_takes_no_steps_holds_or_answers(store: Store) -> None:
    opened = await store.open_incident(new_incident())
    await close(store, opened.id)
    before = await store.journal_end()
    yes = Approval(True, "ada", "", T0)
    for id in (opened.id, opened.id + 1):
        for write in (
            begin(store, id),
            store.pass_over(id, 0, "restart", "not now", T0),
            store.hold_incident(id, Hold(Gate.PAUSED, "it is paused"), T0),
            store.offer_step(id, 0),
            close(store, id),
        ):
            with pytest.raises(ConflictError, match=rf"incident {id}\b.* is not open"):
                await write
    with pytest.raises(ConflictError, match=r"cannot answer incident 1: it is too late, it was closed as recovered"):
        await store.answer(opened.id, yes)
    with pytest.raises(ConflictError, match=r"cannot answer incident 2: there is none"):
        await store.answer(opened.id + 1, yes)
    assert await store.journal_end() == before


async def test_a_hold_is_told_when_its_gate_is_another(store: Store) -> None:
    opened = await store.open_incident(new_incident())
    await store.hold_incident(opened.id, None, T0)
    for gate, until in ((Gate.COOLDOWN, T0 + 600), (Gate.COOLDOWN, T0 + 700), (Gate.RATE_BUDGET, None)):
        await store.hold_incident(opened.id, Hold(gate, f"{gate} holds", until), T0 + 1)
    [incident] = await store.open_incidents()
    assert incident.hold == Hold(Gate.RATE_BUDGET, "rate_budget holds", None)
    await store.hold_incident(opened.id, None, T0 + 2)
    [incident] = await store.open_incidents()
    assert incident.hold is None
    entries = (await store.journal())[1:]
    assert [(entry.kind, entry.text, entry.data) for entry in entries] == [
        (EntryKind.HELD, "cooldown holds", {"gate": "cooldown", "until": T0 + 600}),
        (EntryKind.HELD, "rate_budget holds", {"gate": "rate_budget", "until": None}),
        (EntryKind.RELEASED, "rate_budget holds no more", {"gate": "rate_budget"}),
    ]


async def test_a_step_that_begins_ends_the_hold(store: Store) -> None:
    opened = await store.open_incident(new_incident())
    await store.hold_incident(opened.id, Hold(Gate.CONCURRENCY, "four run"), T0)
    await begin(store, opened.id)
    [incident] = await store.open_incidents()
    assert incident.hold is None


async def test_a_step_passed_over_is_recorded_with_its_reason(store: Store) -> None:
    opened = await store.open_incident(new_incident())
    run = await store.pass_over(opened.id, 1, "scale", "if is false", T0 + 1)
    assert (run.step, run.attempt, run.outcome, run.text) == (1, 0, Outcome.SKIPPED, "if is false")
    assert run.started_at == run.ended_at == T0 + 1
    kind, text, _, incident, run_id, data = await last_entry(store)
    assert (kind, text, incident, run_id) == (EntryKind.PASSED_OVER, "if is false", opened.id, run.id)
    assert (data["step"], data["action"]) == (1, "scale")
    with pytest.raises(ConflictError, match="passed over already"):
        await store.pass_over(opened.id, 1, "scale", "if is false", T0 + 2)


async def test_recovery_redeems_the_steps_that_led_to_it(store: Store) -> None:
    opened = await store.open_incident(new_incident(dashboard=Dashboard("shop")))
    await store.end_step((await begin(store, opened.id)).id, SUCCEEDED, T0 + 1)
    await store.pass_over(opened.id, 1, "scale", "at its limit", T0 + 2)
    await store.hold_incident(opened.id, Hold(Gate.GUARD, "a rollout is in progress"), T0 + 3)
    closed = await close(store, opened.id)
    assert (closed.closed_at, closed.verdict, closed.closing) == (T0 + 60, Verdict.RECOVERED, "it has recovered")
    assert closed.hold is None
    assert [run.redeemed for run in closed.runs] == [True, True]
    assert await store.incident(opened.id) == closed
    assert await store.open_incidents() == []
    kind, text, service, incident, _, data = await last_entry(store)
    assert (kind, text, service, incident) == (
        EntryKind.INCIDENT_CLOSED,
        "it has recovered",
        "checkout",
        opened.id,
    )
    assert data == {
        "verdict": "recovered",
        "runbook": "web",
        "opened_at": T0,
        "action": "restart",
        "health": "healthy",
        "dashboard": {"uid": "shop", "panel": 0},
    }


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.RECOVERED])
async def test_any_other_verdict_redeems_nothing(store: Store, verdict: Verdict) -> None:
    opened = await store.open_incident(new_incident())
    await store.end_step((await begin(store, opened.id)).id, SUCCEEDED, T0 + 1)
    closed = await close(store, opened.id, verdict)
    assert [run.redeemed for run in closed.runs] == [False]


async def test_an_incident_in_which_nothing_ran_names_no_action(store: Store) -> None:
    opened = await store.open_incident(new_incident())
    await store.end_step((await begin(store, opened.id, DIAGNOSE)).id, SUCCEEDED, T0)
    await store.pass_over(opened.id, 0, "restart", "not now", T0)
    await close(store, opened.id, Verdict.CLEARED)
    assert (await last_entry(store))[-1]["action"] == "none"


async def test_a_step_that_still_runs_may_end_after_its_incident_closed(store: Store) -> None:
    opened = await store.open_incident(new_incident())
    run = await begin(store, opened.id)
    with pytest.raises(
        ConflictError, match="cannot dismiss incident 1 while restart runs: wait until the step has ended"
    ):
        await close(store, opened.id, Verdict.DISMISSED)
    await close(store, opened.id, Verdict.SUPERSEDED)
    assert (await store.end_step(run.id, SUCCEEDED, T0 + 61)).outcome is Outcome.SUCCEEDED


async def test_an_incident_is_answered_once(store: Store) -> None:
    opened = await store.open_incident(new_incident())
    no = Approval(False, "ada", "a deploy is under way", T0 + 5)
    assert (await store.answer(opened.id, no)).approval == no
    with pytest.raises(ConflictError, match="ada has denied it already"):
        await store.answer(opened.id, Approval(True, "bob", "", T0 + 6))
    [incident] = await store.open_incidents()
    assert incident.approval == no
    kind, text, *_, data = await last_entry(store)
    assert (kind, text) == (EntryKind.ANSWERED, "ada denied it: a deploy is under way")
    assert data == {"approved": False, "author": "ada", "comment": "a deploy is under way"}


async def test_pages_of_incidents_go_from_the_newest_down(store: Store) -> None:
    ids = []
    for n in range(6):
        opened = await store.open_incident(new_incident("web" if n % 2 else "db", at=T0 + n))
        await store.end_step((await begin(store, opened.id)).id, SUCCEEDED, T0)
        ids.append(opened.id)
        if n < 4:
            await close(store, opened.id)
    everything = await store.incidents()
    assert [incident.id for incident in everything] == ids[::-1]
    assert [len(incident.runs) for incident in everything] == [1] * 6
    first = await store.incidents(limit=2)
    assert first + await store.incidents(before=first[-1].id) == everything
    assert [incident.id for incident in await store.incidents(service="web")] == [ids[5], ids[3], ids[1]]
    assert [incident.id for incident in await store.incidents(service="web", before=ids[3])] == [ids[1]]
    assert [incident.id for incident in await store.incidents(open_only=True)] == [ids[5], ids[4]]
    assert [incident.id for incident in await store.incidents(service="db", open_only=True)] == [ids[4]]
    assert [incident.id for incident in await store.open_incidents()] == ids[4:]


async def test_runs_since_are_those_that_count(store: Store) -> None:
    opened = await store.open_incident(new_incident())
    await store.end_step((await begin(store, opened.id, DIAGNOSE, at=T0 + 1)).id, SUCCEEDED, T0)
    outcomes = [outcome for outcome in Outcome if outcome is not Outcome.SKIPPED]
    for attempt, outcome in enumerate(outcomes, 1):
        run = await begin(store, opened.id, attempt=attempt, at=T0 + attempt)
        await store.end_step(run.id, Result(outcome, "it ended"), T0 + attempt)
    await store.pass_over(opened.id, 1, "scale", "at its limit", T0 + 10)
    running = await begin(store, opened.id, step=2, at=T0 + 20)
    counted = await store.runs_since(T0)
    assert [run.outcome for run in counted] == [o for o in outcomes if o.ran] + [None]
    assert await store.runs_since(T0 + 20) == [running]
    assert await store.runs_since(T0 + 21) == []


async def test_the_summary_counts_what_is_kept(store: Store) -> None:
    assert await store.summary() == Summary(0, {}, None, {})
    alerts = [make_alert(n=str(n)) for n in range(3)]
    await store.put_alerts(alerts, T0)
    await store.settle([settlement(alert, Disposition.HELD, gate="rate") for alert in alerts[:2]], T0)
    for verdict, took in ((Verdict.RECOVERED, 10), (Verdict.RECOVERED, 30), (Verdict.EXHAUSTED, 1000)):
        opened = await store.open_incident(new_incident(at=T0))
        await close(store, opened.id, verdict, T0 + took)
    await store.open_incident(new_incident())
    found = await store.summary()
    assert (found.open, found.verdicts, found.dispositions) == (1, {"recovered": 2, "exhausted": 1}, {"held": 2})
    assert found.mean_time_to_recovery == pytest.approx(20)


async def test_numbers_no_database_holds_are_refused(store: Store) -> None:
    with pytest.raises(ConflictError):
        await store.incident(2**64)
    with pytest.raises(ConflictError):
        await store.end_step(2**64, SUCCEEDED, T0)
    assert await store.incident(2**63 - 1) is None


async def test_what_a_clock_that_was_set_back_left_in_the_future_is_brought_back(store: Store) -> None:
    closed = await store.open_incident(new_incident("closed", at=T0 + 3600))
    run = await store.begin_step(closed.id, 0, 1, "restart", "", "", T0 + 3610, T0 + 3670)
    await store.end_step(run.id, SUCCEEDED, T0 + 3620)
    await close(store, closed.id, Verdict.RECOVERED, at=T0 + 3650)
    opened = await store.open_incident(new_incident("open", at=T0 + 3700))
    await store.begin_step(opened.id, 0, 1, "restart", "", "", T0 + 3700, T0 + 3790)
    before = await store.open_incident(new_incident("before", at=T0 - 10))
    await store.put_alerts([make_alert(), make_alert("over", ends_at=T0)], T0 + 3600)

    assert await store.repair_clock(T0) == 6
    found = {incident.service: incident for incident in await store.incidents()}
    assert (found["closed"].opened_at, found["closed"].closed_at) == (T0, T0)
    [ended], [running] = found["closed"].runs, found["open"].runs
    assert (ended.started_at, ended.ended_at) == (T0, T0)
    assert (running.started_at, running.deadline, running.ended_at) == (T0, pytest.approx(T0 + 90), None)
    assert (found["open"].opened_at, found["before"]) == (T0, before)
    assert {(one.received_at, one.updated_at) for one in await store.alerts()} == {(T0, T0)}
    assert await store.repair_clock(T0) == 0


@pytest.mark.parametrize("verdict", [Verdict.RECOVERED, Verdict.DISMISSED, Verdict.EXHAUSTED])
async def test_what_an_operator_asked_for_is_over_with_its_incident(store: Store, verdict: Verdict) -> None:
    asked = msgspec.structs.replace(make_alert(), source=Source.OPERATOR)
    alert = make_alert(part="b")
    await store.put_alerts([asked, alert], T0)
    both = [settlement(one, Disposition.OPENED) for one in (asked, alert)]
    opened = await store.open_incident(new_incident(), both)
    await close(store, opened.id, verdict, at=T0 + 60)
    assert [stored.alert for stored in await store.firing_alerts()] == [alert]
    (over,) = await store.alerts_with(asked.fingerprint)
    assert (over.alert.ends_at, over.disposition, over.incident) == (T0 + 60, Disposition.OPENED, opened.id)
    # Whoever follows the alerts hears of it.
    assert [stored.alert.key for stored in await store.alerts_since(2)] == [asked.key]


async def test_how_an_incident_ended_is_told_with_whether_anything_was_run(store: Store) -> None:
    passed, run = await store.open_incident(new_incident("passed")), await store.open_incident(new_incident("run"))
    await store.pass_over(passed.id, 0, "restart", "its condition is not met", T0)
    begun = await store.begin_step(run.id, 0, 1, "restart", "", "", T0, T0)
    await store.end_step(begun.id, SUCCEEDED, T0)
    for incident in (passed, run):
        await store.close_incident(incident.id, Verdict.EXHAUSTED, "no step is left", Health.FAILED, T0)
    assert {ended.id: ended.ran for ended in await store.incident_summaries(T0)} == {passed.id: False, run.id: True}

"""Trouble that other systems made worse, on virtual time with the real loop: mass failure, chains of causes, flapping,
budgets, questions nobody answers, and what has to be put back."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from world import NO_PANIC, RULES, Effect, World, world

from remediator.config.policy import Policy
from remediator.engine.step_tasks import PROBES
from remediator.errors import StoreError
from remediator.model.action import Outcome
from remediator.model.alert import Alert, fingerprint
from remediator.model.health import QueryStatus
from remediator.model.incident import Approval, Disposition, EntryKind, Verdict
from remediator.model.rules import Rate
from remediator.model.silence import Silence, Suppression
from remediator.rules.loader import load_rules
from remediator.store.sqlite import open_sqlite

NO_BREACH = Policy(settle=0.0)


def fleet(count: int, *, limits: str = "{cooldown: 5m}", steps: str = "[restart]") -> str:
    """Rules for services s0, s1, …, each with a restart of its own."""
    services = "".join(
        f"  - {{name: s{n}, target: {{command: {{restart: [ctl, restart, s{n}]}}}}}}\n" for n in range(count)
    )
    return f"""
services:
{services}
thresholds:
  - {{name: error_ratio, expr: error_ratio, failed: '> 0.10'}}
runbooks:
  - name: web
    steps: {steps}
    verify: {{healthy_for: 10s, within: 60s}}
    limits: {limits}
"""


def pages(w: World) -> list[str]:
    return sorted(page.labels["alertname"] for page in w.engine.pages())


# Mass failure.


@pytest.mark.slow
async def test_when_most_of_the_fleet_turns_bad_at_once_nothing_is_run_and_people_hear_of_it_once(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, fleet(10), NO_BREACH) as w:
        for name in w.rulebook.named:
            w.heals(f"ctl restart {name}", **{name: 0.0})
        w.set("error_ratio", **{f"s{n}": 0.5 for n in range(6)})
        await w.pass_time(3600)
        assert w.ran == []
        assert pages(w) == ["RemediationPanic"]
        assert {incident.hold.gate for incident in await w.incidents() if incident.hold} == {"panic"}
        # Four recover by themselves; the two that are left are healed, one at a time.
        w.set("error_ratio", **{f"s{n}": 0.0 for n in range(4)})
        await w.pass_time(120)
        assert sorted(w.commands) == ["ctl restart s4", "ctl restart s5"]
        assert w.most_under_way == 1
        assert pages(w) == []


@pytest.mark.slow
async def test_a_blackout_of_prometheus_runs_nothing_and_is_one_page(tmp_path: Path) -> None:
    async with world(tmp_path, fleet(1000), NO_BREACH) as w:
        w.query_status = QueryStatus.UNREACHABLE
        w.set("error_ratio", **dict.fromkeys(w.rulebook.named, 0.5))
        for n in range(500):
            await w.fire("Down", service=f"s{n}", severity="critical")
        await w.pass_time(1800)
        assert w.ran == []
        assert pages(w) == ["RemediationBlocked"]


async def test_services_that_only_alerts_judge_are_not_touched_in_a_blackout(tmp_path: Path) -> None:
    rules = fleet(5).replace("'> 0.10'", "'> 0.10', match: ['service=\"s0\"']")
    async with world(tmp_path, rules, NO_BREACH) as w:
        w.query_status = QueryStatus.UNREACHABLE
        await w.pass_time(60)
        await w.fire("Down", service="s1", severity="critical")
        await w.pass_time(600)
        assert w.ran == []
        w.query_status = QueryStatus.SEEN
        await w.pass_time(30)
        assert w.commands == ["ctl restart s1"]


async def test_after_a_start_and_after_an_outage_it_looks_on_before_it_acts(tmp_path: Path) -> None:
    async with world(tmp_path, policy=Policy(settle=20.0)) as w:
        w.set("error_ratio", checkout=0.5)
        # The world is six seconds old.
        await w.pass_time(12)
        assert w.ran == []
        await w.pass_time(10)
        assert w.commands == ["ctl restart checkout"]
        w.query_status = QueryStatus.UNREACHABLE
        w.set("error_ratio", checkout=0.0, search=0.5)
        await w.pass_time(90)
        w.query_status = QueryStatus.SEEN
        await w.clock.run_until(lambda: w.state.open.get("search"))
        opened = w.clock.now()
        await w.clock.run_until(lambda: len(w.ran) == 2)
        assert w.clock.now() - opened >= 15


async def test_whoever_waits_for_the_blast_radius_is_next_as_soon_as_a_heal_is_over(tmp_path: Path) -> None:
    async with world(tmp_path, fleet(10, limits="{cooldown: 5m, blast_radius: 1}"), NO_BREACH) as w:
        for name in w.rulebook.named:
            w.heals(f"ctl restart {name}", **{name: 0.0})
        w.set("error_ratio", s1=0.5, s2=0.5, s3=0.5)
        await w.pass_time(120)
        incidents = sorted(await w.incidents(), key=lambda incident: incident.runs[0].started_at)
        ends = [incident.closed_at for incident in incidents]
        assert [incident.runs[0].started_at for incident in incidents[1:]] == ends[:2]


async def test_the_blast_radius_is_kept_while_several_are_healed(tmp_path: Path) -> None:
    async with world(tmp_path, fleet(10, limits="{cooldown: 5m, blast_radius: 25%}"), NO_BREACH) as w:
        for n in range(5):
            w.effect(f"ctl restart s{n}", Effect(takes=20, then=lambda n=n: w.set("error_ratio", **{f"s{n}": 0.0})))  # type: ignore[misc]
        w.set("error_ratio", **{f"s{n}": 0.5 for n in range(5)})
        await w.pass_time(30)
        assert len(w.ran) == 2
        await w.pass_time(300)
        assert len(w.ran) == 5
        assert w.most_under_way == 2


# Causes and what depends on them.

CHAIN = """
services:
  - {name: shop, depends_on: [cart, search], target: {command: {restart: [ctl, restart, shop]}}}
  - {name: cart, depends_on: [postgres], target: {command: {restart: [ctl, restart, cart]}}}
  - {name: search, depends_on: [postgres], target: {command: {restart: [ctl, restart, search]}}}
  - {name: postgres, target: {command: {restart: [ctl, restart, postgres]}}}
thresholds:
  - {name: error_ratio, expr: error_ratio, failed: '> 0.10'}
runbooks:
  - name: web
    steps: [restart]
    verify: {healthy_for: 10s, within: 60s}
    limits: {cooldown: 5m}
"""
EVERYBODY = {"shop": 0.5, "cart": 0.5, "search": 0.5, "postgres": 0.5}


async def test_the_root_cause_is_healed_and_what_depends_on_it_clears_by_itself(tmp_path: Path) -> None:
    async with world(tmp_path, CHAIN, Policy(settle=0.0, panic=NO_PANIC)) as w:
        w.heals("ctl restart postgres", postgres=0.0)
        w.set("error_ratio", **EVERYBODY)
        await w.clock.run_until(lambda: w.state.previous.get("postgres"))
        # What is left of the trouble goes away within the time that the runbook gives it.
        await w.pass_time(30)
        w.set("error_ratio", shop=0.0, cart=0.0, search=0.0)
        await w.pass_time(120)
        assert w.commands == ["ctl restart postgres"]
        verdicts = {incident.service: incident.verdict for incident in await w.incidents()}
        assert verdicts.pop("postgres") is Verdict.RECOVERED
        assert set(verdicts.values()) == {Verdict.CLEARED}


async def test_what_does_not_recover_with_its_cause_is_healed_after_its_time(tmp_path: Path) -> None:
    async with world(tmp_path, CHAIN, Policy(settle=0.0, panic=NO_PANIC)) as w:
        w.heals("ctl restart postgres", postgres=0.0, search=0.0, shop=0.0)
        w.set("error_ratio", **EVERYBODY)
        await w.clock.run_until(lambda: w.state.previous.get("postgres"))
        healed_at = w.clock.now()
        w.heals("ctl restart cart", cart=0.0)
        await w.clock.run_until(lambda: "ctl restart cart" in w.commands)
        assert 60 <= w.clock.now() - healed_at < 80
        await w.pass_time(60)
        assert w.commands == ["ctl restart postgres", "ctl restart cart"]


async def test_a_cause_that_cannot_be_healed_holds_the_rest_and_is_the_one_page(tmp_path: Path) -> None:
    rules = CHAIN.replace("cooldown: 5m", "cooldown: 6h")
    async with world(tmp_path, rules, Policy(settle=0.0, panic=NO_PANIC)) as w:
        w.set("error_ratio", **EVERYBODY)
        await w.pass_time(3600)
        assert w.commands == ["ctl restart postgres"]
        (page,) = w.engine.pages()
        assert page.labels["alertname"] == "RemediationFailed"
        assert page.labels["service"] == "postgres"
        assert page.annotations["summary"].endswith("; cart, search, shop wait for it")


async def test_a_cause_that_cannot_be_seen_holds_what_depends_on_it(tmp_path: Path) -> None:
    async with world(tmp_path, CHAIN, NO_BREACH) as w:
        del w.values["error_ratio"]["postgres"]
        w.set("error_ratio", cart=0.5)
        await w.pass_time(600)
        assert w.ran == []
        (incident,) = await w.incidents()
        assert incident.hold is not None
        assert incident.hold.text.startswith("waits for postgres, which is unknown: ")


# Flapping and budgets.


async def test_a_relapse_goes_on_with_the_next_step_and_its_commands_count_again(tmp_path: Path) -> None:
    rules = RULES.replace("{cooldown: 5m}", "{cooldown: 0s, rate: 2/1h}")
    async with world(tmp_path, rules) as w:
        w.heals("ctl restart checkout", checkout=0.0)
        w.heals("ctl rollback checkout", checkout=0.0)
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(60)
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(60)
        assert w.commands == ["ctl restart checkout", "ctl rollback checkout"]
        first, second = await w.incidents()
        assert (second.relapse_of, second.first_step) == (first.id, 1)
        assert "again, " in second.text
        # Search is another service, but the budget of the runbook is one: the first restart did not help.
        w.heals("ctl restart search", search=0.0)
        w.set("error_ratio", search=0.5)
        await w.pass_time(60)
        assert w.commands[2:] == ["ctl restart search"]
        w.set("error_ratio", search=0.5)
        await w.pass_time(60)
        assert w.commands[3:] == []


async def test_a_relapse_when_no_step_is_left_is_for_people(tmp_path: Path) -> None:
    async with world(tmp_path, RULES.replace("[restart, rollback]", "[restart]")) as w:
        w.heals("ctl restart checkout", checkout=0.0)
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(60)
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(60)
        assert [i.verdict for i in await w.incidents()] == [Verdict.RECOVERED, Verdict.EXHAUSTED]
        assert w.commands == ["ctl restart checkout"]
        assert pages(w) == ["RemediationFailed"]
        w.set("error_ratio", checkout=0.0)
        await w.pass_time(60)
        assert pages(w) == []


async def test_new_trouble_later_begins_at_the_first_step(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.heals("ctl restart checkout", checkout=0.0)
        for _ in range(2):
            w.set("error_ratio", checkout=0.5)
            await w.pass_time(700)
        assert w.commands == ["ctl restart checkout", "ctl restart checkout"]


@pytest.mark.slow
async def test_the_breaker_gives_up_calls_people_and_tries_again_once_its_time_has_passed(tmp_path: Path) -> None:
    rules = RULES.replace("{cooldown: 5m}", "{cooldown: 1m, breaker: 2/1h}").replace("[restart, rollback]", "[restart]")
    async with world(tmp_path, rules) as w:
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(1200)
        assert len(w.ran) == 2
        assert pages(w) == ["RemediationBreakerOpen", "RemediationFailed"]
        last = w.state.previous["checkout"].closed_at or 0.0
        (alert,) = w.state.firing["checkout"].values()
        assert (alert.disposition, alert.gate) == (Disposition.HELD, "breaker") or alert.incident
        await w.pass_time(last + 3590 - w.clock.now())
        assert len(w.ran) == 2
        await w.pass_time(30)
        assert len(w.ran) == 3
        # Half open: this one attempt failed, so it is open again for as long.
        await w.pass_time(3500)
        assert len(w.ran) == 3
        w.heals("ctl restart checkout", checkout=0.0)
        await w.pass_time(300)
        assert len(w.ran) == 4
        assert (await w.incidents())[-1].verdict is Verdict.RECOVERED
        assert pages(w) == []


async def test_budgets_survive_a_restart(tmp_path: Path) -> None:
    rules = RULES.replace("{cooldown: 5m}", "{cooldown: 1m, breaker: 2/1h}").replace("[restart, rollback]", "[restart]")
    async with world(tmp_path, rules) as w:
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(1200)
        assert len(w.ran) == 2
        await w.crashed()
        await w.opened()
        await w.pass_time(1200)
        assert len(w.ran) == 2
        assert pages(w) == ["RemediationBreakerOpen", "RemediationFailed"]


async def test_a_slot_held_by_a_hung_command_is_freed(tmp_path: Path) -> None:
    rules = fleet(3, steps="[{restart: , timeout: 30s}]")
    async with world(tmp_path, rules, Policy(settle=0.0, concurrent=1, panic=NO_PANIC)) as w:
        w.effect("ctl restart s0", Effect(takes=9999))
        w.heals("ctl restart s1", s1=0.0)
        w.set("error_ratio", s0=0.5, s1=0.5)
        await w.pass_time(120)
        assert w.commands == ["ctl restart s0", "ctl restart s1"]


# Alerts.


async def test_one_alert_does_not_hide_another_of_the_same_service(tmp_path: Path) -> None:
    rules = RULES.replace("    verify", "    match: ['alertname=\"B\"']\n    verify")
    async with world(tmp_path, rules) as w:
        w.set("error_ratio", checkout=0.5)
        await w.fire("A", service="checkout")
        await w.pass_time(30)
        assert w.ran == []
        await w.fire("B", service="checkout")
        await w.pass_time(30)
        assert w.commands == ["ctl restart checkout"]


async def test_the_second_alertmanager_says_the_same_fifteen_seconds_later(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.set("error_ratio", checkout=0.5)
        alert = await w.fire(service="checkout")
        await w.pass_time(15)
        accepted = await w.intake([alert])
        assert (accepted.new, accepted.repeated) == (0, 1)
        await w.pass_time(30)
        assert w.commands == ["ctl restart checkout"]


async def test_a_page_of_its_own_that_comes_back_is_nothing_to_heal(tmp_path: Path) -> None:
    async with world(tmp_path, RULES + "    corroborate: false\n") as w:
        labels = {"alertname": "RemediationFailed", "service": "checkout", "sender": "remediator"}
        accepted = await w.intake([Alert(fingerprint(labels), w.clock.now(), None, labels)])
        assert accepted.own == 1
        await w.pass_time(60)
        assert (await w.incidents(), await w.store.alerts()) == ([], [])
        assert await account(w) == (1, 1, 0)


async def test_what_is_silenced_is_left_alone_until_the_silence_ends(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.set("error_ratio", checkout=0.5)
        by_hand = Silence("1", w.rulebook.named["checkout"].match, w.clock.now(), w.clock.now() + 300, "ada", "mine")
        w.engine.on_silences((by_hand,))
        await w.pass_time(290)
        assert w.ran == []
        assert {alert.gate for alert in await w.store.firing_alerts()} == {"silenced"}
        await w.pass_time(30)
        assert w.commands == ["ctl restart checkout"]


async def test_a_silence_on_one_alert_leaves_the_others(tmp_path: Path) -> None:
    from remediator.model.matcher import parse_matcher

    async with world(tmp_path) as w:
        w.set("error_ratio", checkout=0.5)
        one = Silence("1", (parse_matcher('alertname="A"'),), 0.0, w.clock.now() + 3600, "ada")
        w.engine.on_silences((one,))
        await w.fire("A", service="checkout")
        await w.pass_time(60)
        assert w.ran == []
        await w.fire("B", service="checkout")
        await w.pass_time(60)
        assert w.commands == ["ctl restart checkout"]


async def test_a_regular_expression_has_to_fit_the_whole_label(tmp_path: Path) -> None:
    rules = RULES.replace("    steps", "    match: ['service=~\"check|sear\"']\n    steps")
    async with world(tmp_path, rules) as w:
        w.set("error_ratio", checkout=0.5)
        await w.fire(service="checkout")
        await w.pass_time(60)
        assert (w.ran, await w.incidents()) == ([], [])
        assert {stored.disposition for stored in await w.store.firing_alerts()} == {Disposition.NO_RUNBOOK}


async def test_a_label_that_is_not_there_matches_nothing_but_its_absence(tmp_path: Path) -> None:
    rules = RULES.replace("    steps", "    match: ['tier!=\"\"', 'tier=~\".+\"']\n    steps")
    async with world(tmp_path, rules) as w:
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(60)
        assert (w.ran, await w.incidents()) == ([], [])


async def test_a_step_that_asks_for_a_label_that_is_not_there_runs_nothing(tmp_path: Path) -> None:
    rules = RULES.replace("[ctl, restart, checkout]", "[ctl, restart, '{{ labels.instance }}']")
    async with world(tmp_path, rules.replace("[restart, rollback]", "[restart]")) as w:
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(60)
        (incident,) = await w.incidents()
        assert w.ran == []
        assert (incident.verdict, incident.runs[0].outcome) == (Verdict.EXHAUSTED, Outcome.REFUSED)
        assert "there is no label instance" in incident.runs[0].text
        assert pages(w) == ["RemediationFailed"]


async def test_a_guard_that_asks_for_a_label_that_is_not_there_holds(tmp_path: Path) -> None:
    rules = RULES.replace("[restart, rollback]", "[{restart: , unless: guard(rollout_in_progress)}]")
    async with world(tmp_path, rules) as w:
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(60)
        (incident,) = await w.incidents()
        assert w.ran == []
        assert incident.hold is not None
        assert incident.hold.text.startswith("cannot tell whether guard(rollout_in_progress) is true: ")


async def account(w: World) -> tuple[int, int, int]:
    """Alerts accepted, those decided on, and those that are not."""
    accepted = next(iter(w.metrics.accepted.collect())).samples[0].value
    decided = sum(sample.value for sample in next(iter(w.metrics.alerts.collect())).samples)
    return int(accepted), int(decided), sum(stored.disposition is None for stored in await w.store.alerts(limit=1000))


async def test_each_alert_that_is_sent_is_accepted_once_and_decided_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        alert = await w.fire("A", service="checkout")
        await w.resolve(alert)
        assert await account(w) == (2, 1, 1)
        await w.fire("B", service="nobody")
        await w.resolve(Alert("never-seen", 1.0, None, {"alertname": "C"}))
        await w.pass_time(60)
        assert await account(w) == (4, 4, 0)
        await w.fire("E", at=w.clock.now() - 60, service="nobody")
        await w.pass_time(60)
        assert await account(w) == (5, 5, 0)
        await w.fire("D", service="search")
        await w.crashed()
        await w.opened()
        await w.pass_time(60)
        assert await account(w) == (0, 1, 0), "a process counts what itself accepts, and what itself decides"


async def test_an_alert_that_came_and_went_before_anybody_looked_is_decided_on(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.crashed()
        store = await open_sqlite(str(w.path))
        gone = Alert("gone", w.clock.now(), None, {"alertname": "A", "service": "checkout"})
        await store.put_alerts([gone], w.clock.now())
        await store.put_alerts([msgspec.structs.replace(gone, ends_at=w.clock.now())], w.clock.now())
        await store.put_alerts([Alert("later", w.clock.now(), None, {"alertname": "B"})], w.clock.now())
        await store.close()
        await w.opened()
        await w.pass_time(5)
        found = {stored.alert.fingerprint: stored.disposition for stored in await w.store.alerts(limit=10)}
        assert found == {"gone": Disposition.RESOLVED, "later": Disposition.NO_SERVICE}


@pytest.mark.parametrize("minutes", [0, 5])
async def test_an_alert_whose_disposition_could_not_be_written_is_decided_on_as_soon_as_it_can(
    tmp_path: Path, minutes: int
) -> None:
    async with world(tmp_path) as w:

        async def settle(*_: object) -> None:
            raise StoreError("cannot write: the disk is full")

        w.store.settle = settle  # type: ignore[method-assign]
        await w.fire("A", service="nobody")
        await w.pass_time(0.5)
        del w.store.settle
        if minutes:
            w.store.settle = settle  # type: ignore[method-assign]
            await w.pass_time(60 * minutes)
            assert (w.state.undecided, _value(w.metrics.undecided)) == (1, 1.0)
            del w.store.settle
        await w.pass_time(70)
        (stored,) = await w.store.alerts(limit=10)
        assert stored.disposition is Disposition.NO_SERVICE
        assert (w.state.undecided, _value(w.metrics.undecided)) == (0, 0.0)
        assert await account(w) == (1, 1, 0)


def _value(gauge: Any) -> float:
    return float(next(iter(gauge.collect())).samples[0].value)


async def test_what_a_process_that_was_killed_may_have_left_at_work_counts_against_the_number_of_commands(
    tmp_path: Path,
) -> None:
    rules = RULES.replace("[ctl, restart, checkout]", "{run: [ctl, restart, checkout], timeout: 60s}")
    async with world(tmp_path, rules, Policy(settle=0.0, concurrent=1, panic=NO_PANIC)) as w:
        w.effect("ctl restart checkout", Effect(takes=50.0))
        w.heals("ctl restart search", search=0.0)
        w.set("error_ratio", checkout=0.2)
        await w.clock.run_until(lambda: w.ran)
        await w.crashed()
        await w.opened()
        w.set("error_ratio", search=0.2)
        await w.pass_time(40)
        assert w.commands == ["ctl restart checkout"]
        hold = w.state.open["search"].hold
        assert hold is not None
        assert hold.text == "1 of 1 commands are running or may still be at work"
        why = await w.engine.why("search")
        assert why is not None
        assert why.facts["commands running"] == "1 of 1"
        await w.clock.run_until(lambda: "ctl restart search" in w.commands)
        orphan = (await w.incidents())[0].runs[0]
        assert w.clock.now() >= orphan.latest_end


async def test_heals_begin_slowly_after_a_panic_though_the_process_was_killed_meanwhile(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d", "e", "f", "g")
    rules = "services:\n" + "".join(
        f"  - {{name: {name}, target: {{command: {{restart: [ctl, restart, {name}]}}}}}}\n" for name in names
    )
    rules += RULES[RULES.index("thresholds:") :].replace("[restart, rollback]", "[restart]")
    async with world(tmp_path, rules, Policy(settle=60.0)) as w:
        await w.pass_time(60)
        w.set("error_ratio", **dict.fromkeys(names[:6], 0.2))
        await w.pass_time(30)
        w.set("error_ratio", **dict.fromkeys(names[3:6], 0.0))
        await w.pass_time(30)
        assert w.ran == []
        await w.crashed()
        await w.opened()
        for name in names:
            w.effect(f"ctl restart {name}", Effect(takes=20.0))
        await w.pass_time(100)
        assert len(w.ran) > 1
        assert w.most_under_way == 1


# People.


async def test_a_question_that_nobody_answers_goes_to_people_and_a_late_answer_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path, RULES + "    mode: approve\n    approve_within: 5m\n") as w:
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(60)
        assert pages(w) == ["RemediationApprovalNeeded"]
        await w.pass_time(300)
        (incident,) = await w.incidents()
        assert (incident.verdict, incident.closing) == (Verdict.EXHAUSTED, "nobody approved restart within 5m")
        assert pages(w) == ["RemediationFailed"]
        assert w.ran == []
        from remediator.errors import ConflictError

        with pytest.raises(ConflictError, match="it is too late"):
            await w.store.answer(incident.id, Approval(True, "ada", "", w.clock.now()))


async def test_an_approval_that_could_not_be_used_for_long_is_not_used(tmp_path: Path) -> None:
    async with world(tmp_path, RULES + "    mode: approve\n    approve_within: 5m\n") as w:
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(30)
        (incident,) = await w.incidents()
        await w.store.add_pause((), w.clock.now(), w.clock.now() + 600, "bob", "wait")
        await w.store.answer(incident.id, Approval(True, "ada", "", w.clock.now()))
        w.engine.on_operator_action()
        await w.pass_time(630)
        (incident,) = await w.incidents()
        assert incident.closing == "the approval of restart has become too old to act on"
        assert w.ran == []


# What has to be put back.

BROKEN_CIRCUIT = """
services:
  - name: web1
    target:
      command:
        circuit_break: {run: [ctl, out, web1], undo: restore}
        restore: [ctl, in, web1]
        restart: [ctl, restart, web1]
thresholds:
  - {name: error_ratio, expr: error_ratio, failed: '> 0.10'}
runbooks:
  - name: web
    steps: [circuit_break, restart]
    verify: {healthy_for: 10s, within: 30s}
    limits: {cooldown: 1m}
"""


async def test_what_was_taken_out_is_put_back_once_the_service_is_well_and_verified_again(tmp_path: Path) -> None:
    async with world(tmp_path, BROKEN_CIRCUIT) as w:
        w.heals("ctl restart web1", web1=0.0)
        w.set("error_ratio", web1=0.5)
        await w.pass_time(120)
        assert w.commands == ["ctl out web1", "ctl restart web1", "ctl in web1"]
        (incident,) = await w.incidents()
        assert (incident.verdict, incident.owed) == (Verdict.RECOVERED, ())
        assert incident.closed_at is not None
        assert incident.closed_at >= (incident.runs[-1].ended_at or 0.0) + 10


async def test_trouble_that_comes_back_with_it_goes_on_with_the_next_step(tmp_path: Path) -> None:
    async with world(tmp_path, BROKEN_CIRCUIT) as w:
        w.heals("ctl out web1", web1=0.0)
        w.effect("ctl in web1", Effect(then=lambda: w.set("error_ratio", web1=0.5)))
        w.set("error_ratio", web1=0.5)
        await w.clock.run_until(lambda: "ctl restart web1" in w.commands, within=300)
        assert w.commands == ["ctl out web1", "ctl in web1", "ctl restart web1"]


@pytest.mark.parametrize("moment", [0.5, 20.0, 50.0])
async def test_a_crash_in_between_forgets_nothing(tmp_path: Path, moment: float) -> None:
    async with world(tmp_path, BROKEN_CIRCUIT) as w:
        w.heals("ctl restart web1", web1=0.0)
        w.set("error_ratio", web1=0.5)
        await w.clock.run_until(lambda: w.ran)
        await w.pass_time(moment)
        await w.crashed()
        await w.opened()
        await w.pass_time(300)
        assert w.commands[-1] == "ctl in web1"
        assert w.commands.count("ctl in web1") == 1
        assert (await w.incidents())[-1].owed == ()


async def test_what_an_exhausted_incident_left_is_put_back_when_the_service_is_well_at_last(tmp_path: Path) -> None:
    async with world(tmp_path, BROKEN_CIRCUIT.replace("cooldown: 1m", "cooldown: 6h")) as w:
        w.set("error_ratio", web1=0.5)
        await w.pass_time(120)
        (first,) = await w.incidents()
        assert (first.verdict, first.owed) == (Verdict.EXHAUSTED, ("restore",))
        assert first.closing.endswith("; restore is owed")
        await w.crashed()
        await w.opened()
        w.set("error_ratio", web1=0.0)
        await w.pass_time(90)
        assert w.commands == ["ctl out web1", "ctl restart web1", "ctl in web1"]
        last = (await w.incidents())[-1]
        assert (last.verdict, last.text) == (Verdict.RECOVERED, "is healthy again: owes it restore")


async def test_what_cannot_be_put_back_is_tried_three_times_and_then_said(tmp_path: Path) -> None:
    async with world(tmp_path, BROKEN_CIRCUIT) as w:
        w.heals("ctl out web1", web1=0.0)
        w.effect("ctl in web1", Effect(exit_code=1))
        w.set("error_ratio", web1=0.5)
        await w.clock.run_until(lambda: w.state.previous.get("web1"), within=300)
        await w.pass_time(30)
        (incident,) = await w.incidents()
        assert (incident.verdict, incident.closing) == (
            Verdict.EXHAUSTED,
            "cannot put it back: restore failed 3 times",
        )
        assert w.commands.count("ctl in web1") == 3
        assert pages(w) == ["RemediationFailed"]
        w.effect("ctl in web1", Effect())
        await w.pass_time(120)
        assert w.commands.count("ctl in web1") == 4
        assert pages(w) == []


# What cannot be told is no verdict.


async def test_going_blind_after_the_last_step_neither_exhausts_nor_recovers(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.set("error_ratio", checkout=0.5)
        await w.clock.run_until(lambda: len(w.ran) == 2)
        w.query_status = QueryStatus.UNREACHABLE
        await w.pass_time(900)
        (incident,) = await w.incidents()
        assert incident.open
        assert incident.hold is not None
        assert incident.hold.gate == "blind"
        w.query_status = QueryStatus.SEEN
        w.set("error_ratio", checkout=0.0)
        await w.pass_time(60)
        assert (await w.incidents())[0].verdict is Verdict.RECOVERED


async def test_a_hold_is_journalled_once_with_its_gate(tmp_path: Path) -> None:
    async with world(tmp_path, RULES + "    mode: observe\n") as w:
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(600)
        held = [entry for entry in await w.journal() if entry.kind is EntryKind.HELD]
        assert [entry.data["gate"] for entry in held] == ["observe"]


# A target that cannot be reached.


PROBED = RULES.replace(
    "{restart: [ctl, restart, checkout],", "{probe: [ctl, probe, checkout], restart: [ctl, restart, checkout],"
)


async def test_a_target_that_cannot_be_reached_uses_up_no_step(tmp_path: Path) -> None:
    async with world(tmp_path, PROBED, NO_BREACH) as w:
        w.heals("ctl restart checkout", checkout=0.0)
        w.effect("ctl probe checkout", Effect(exit_code=255))
        w.set("error_ratio", checkout=0.5, search=0.0)
        await w.pass_time(300)
        (incident,) = await w.incidents()
        assert incident.hold is not None
        assert incident.hold.gate == "target_unreachable"
        assert incident.runs == ()
        # It takes a second to be asked; then it is asked again after 5 s, 10 s, 20 s, …
        asked = [at for at, command in w.ran]
        assert {command for _, command in w.ran} == {"ctl probe checkout"}
        waits = [later - earlier for earlier, later in itertools.pairwise(asked)]
        assert [round(wait) for wait in waits] == [6, 11, 21, 41, 81]
        assert pages(w) == []
        await w.pass_time(900)
        assert pages(w) == ["RemediationBlocked"]

        w.effect("ctl probe checkout", Effect())
        await w.pass_time(400)
        (incident,) = await w.incidents()
        assert [run.action for run in incident.runs] == ["restart"]
        assert incident.verdict is Verdict.RECOVERED
        assert pages(w) == []


async def test_a_target_is_asked_before_each_step_and_not_while_another_gate_holds(tmp_path: Path) -> None:
    async with world(tmp_path, PROBED.replace("    steps:", "    mode: approve\n    steps:"), NO_BREACH) as w:
        w.set("error_ratio", checkout=0.5, search=0.0)
        await w.pass_time(120)
        assert w.ran == []
        (incident,) = await w.incidents()
        await w.store.answer(incident.id, Approval(True, "ada", "", w.clock.now()))
        w.engine.on_operator_action()
        await w.pass_time(300)
        assert w.commands == [
            "ctl probe checkout",
            "ctl restart checkout",
            "ctl probe checkout",
            "ctl rollback checkout",
        ]


@pytest.mark.parametrize(
    ("by", "gate"),
    [(Suppression(inhibited_by=("NodeDown",)), "inhibited"), (Suppression(muted_by=("nights",)), "muted")],
)
async def test_what_alertmanager_keeps_from_people_is_left_alone_until_it_does_not(
    tmp_path: Path, by: Suppression, gate: str
) -> None:
    async with world(tmp_path) as w:
        alert = await w.fire(service="checkout", severity="critical")
        w.engine.on_suppressed({alert.fingerprint: by})
        w.heals("ctl restart checkout", checkout=0.0)
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(60)
        assert w.commands == []
        held = {one.alert.name: one.gate for one in await w.store.firing_alerts()}
        assert held["HighErrors"] == gate
        w.engine.on_suppressed({})
        await w.pass_time(60)
        assert w.commands == ["ctl restart checkout"]


@pytest.mark.slow
async def test_a_large_fleet_is_not_asked_all_at_once(tmp_path: Path) -> None:
    rules = fleet(60).replace("{command: {", "{command: {probe: [ctl, probe], ")
    async with world(tmp_path, rules, Policy(settle=0.0, panic=NO_PANIC)) as w:
        for name in w.rulebook.named:
            w.heals(f"ctl restart {name}", **{name: 0.0})
        w.set("error_ratio", **dict.fromkeys(w.rulebook.named, 0.5))
        await w.pass_time(1800)
        assert w.most_under_way <= PROBES + w.policy.concurrent
        # The rate of all runbooks together lets 30 commands an hour through.
        assert sum(command.startswith("ctl restart") for command in w.commands) == 30


TEMPLATED = """
services:
  - name: '{{ labels.namespace }}/{{ labels.deployment }}'
    match: ['deployment!=""']
    target: {command: {restart: [ctl, restart, '{{ service.name }}']}}
runbooks:
  - {name: web, steps: [restart]}
"""


@pytest.mark.parametrize("deployment", ["b\0c", "x" * 5000], ids=["NUL", "long"])
async def test_an_alert_that_no_service_can_be_named_by_is_nobodys_and_stops_nothing(
    tmp_path: Path, deployment: str
) -> None:
    """One such alert ended the daemon, and again after each start."""
    async with world(tmp_path, TEMPLATED) as w:
        bad = await w.fire("Bad", namespace="shop", deployment=deployment, severity="critical")
        await w.fire("Good", namespace="shop", deployment="cart", severity="critical")
        await w.pass_time(20)
        await w.crashed()
        await w.opened()
        await w.pass_time(20)
        assert not any(task.done() for task in w.tasks)
        assert w.commands == ["ctl restart shop/cart"]
        (nobodys,) = await w.store.alerts_with(bad.fingerprint)
        assert nobodys.disposition is Disposition.NO_SERVICE
        assert nobodys.text.startswith("cannot name its service: ")


# Observing.


async def test_observing_tells_what_the_dependency_and_the_budgets_would_hold(tmp_path: Path) -> None:
    rules = CHAIN.replace("cooldown: 5m", "cooldown: 5m, blast_radius: 1") + "    mode: observe\n"
    async with world(tmp_path, rules, Policy(settle=0.0, panic=NO_PANIC)) as w:
        w.set("error_ratio", cart=0.5, search=0.5, postgres=0.5)
        await w.pass_time(60)
        held = {incident.service: incident.hold for incident in await w.incidents()}
        assert held["cart"] is not None
        assert held["cart"].text.startswith("would wait for postgres, which is failed")
        assert held["postgres"] is not None
        assert held["postgres"].gate == "observe"
        w.set("error_ratio", postgres=0.0)
        await w.pass_time(300)
        # Of the two that are left one would be healed, and the other would wait for it, also after a restart.
        gates = {incident.service: incident.hold.gate for incident in await w.incidents() if incident.hold}
        assert sorted(gates.values()) == ["blast_radius", "observe"]
        await w.crashed()
        await w.opened()
        await w.pass_time(60)
        assert {i.service: i.hold.gate for i in await w.incidents() if i.hold} == gates
        assert w.ran == []


async def test_what_would_have_been_run_costs_what_is_really_run_nothing(tmp_path: Path) -> None:
    rules = fleet(4, limits="{cooldown: 5m}").replace(
        "  - name: web\n", "  - name: web\n    match: ['service!=\"s0\"']\n"
    )
    rules += "  - name: watched\n    mode: observe\n    steps: [restart]\n"
    async with world(tmp_path, rules, Policy(settle=0.0, panic=NO_PANIC, rate=(Rate(1, 3600.0),))) as w:
        w.heals("ctl restart s1", s1=0.0)
        w.set("error_ratio", s0=0.5)
        await w.pass_time(60)
        w.set("error_ratio", s1=0.5)
        await w.pass_time(60)
        assert w.commands == ["ctl restart s1"]


@pytest.mark.slow
async def test_a_panic_in_a_fleet_that_only_observes_calls_nobody(tmp_path: Path) -> None:
    async with world(tmp_path, fleet(10) + "    mode: observe\n", NO_BREACH) as w:
        w.set("error_ratio", **{f"s{n}": 0.5 for n in range(6)})
        await w.pass_time(3600)
        assert {incident.hold.gate for incident in await w.incidents() if incident.hold} == {"panic"}
        assert pages(w) == []
        w.query_status = QueryStatus.UNREACHABLE
        await w.pass_time(1800)
        assert pages(w) == []


async def test_an_open_incident_is_healed_once_its_runbook_may_act(tmp_path: Path) -> None:
    async with world(tmp_path, RULES + "    mode: observe\n") as w:
        w.heals("ctl restart checkout", checkout=0.0)
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(60)
        assert w.ran == []
        (tmp_path / "rules.yml").write_text(RULES)
        rulebook, _ = load_rules([tmp_path / "rules.yml"], service_label="service")
        await w.engine.reload(rulebook, w.policy)
        await w.pass_time(60)
        assert w.commands == ["ctl restart checkout"]


async def test_a_relapse_after_the_last_step_says_how_long_that_had_helped(tmp_path: Path) -> None:
    async with world(tmp_path, RULES.replace("[restart, rollback]", "[restart]")) as w:
        w.heals("ctl restart checkout", checkout=0.0)
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(300)
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(60)
        (_, relapse) = await w.incidents()
        assert relapse.closing.startswith("restart had helped for 4m")
        assert " only, the runbook has nothing after it, and it is failed: " in relapse.closing


async def test_where_nothing_was_run_it_says_why_not(tmp_path: Path) -> None:
    async with world(tmp_path, RULES.replace("[restart, rollback]", "[{restart: , when: [degraded]}]")) as w:
        w.set("error_ratio", checkout=0.5)
        await w.pass_time(60)
        (incident,) = await w.incidents()
        assert incident.closing.startswith(
            "no step was run (restart is for when it is degraded, and it is failed) and it is failed: "
        )

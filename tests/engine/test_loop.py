"""The loop on virtual time, with the real store, evaluator, gates and rules: one story each."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from world import NO_PANIC, RULES, Effect, world

from remediator.config.policy import Policy
from remediator.model.action import Call, Outcome, Result
from remediator.model.health import Health, QueryStatus
from remediator.model.incident import Approval, Disposition, EntryKind, Verdict
from remediator.model.rules import Rate


async def test_a_breached_threshold_is_healed_and_verified(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.heals("ctl restart checkout", checkout=0.0)
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(60)
        (incident,) = await w.incidents()
        assert w.commands == ["ctl restart checkout"]
        assert incident.verdict is Verdict.RECOVERED
        assert incident.health is Health.FAILED
        assert incident.runs[0].outcome is Outcome.SUCCEEDED
        assert incident.closed_at is not None
        assert incident.runs[0].ended_at is not None
        assert incident.closed_at >= incident.runs[0].ended_at + 10
        kinds = [entry.kind for entry in await w.journal()]
        assert kinds == [
            EntryKind.INCIDENT_OPENED,
            EntryKind.STEP_STARTED,
            EntryKind.STEP_ENDED,
            EntryKind.INCIDENT_CLOSED,
        ]


async def test_the_next_step_comes_only_when_the_window_has_passed_unhealed(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.heals("ctl rollback checkout", checkout=0.01)
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(200)
        (restart_at, restart), (rollback_at, rollback) = w.ran
        assert (restart, rollback) == ("ctl restart checkout", "ctl rollback checkout")
        assert rollback_at - restart_at >= 61
        assert [i.verdict for i in await w.incidents()] == [Verdict.RECOVERED]


async def test_exhausted_then_left_alone_for_the_cooldown_but_not_for_ever(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(200)
        (first,) = await w.incidents()
        assert first.verdict is Verdict.EXHAUSTED
        assert len(w.ran) == 2
        await w.pass_time(220)
        assert len(w.ran) == 2
        await w.pass_time(400)
        assert len(w.ran) > 2


async def test_an_alert_is_decided_on_values_as_fresh_as_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.heals("ctl restart checkout", checkout=0.0)
        # The next round by itself would be up to five seconds away.
        w.set("error_ratio", checkout=0.5)
        await w.fire(service="checkout", severity="critical")
        await w.pass_time(0)
        assert w.commands == ["ctl restart checkout"]


QUIET = """
services:
  - {name: mail, target: {command: {restart: [ctl, restart, mail]}}}
runbooks:
  - {name: any, steps: [restart], verify: {healthy_for: 5s, within: 30s}, limits: {cooldown: 1m}}
"""


async def test_a_severity_that_is_not_actionable_acts_on_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, QUIET) as w:
        for severity in ("info", "none", "whatever"):
            await w.fire(f"Odd-{severity}", service="mail", severity=severity)
        await w.pass_time(60)
        assert w.ran == []
        assert await w.incidents() == []
        found = {s.alert.name: (s.disposition, s.text) for s in await w.store.alerts()}
        assert found == {
            f"Odd-{severity}": (Disposition.NOT_ACTIONABLE, f"severity {severity} is not actionable")
            for severity in ("info", "none", "whatever")
        }
        view = w.observer.view("mail", w.clock.now())
        assert view is not None
        assert view.health is Health.HEALTHY


async def test_what_is_not_actionable_neither_joins_a_heal_nor_hinders_its_recovery(tmp_path: Path) -> None:
    async with world(tmp_path, QUIET) as w:
        await w.fire("Odd", service="mail", severity="info")
        alert = await w.fire("Down", service="mail", severity="CRITICAL")
        await w.pass_time(10)
        assert w.commands == ["ctl restart mail"]
        await w.resolve(alert)
        await w.pass_time(2)
        # Healthy since the alert that spoke ended, and so not for long enough yet.
        assert [i.verdict for i in await w.incidents()] == [None]
        await w.pass_time(30)
        assert [i.verdict for i in await w.incidents()] == [Verdict.RECOVERED]
        found = {s.alert.name: s.disposition for s in await w.store.alerts()}
        assert found["Odd"] is Disposition.NOT_ACTIONABLE


async def test_thresholds_outweigh_a_severity(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.set("error_ratio", checkout=0.5)
        w.heals("ctl restart checkout", checkout=0.0)
        await w.fire(service="checkout", severity="info")
        await w.pass_time(5)
        assert w.commands == ["ctl restart checkout"]


async def test_an_alert_that_asks_for_nothing_is_not_believed_against_thresholds(tmp_path: Path) -> None:
    async with world(tmp_path, RULES + "    corroborate: false\n") as w:
        await w.fire(service="checkout", severity="info")
        await w.pass_time(60)
        assert w.ran == []
        assert [s.disposition for s in await w.store.alerts()] == [Disposition.NOT_ACTIONABLE]


async def test_an_alert_that_the_thresholds_contradict_runs_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        alert = await w.fire(service="checkout", severity="critical")
        await w.pass_time(120)
        assert w.ran == []
        (stored,) = await w.store.alerts()
        assert stored.disposition is Disposition.NOT_CORROBORATED
        assert stored.alert.key == alert.key
        assert "is not corroborated: " in stored.text


async def test_corroborate_false_believes_the_alert(tmp_path: Path) -> None:
    async with world(tmp_path, RULES + "    corroborate: false\n") as w:
        alert = await w.fire(service="checkout", severity="critical")
        await w.pass_time(20)
        assert w.commands == ["ctl restart checkout"]
        await w.resolve(alert)
        await w.pass_time(30)
        assert [i.verdict for i in await w.incidents()] == [Verdict.RECOVERED]


async def test_every_alert_is_accounted_for(tmp_path: Path) -> None:
    rules = (
        RULES.replace("name: web\n", "name: web\n    match: ['team!=\"none\"']\n")
        + """
"""
    )
    rules = rules.replace("- {name: search,", "- {name: search, labels: {team: none},")
    async with world(tmp_path, rules) as w:
        w.set("error_ratio", checkout=0.2, search=0.2)
        await w.fire("A", service="checkout", severity="critical")
        await w.fire("B", service="checkout", severity="warning")
        await w.fire("C", service="search", severity="critical")
        await w.fire("D", service="nobody", severity="critical")
        await w.pass_time(3)
        found = {s.alert.name: s.disposition for s in await w.store.alerts()}
        assert found == {
            "A": Disposition.OPENED,
            "B": Disposition.JOINED,
            "C": Disposition.NO_RUNBOOK,
            "D": Disposition.NO_SERVICE,
            "error_ratio": found["error_ratio"],
        }
        counted = {
            sample.labels["disposition"]: sample.value
            for metric in w.metrics.alerts.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        }
        assert sum(counted.values()) == len(await w.store.alerts())


async def test_a_resolved_notification_neither_heals_nor_ends_anything(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.set("error_ratio", checkout=0.2)
        w.effect("ctl restart checkout", Effect(takes=30))
        alert = await w.fire(service="checkout", severity="critical")
        await w.pass_time(5)
        await w.resolve(alert)
        await w.pass_time(20)
        assert w.under_way == 1
        (incident,) = await w.incidents()
        assert incident.open
        await w.pass_time(400)
        assert w.commands == ["ctl restart checkout", "ctl rollback checkout"]


async def test_the_same_alert_sent_a_hundred_times_heals_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.heals("ctl restart checkout", checkout=0.0)
        w.set("error_ratio", checkout=0.2)
        first = w.clock.now()
        for _ in range(100):
            await w.fire(service="checkout", severity="critical", at=first)
        await w.pass_time(120)
        assert w.commands == ["ctl restart checkout"]
        assert len(await w.incidents()) == 1


@pytest.mark.parametrize(
    "query_status",
    [QueryStatus.UNREACHABLE, QueryStatus.BAD_DATA, QueryStatus.TIMEOUT, QueryStatus.EXECUTION, QueryStatus.BAD_ANSWER],
)
async def test_what_cannot_be_seen_is_not_touched(tmp_path: Path, query_status: QueryStatus) -> None:
    async with world(tmp_path) as w:
        w.query_status = query_status
        await w.fire(service="checkout", severity="critical")
        await w.pass_time(120)
        assert w.ran == []
        (stored,) = await w.store.alerts()
        assert stored.disposition is Disposition.HELD
        assert stored.gate == "blind"


async def test_going_blind_while_verifying_neither_recovers_nor_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(10)
        assert w.commands == ["ctl restart checkout"]
        w.query_status = QueryStatus.UNREACHABLE
        await w.pass_time(600)
        (incident,) = await w.incidents()
        assert incident.open
        assert incident.hold is not None
        assert incident.hold.gate == "blind"
        assert w.commands == ["ctl restart checkout"]
        w.query_status = QueryStatus.SEEN
        w.set("error_ratio", checkout=0.0)
        await w.pass_time(60)
        assert [i.verdict for i in await w.incidents()] == [Verdict.RECOVERED]


async def test_a_pause_holds_and_ends_by_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.heals("ctl restart checkout", checkout=0.0)
        now = w.clock.now()
        await w.store.add_pause((), now, now + 120, "ada", "database move")
        w.engine.on_operator_action()
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(100)
        assert w.ran == []
        assert (await w.incidents())[0].hold.gate == "paused"  # type: ignore[union-attr]
        await w.pass_time(60)
        assert w.commands == ["ctl restart checkout"]


async def test_observe_mode_tells_what_it_would_do_and_runs_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, RULES + "    mode: observe\n") as w:
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(60)
        assert w.ran == []
        (incident,) = await w.incidents()
        assert incident.hold is not None
        assert incident.hold.text == ("runbook web is in observe mode: would run restart: restart checkout")
        w.set("error_ratio", checkout=0.0)
        await w.pass_time(60)
        assert [i.verdict for i in await w.incidents()] == [Verdict.CLEARED]


async def test_concurrency_lets_so_many_run_and_the_rest_follow(tmp_path: Path) -> None:
    names = [f"s{n}" for n in range(10)]
    services = "".join(f"  - {{name: {n}, target: {{command: {{restart: [ctl, restart, {n}]}}}}}}\n" for n in names)
    rules = f"services:\n{services}" + RULES[RULES.index("thresholds:") :].replace("[restart, rollback]", "[restart]")
    async with world(tmp_path, rules, Policy(concurrent=3, settle=0.0, panic=NO_PANIC)) as w:
        for name in names:
            w.effect(f"ctl restart {name}", Effect(takes=7))
        w.set("error_ratio", **dict.fromkeys(names, 0.5))
        await w.pass_time(8)
        assert len(w.ran) == 3
        await w.pass_time(60)
        assert w.most_under_way == 3
        assert sorted(w.commands) == sorted(f"ctl restart {name}" for name in names)


async def test_a_global_rate_is_kept(tmp_path: Path) -> None:
    async with world(tmp_path, policy=Policy(settle=0.0, rate=(Rate(1, 600.0),))) as w:
        w.set("error_ratio", checkout=0.2, search=0.2)
        await w.pass_time(590)
        assert len(w.ran) == 1
        await w.pass_time(30)
        assert len(w.ran) == 2


async def test_a_hung_command_ends_at_its_timeout_and_is_not_run_again(tmp_path: Path) -> None:
    rules = RULES.replace("steps: [restart, rollback]", "steps: [{restart: , timeout: 20s}]")
    async with world(tmp_path, rules) as w:
        w.effect("ctl restart checkout", Effect(takes=1e6))
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(150)
        (incident,) = await w.incidents()
        assert incident.runs[0].outcome is Outcome.TIMED_OUT
        assert incident.verdict is Verdict.EXHAUSTED
        assert w.commands == ["ctl restart checkout"]


async def test_unless_holds_until_the_guard_is_false(tmp_path: Path) -> None:
    rules = RULES.replace("steps: [restart, rollback]", "steps: [{restart: , unless: rollout_in_progress}]")
    async with world(tmp_path, rules) as w:
        w.guards["rollout_in_progress"] = True
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(60)
        assert w.ran == []
        assert (await w.incidents())[0].hold.gate == "guard"  # type: ignore[union-attr]
        w.guards["rollout_in_progress"] = False
        await w.pass_time(40)
        assert w.commands == ["ctl restart checkout"]


async def test_if_is_decided_when_its_step_is_first_offered_also_by_another_process(tmp_path: Path) -> None:
    rules = RULES.replace("steps: [restart, rollback]", "steps: [{rollback: , if: recent_deploy}]")
    async with world(tmp_path, rules + "    mode: approve\n") as w:
        w.guards["recent_deploy"] = True
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(60)
        (incident,) = await w.incidents()
        assert incident.hold.gate == "approval"  # type: ignore[union-attr]
        # Half an hour after the deploy nobody has answered yet.
        w.guards["recent_deploy"] = False
        await w.pass_time(600)
        await w.crashed()
        await w.opened()
        await w.pass_time(600)
        (incident,) = await w.incidents()
        assert incident.open
        assert incident.hold.gate == "approval"  # type: ignore[union-attr]
        await w.store.answer(incident.id, Approval(True, "ada", "", w.clock.now()))
        w.engine.on_operator_action()
        await w.pass_time(20)
        assert w.commands == ["ctl rollback checkout"]


@pytest.mark.parametrize(
    ("condition", "runs"),
    [("{unless: rollout, guard_empty: false}", True), ("{unless: rollout}", False), ("{if: rollout}", False)],
)
async def test_a_condition_that_is_empty_holds_unless_it_is_said_to_be_false(
    tmp_path: Path, condition: str, runs: bool
) -> None:
    rules = RULES.replace("steps: [restart, rollback]", "steps: [{restart: , " + condition.strip("{}") + "}]")
    async with world(tmp_path, rules) as w:
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(60)
        assert bool(w.ran) is runs
        if not runs:
            (incident,) = await w.incidents()
            assert incident.hold is not None
            assert (
                incident.hold.text
                == "cannot tell whether rollout is true: its answer is empty, so that what it asks about may be missing"
            )


async def test_evidence_is_gathered_before_the_first_step_that_is_run(tmp_path: Path) -> None:
    rules = RULES.replace(
        "rollback: [ctl, rollback, checkout]", "diagnose: [ctl, status, checkout], rollback: [ctl, back]"
    )
    async with world(tmp_path, rules.replace("[restart, rollback]", "[{restart: , if: needed}, rollback]")) as w:
        w.guards["needed"] = False
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(30)
        assert w.commands == ["ctl status checkout", "ctl back"]


async def test_a_forced_heal_overrides_mode_and_cooldown_and_is_verified(tmp_path: Path) -> None:
    async with world(tmp_path, RULES + "    mode: observe\n") as w:
        async with w.clock.busy():
            pass
        answer = await w.engine.heal("checkout", "ada", "after the move", force=True)
        assert answer is not None
        await w.pass_time(60)
        assert w.commands == ["ctl restart checkout"]
        (incident,) = await w.incidents()
        assert incident.verdict is Verdict.RECOVERED
        assert incident.text == "asked for by ada: after the move"
        assert await w.store.firing_alerts() == []
        assert await w.engine.heal("nobody", "ada", "", force=True) is None


async def test_dependents_wait_for_the_root_cause_and_clear_by_themselves(tmp_path: Path) -> None:
    rules = RULES.replace("{name: checkout,", "{name: checkout, depends_on: [search],")
    async with world(tmp_path, rules) as w:
        w.heals("ctl restart search", checkout=0.0, search=0.0)
        w.set("error_ratio", checkout=0.2, search=0.2)
        await w.pass_time(120)
        assert w.commands == ["ctl restart search"]
        verdicts = {i.service: i.verdict for i in await w.incidents()}
        assert verdicts == {"search": Verdict.RECOVERED, "checkout": Verdict.CLEARED}
        held = [entry for entry in await w.journal() if entry.kind is EntryKind.HELD]
        assert held[0].text.startswith("waits for search, which is failed: ")


@pytest.mark.parametrize("moment", [0.5, 3.0, 8.0, 30.0])
async def test_a_crash_runs_nothing_twice_and_goes_on(tmp_path: Path, moment: float) -> None:
    """Killed while a step runs, and while it is verified."""
    async with world(tmp_path) as w:
        w.effect("ctl restart checkout", Effect(takes=6.0))
        w.heals("ctl rollback checkout", checkout=0.0)
        w.set("error_ratio", checkout=0.2)
        await w.clock.run_until(lambda: w.ran)
        await w.pass_time(moment)
        await w.crashed()
        await w.pass_time(20)
        await w.opened()
        await w.pass_time(300)
        assert w.commands == ["ctl restart checkout", "ctl rollback checkout"]
        (incident,) = await w.incidents()
        assert incident.verdict is Verdict.RECOVERED
        if moment < 6:
            assert incident.runs[0].outcome is Outcome.UNKNOWN


async def test_a_step_interrupted_by_a_crash_that_had_helped_closes_as_recovered(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.effect("ctl restart checkout", Effect(takes=6.0))
        w.set("error_ratio", checkout=0.2)
        await w.clock.run_until(lambda: w.ran)
        await w.crashed()
        w.set("error_ratio", checkout=0.0)
        await w.opened()
        await w.pass_time(60)
        (incident,) = await w.incidents()
        assert incident.verdict is Verdict.RECOVERED
        assert w.commands == ["ctl restart checkout"]


async def test_an_open_incident_finishes_the_text_it_started_with(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.set("error_ratio", checkout=0.2)
        await w.clock.run_until(lambda: w.ran)
        other = tmp_path / "other.yml"
        other.write_text(RULES.replace("ctl, rollback, checkout", "ctl, other, checkout"))
        from remediator.rules.loader import load_rules

        rulebook, _ = load_rules([other], service_label="service")
        w.evaluator.swap(rulebook)
        await w.engine.reload(rulebook, w.policy)
        await w.pass_time(120)
        assert w.commands == ["ctl restart checkout", "ctl rollback checkout"]


async def test_a_false_resolved_of_a_dead_prometheus_is_no_recovery(tmp_path: Path) -> None:
    rules = RULES[: RULES.index("thresholds:")] + RULES[RULES.index("runbooks:") :]
    async with world(tmp_path, rules) as w:
        alert = await w.fire(service="checkout", severity="critical")
        await w.pass_time(10)
        assert w.commands == ["ctl restart checkout"]
        w.query_status = QueryStatus.UNREACHABLE
        await w.pass_time(30)
        await w.resolve(alert)
        await w.pass_time(300)
        (incident,) = await w.incidents()
        assert incident.open
        assert w.commands == ["ctl restart checkout"]


async def test_a_crash_between_commit_and_spawn_runs_nothing_twice(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        spawned = w.run
        reached: list[str] = []

        async def dies_before_spawning(call: Call) -> Result:
            reached.append(" ".join(call.argv))
            await asyncio.Event().wait()
            raise AssertionError("never goes on")

        w.engine._step_tasks._run = dies_before_spawning
        w.set("error_ratio", checkout=0.2)
        await w.clock.run_until(lambda: reached)
        (open_now,) = await w.incidents()
        assert open_now.running is not None
        await w.crashed()
        w.run = spawned  # type: ignore[method-assign]
        w.heals("ctl rollback checkout", checkout=0.0)
        await w.opened()
        await w.pass_time(300)
        assert w.commands == ["ctl rollback checkout"]
        (incident,) = await w.incidents()
        assert [run.outcome for run in incident.runs] == [Outcome.UNKNOWN, Outcome.SUCCEEDED]
        assert incident.verdict is Verdict.RECOVERED

"""The world on virtual time: the real engine, with everything around it under the story's control."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from itertools import zip_longest
from pathlib import Path

import pytest

from remediator.config.policy import Policy
from remediator.model.action import Outcome
from remediator.model.health import Health, QueryStatus
from remediator.model.incident import EntryKind, Verdict
from remediator.model.matcher import parse_matcher
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Rate
from remediator.model.time_interval import Maintenance, Span, TimeInterval
from remediator.rules.loader import load_rules
from remediator.simulation.scenario import Scenario, rehearse
from remediator.simulation.scripted import Effect, ScriptedSeries
from remediator.simulation.virtual_loop import START, StandstillError, run_virtually

RULES = """
services:
  - {name: checkout, target: {command: {restart: [ctl, restart, checkout], rollback: [ctl, rollback, checkout]}}}
  - {name: search, target: {command: {restart: [ctl, restart, search], rollback: [ctl, rollback, search]}}}
thresholds:
  - {name: error_ratio, expr: error_ratio, degraded: '>= 0.05', failed: '> 0.10'}
runbooks:
  - name: web
    steps: [{restart: , unless: rollout}, rollback]
    verify: {healthy_for: 10s, within: 60s}
    limits: {cooldown: 5m}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Rulebook:
    return rulebook(tmp_path, RULES)


def rulebook(folder: Path, text: str) -> Rulebook:
    file = folder / "rules.yml"
    file.write_text(text)
    return load_rules([file], service_label="service")[0]


def healthy(scenario: Scenario) -> None:
    scenario.set("error_ratio", 0, service="checkout")
    scenario.set("error_ratio", 0, service="search")


# Time.


def test_time_leaps_from_one_thing_to_the_next() -> None:
    async def story() -> list[float]:
        loop, seen = asyncio.get_running_loop(), []
        loop.call_later(0.25, lambda: seen.append(loop.time()))
        await asyncio.sleep(1e7)
        try:
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        except TimeoutError:
            seen.append(loop.time())
        return seen

    started = time.monotonic()
    assert run_virtually(story) == [START + 0.25, START + 1e7 + 30]
    assert time.monotonic() - started < 60


def test_what_would_go_to_a_thread_is_done_at_once() -> None:
    async def story() -> threading.Thread:
        return await asyncio.to_thread(threading.current_thread)

    assert run_virtually(story) is threading.current_thread()


def test_waiting_for_what_nobody_will_do_is_an_error() -> None:
    async def story() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StandstillError, match="nobody will do"):
        run_virtually(story)


def test_a_line_keeps_its_last_value_and_forgets_what_was_to_come() -> None:
    line = ScriptedSeries({"service": "checkout"})
    line.put(100, [0, 1, None, 2], 10)
    assert [line.at(time) for time in (99, 100, 109.9, 110, 120, 130, 1e6)] == [None, 0, 0, 1, None, 2, 2]
    line.put(110, [7], 10)
    assert [line.at(time) for time in (109, 110, 1e6)] == [0, 7, 7]


# Stories.


def test_a_breach_is_healed_and_verified(rules: Rulebook) -> None:
    async def story(scenario: Scenario) -> None:
        healthy(scenario)
        scenario.command("ctl restart *", Effect(takes=2, then=lambda: healthy(scenario), output="restarted"))
        await scenario.pass_time(60)
        scenario.set("error_ratio", 0.2, service="checkout")
        await scenario.pass_time(60)
        (incident,) = await scenario.incidents()
        assert scenario.commands == ["ctl restart checkout"]
        assert incident.verdict is Verdict.RECOVERED
        assert incident.runs[0].output == "restarted"
        assert [entry.kind for entry in await scenario.journal()] == [
            EntryKind.INCIDENT_OPENED,
            EntryKind.STEP_STARTED,
            EntryKind.STEP_ENDED,
            EntryKind.INCIDENT_CLOSED,
        ]
        labels = {"service": "checkout", "runbook": "web", "action": "restart", "verdict": "recovered"}
        assert await scenario.metric("remediator_heals_total", **labels) == 1
        assert await scenario.metric("remediator_service_health", service="checkout", health="healthy") == 1

    rehearse(rules, story)


def test_the_same_story_has_the_same_end(rules: Rulebook) -> None:
    async def story(scenario: Scenario) -> list[str]:
        healthy(scenario)
        for second in range(1, 20):
            scenario.at(
                60.0 * second, lambda second=second: scenario.set("error_ratio", second % 3 / 9, service="search")
            )
        await scenario.pass_time(700)
        await scenario.crash()
        await scenario.pass_time(13)
        await scenario.boot()
        await scenario.pass_time(3600)
        return [str(entry) for entry in await scenario.journal()] + [str(ran) for ran in scenario.ran]

    first = rehearse(rules, story)
    assert len(first) > 10
    assert rehearse(rules, story) == first


def test_commands_hang_fail_and_differ_from_call_to_call(rules: Rulebook) -> None:
    async def story(scenario: Scenario) -> None:
        scenario.command("ctl restart *", Effect(hangs=True))
        scenario.command("ctl rollback *", Effect(exit_code=3), Effect(then=lambda: healthy(scenario)))
        healthy(scenario)
        await scenario.pass_time(30)
        scenario.set("error_ratio", 0.2, service="checkout")
        assert await scenario.until(lambda: len(scenario.ran) == 2, within=300)
        await scenario.pass_time(30)
        (incident,) = await scenario.incidents()
        assert [run.outcome for run in incident.runs] == [Outcome.TIMED_OUT, Outcome.FAILED]
        assert incident.verdict is Verdict.EXHAUSTED

    rehearse(rules, story)


def test_a_crash_in_the_middle_of_a_command_is_not_repeated(rules: Rulebook) -> None:
    async def story(scenario: Scenario) -> None:
        healthy(scenario)
        scenario.command("ctl restart *", Effect(takes=20))
        await scenario.pass_time(30)
        scenario.set("error_ratio", 0.2, service="checkout")
        assert await scenario.until(lambda: scenario.environment.under_way == 1)
        await scenario.crash()
        assert scenario.environment.under_way == 0
        assert scenario.view("checkout") is None
        await scenario.pass_time(60)
        await scenario.boot()
        await scenario.pass_time(30)
        (incident,) = await scenario.open_incidents()
        assert [run.outcome for run in incident.runs] == [Outcome.UNKNOWN]
        assert scenario.commands == ["ctl restart checkout"]

    rehearse(rules, story)


def test_shut_down_gives_a_running_command_its_time(rules: Rulebook) -> None:
    async def story(scenario: Scenario) -> None:
        healthy(scenario)
        scenario.command("ctl restart *", Effect(takes=5))
        await scenario.pass_time(30)
        scenario.set("error_ratio", 0.2, service="checkout")
        assert await scenario.until(lambda: scenario.environment.under_way == 1)
        await scenario.shut_down()
        await scenario.boot()
        (incident,) = await scenario.open_incidents()
        assert [run.outcome for run in incident.runs] == [Outcome.SUCCEEDED]

    rehearse(rules, story)


def test_an_unreachable_prometheus_leaves_everything_alone(rules: Rulebook) -> None:
    async def story(scenario: Scenario) -> None:
        healthy(scenario)
        await scenario.pass_time(30)
        scenario.prometheus_down()
        scenario.set("error_ratio", 0.2, service="checkout")
        await scenario.fire("HighErrors", service="checkout")
        await scenario.pass_time(600)
        assert scenario.health("checkout") is Health.UNKNOWN
        assert [page.labels["alertname"] for page in scenario.pages()] == ["RemediationBlocked"]
        assert scenario.commands == []
        scenario.prometheus_up()
        await scenario.pass_time(60)
        assert scenario.commands == ["ctl restart checkout"]

    rehearse(rules, story)


def test_guards_hold_and_let_pass(rules: Rulebook) -> None:
    async def story(scenario: Scenario) -> None:
        healthy(scenario)
        scenario.set("rollout", 1)
        await scenario.pass_time(30)
        scenario.set("error_ratio", 0.2, service="checkout")
        await scenario.pass_time(60)
        (incident,) = await scenario.incidents()
        assert incident.hold is not None
        assert incident.hold.gate == "guard"
        scenario.set("rollout", None)
        await scenario.pass_time(60)
        assert scenario.commands == []
        scenario.set("rollout", 0)
        scenario.refuse("rollout", QueryStatus.TIMEOUT)
        await scenario.pass_time(60)
        assert scenario.commands == []
        scenario.answer_again("rollout")
        await scenario.pass_time(60)
        assert scenario.commands == ["ctl restart checkout"]

    rehearse(rules, story)


def test_operators_pause_ask_approve_and_dismiss(tmp_path: Path) -> None:
    async def story(scenario: Scenario) -> None:
        healthy(scenario)
        await scenario.pass_time(30)
        pause = await scenario.pause('service="checkout"', for_=3600, comment="hands off")
        await scenario.heal("checkout", "please")
        await scenario.pass_time(1)
        (incident,) = await scenario.open_incidents()
        assert incident.hold is not None
        assert incident.hold.gate == "paused"
        await scenario.resume(pause.id)
        await scenario.pass_time(1)
        (incident,) = await scenario.open_incidents()
        assert incident.hold is not None
        assert incident.hold.gate == "approval"
        await scenario.approve(incident.id)
        await scenario.pass_time(0.5)
        assert scenario.commands == ["ctl restart checkout"]
        await scenario.pass_time(60)
        await scenario.heal("search", "please")
        await scenario.pass_time(1)
        (incident,) = await scenario.open_incidents()
        await scenario.dismiss(incident.id)
        await scenario.pass_time(1)
        assert [incident.verdict for incident in await scenario.incidents()] == [Verdict.RECOVERED, Verdict.DISMISSED]

    rehearse(rulebook(tmp_path, RULES.replace("steps:", "mode: approve\n    steps:")), story)


def test_alerts_come_and_go(rules: Rulebook) -> None:
    async def story(scenario: Scenario) -> None:
        healthy(scenario)
        await scenario.pass_time(30)
        alert = await scenario.fire("HighErrors", service="checkout")
        await scenario.pass_time(30)
        (stored,) = await scenario.alerts()
        assert stored.gate == "not_corroborated"
        await scenario.resolve(alert)
        await scenario.pass_time(1)
        (stored,) = await scenario.alerts()
        assert not stored.alert.firing
        assert scenario.commands == []

    rehearse(rules, story)


def test_a_reload_takes_effect(rules: Rulebook, tmp_path: Path) -> None:
    async def story(scenario: Scenario) -> None:
        healthy(scenario)
        await scenario.pass_time(30)
        await scenario.reload(rulebook(tmp_path, RULES.replace(">= 0.05", ">= 0.01")))
        scenario.set("error_ratio", 0.02, service="checkout")
        await scenario.pass_time(10)
        assert scenario.health("checkout") is Health.DEGRADED

    rehearse(rules, story)


# Leaving out looks.

TROUBLED = RULES.replace("failed: '> 0.10'", "failed: '> 0.10', for: 12s, keep_for: 20s")
HELD = """
services:
  - {name: checkout, target: {command: {restart: [ctl, restart, checkout], rollback: [ctl, rollback, checkout]}}}
  - name: search
    target: {command: {restart: [ctl, restart, search], rollback: [ctl, rollback, search]}}
    depends_on: [checkout]
  - {name: cart, target: {command: {restart: [ctl, restart, cart]}}}
  - {name: mail, target: {command: {restart: [ctl, restart, mail]}}}
thresholds:
  - {name: error_ratio, match: ['service!="mail"'], expr: error_ratio, degraded: '>= 0.05', failed: '> 0.10', for: 12s}
runbooks:
  - name: approved
    match: ['service="search"']
    mode: approve
    approve_within: 9m
    steps: [restart, {rollback: , if: rollout}]
    verify: {healthy_for: 10s, within: 60s}
    limits: {cooldown: 3m, breaker: 2/40m}
  - name: others
    steps: [{restart: , unless: rollout}]
    verify: {healthy_for: 25s, within: 50s}
    limits: {cooldown: 1m, rate: [3/20m], blast_radius: 1}
"""
CLOSED = Maintenance(
    "nightly", (TimeInterval(times=(Span(20, 31), Span(45, 46))),), (parse_matcher('service!="search"'),)
)


def told(rules: Rulebook, seed: int, policy: Policy, interval: float, *, leap: bool) -> list[str]:
    """What became of a random hour. Its times are sums of powers of two, so that no clock rounds them."""
    dice = random.Random(seed)
    names = sorted(rules.named)

    async def story(scenario: Scenario) -> list[str]:
        healthy(scenario)
        mended = 0.02 * dice.random()
        scenario.command(
            "ctl r* checkout", Effect(takes=3.25, then=lambda: scenario.set("error_ratio", mended, service="checkout"))
        )
        scenario.command("ctl rollback search", Effect(exit_code=1), Effect(hangs=True))
        while scenario.now < 3600:
            await scenario.pass_time(dice.choice([0, 1.75, 4.125, 61.25, 300.875]))
            name = dice.choice(names)
            match dice.randrange(9):
                case 0:
                    samples = [dice.choice([0, 0.01, 0.06, 0.2, None]) for _ in range(8)]
                    scenario.values("error_ratio", {"service": name}, samples, 17.25)
                case 1 | 2:
                    scenario.set("error_ratio", dice.choice([0.0, 0.07, 0.3]), service=name)
                case 3:
                    scenario.prometheus_down() if dice.random() < 0.5 else scenario.prometheus_up()
                case 4:
                    await scenario.fire("HighErrors", service=name)
                case 5:
                    await scenario.pause(f'service="{name}"', for_=100.5)
                case 6:
                    await scenario.heal(name, force=True)
                case 7:
                    await scenario.crash()
                    await scenario.pass_time(2.875)
                    await scenario.boot()
                case 8:
                    scenario.set("rollout", dice.choice([1, 0, None]))
        ends = [f"{scenario.health(name)}, {scenario.decision(name)}" for name in names]
        return [str(entry) for entry in await scenario.journal()] + [str(ran) for ran in scenario.ran] + ends

    return rehearse(rules, story, policy, interval, leap=leap)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(
    ("text", "policy", "interval"),
    [
        (TROUBLED, Policy(), 5.0),
        (HELD, Policy(maintenance=(CLOSED,), rate=(Rate(6, 1800.0),)), 5.0),
        # What was seen is stale before the next look.
        (HELD, Policy(), 40.0),
    ],
)
def test_what_is_left_out_would_have_changed_nothing(
    tmp_path: Path, text: str, policy: Policy, interval: float, seed: int
) -> None:
    rules = rulebook(tmp_path, text)
    leaping, awaits_evaluation = (told(rules, seed, policy, interval, leap=leap) for leap in (True, False))
    for left_out, all_made in zip_longest(leaping, awaits_evaluation):
        assert left_out == all_made, (left_out, all_made)


ENDLESS = """
  - name: web
    steps: [{restart: , unless: rollout}]
"""


@pytest.mark.parametrize(
    ("policy", "runbook", "gate"),
    [
        (Policy(auto_heal=False), "limits: {cooldown: 5m}", "auto_heal"),
        (Policy(), "mode: observe", "observe"),
        (Policy(rate=(Rate(1, 8 * 86400.0),)), "limits: {cooldown: 5m}", "rate_budget"),
        (Policy(), "limits: {breaker: 1/8d}", "breaker"),
        (Policy(maintenance=(Maintenance("nights", (TimeInterval(months=(Span(1, 12),)),)),)), "", "maintenance"),
    ],
)
def test_trouble_that_is_held_costs_nothing(tmp_path: Path, policy: Policy, runbook: str, gate: str) -> None:
    async def story(scenario: Scenario) -> int:
        healthy(scenario)
        scenario.set("error_ratio", 0.3, service="checkout")
        # A day for what comes before the gate holds.
        await scenario.pass_time(86_400)
        asked = scenario.environment.asked
        await scenario.pass_time(6 * 86_400)
        hold = scenario.hold("checkout")
        assert hold is not None
        assert hold.gate == gate
        return scenario.environment.asked - asked

    # Observing asks guards, as acting would.
    steps = ENDLESS.replace(", unless: rollout", "") if gate in ("auto_heal", "observe") else ENDLESS
    rules = rulebook(tmp_path, RULES.split("runbooks:")[0] + f"runbooks:{steps}    {runbook}\n")
    assert rehearse(rules, story, policy) < 100


def test_calm_costs_nothing(rules: Rulebook) -> None:
    async def story(scenario: Scenario) -> int:
        healthy(scenario)
        await scenario.pass_time(10_000 * 3600)
        assert scenario.health("checkout") is Health.HEALTHY
        return scenario.environment.asked

    assert rehearse(rules, story) < 10

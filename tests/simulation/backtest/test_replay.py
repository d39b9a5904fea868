"""Replays: the real engine over what was recorded, by either reading."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulation.backtest.remembered import DAY, START, Remembered, troubled

from remediator.config.policy import Policy
from remediator.engine.evaluator import Evaluator
from remediator.model.health import Health, parse_comparison
from remediator.model.matcher import parse_matcher
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Mode, Threshold
from remediator.rules.loader import load_rules
from remediator.simulation.backtest import replay as replaying
from remediator.simulation.backtest.analysis.compare import differences
from remediator.simulation.backtest.analysis.findings import Findings, findings
from remediator.simulation.backtest.data.alerts import RecordedAlerts
from remediator.simulation.backtest.data.history import ALERTS
from remediator.simulation.backtest.playback import healthy_value
from remediator.simulation.backtest.replay import ReplayReading, in_earnest, replay
from remediator.simulation.process import Process

RULES = """
services:
  - {name: checkout, target: {command: {restart: [ctl, restart, checkout], rollback: [ctl, rollback, checkout]}}}
  - name: search
    target: {command: {restart: [ctl, restart, search], rollback: [ctl, rollback, search]}}
    depends_on: [checkout]
  - {name: cart, target: {command: {restart: [ctl, restart, cart], rollback: [ctl, rollback, cart]}}}
thresholds:
  - name: error_ratio
    match: ['service!="cart"']
    expr: error_ratio
    degraded: '>= 0.05'
    failed: '> 0.10'
    for: 30s
    keep_for: 45s
  - {name: latency, match: ['service="checkout"'], expr: latency, failed: '> 1'}
runbooks:
  - name: web
    mode: observe
    steps: [restart, {rollback: , unless: 'deploying{service="{{ service.name }}"} > 0', guard_empty: false}]
    verify: {healthy_for: 30s, within: 2m}
    limits: {cooldown: 5m}
"""


def rules(folder: Path, text: str = RULES) -> Rulebook:
    (folder / "rules.yml").write_text(text)
    return in_earnest(load_rules([folder / "rules.yml"], service_label="service")[0], Policy())[0]


def shop() -> Remembered:
    """Two services and a metric of a guard, over a day."""
    remembered = Remembered()
    remembered.has("error_ratio", troubled((7200, 9000), (50_000, 50_060)), service="checkout")
    remembered.has("error_ratio", troubled(), service="search")
    remembered.has("latency", troubled(good=0.2), service="checkout")
    return remembered


def found(
    remembered: Remembered, folder: Path, reading: ReplayReading, book: Rulebook | None = None, **given: Any
) -> Findings:
    history = remembered.history(folder)
    book = book or rules(folder)
    left = replay(book, Policy(), history, reading, **given)
    return findings(left, reading, history.start, history.end, history.step, book.named)


def told(outcome: Findings) -> list[tuple[int, str, str, tuple[str, ...]]]:
    return [
        (round(t.since - START), t.service, t.verdict, tuple(command.action for command in t.commands))
        for t in outcome.troubles
    ]


def test_as_recorded_the_ladder_is_climbed_and_nothing_helps(tmp_path: Path) -> None:
    outcome = found(shop(), tmp_path, ReplayReading.RECORDED)
    first, *later = told(outcome)
    assert first == (7230, "checkout", "exhausted", ("restart", "rollback"))
    # Once more after the cooldown; then the recording has an end of the trouble, and later another short one.
    assert [verdict for _, _, verdict, _ in later] == ["exhausted", "exhausted", "recovered", "recovered"]
    assert later[-1][0] == 50_040
    assert outcome.actions["restart"] == 5
    checkout = next(service for service in outcome.services if service.name == "checkout")
    assert checkout.bad == pytest.approx(1800 + 45 + 60 + 45 - 2 * 30, abs=31)
    assert {held.gate for held in checkout.held} == {"cooldown"}
    assert outcome.busiest == (START + 7200, 1)
    assert outcome.hours == {START + 7200: 1, START + 46_800: 1}
    assert outcome.a_week(1) == 7


def test_cured_each_first_step_ends_the_trouble(tmp_path: Path) -> None:
    outcome = found(shop(), tmp_path, ReplayReading.CURED)
    assert told(outcome) == [
        (7230, "checkout", "recovered", ("restart",)),
        (50_040, "checkout", "recovered", ("restart",)),
    ]
    assert outcome.troubles[0].until == pytest.approx(START + 7230 + 90, abs=60)
    assert outcome.gates == {}


def test_a_cure_lasts_beyond_the_stretch_and_until_there_was_an_end(tmp_path: Path) -> None:
    remembered = Remembered()
    # The stretches are of four hours.
    remembered.has("error_ratio", troubled((14_000, 30_000), (31_000, 31_600)), service="checkout")
    outcome = found(remembered, tmp_path, ReplayReading.CURED)
    assert told(outcome) == [
        (14_040, "checkout", "recovered", ("restart",)),
        (31_035, "checkout", "recovered", ("restart",)),
    ]


def test_alerts_that_fired_are_sent_and_cured(tmp_path: Path) -> None:
    remembered = shop()
    remembered.fired(20_010, 22_005, alertname="CartDown", service="cart", severity="critical")
    remembered.fired(30_000, 30_600, alertname="Elsewhere", severity="critical")
    recorded = [one for one in told(found(remembered, tmp_path, ReplayReading.RECORDED)) if one[1] == "cart"]
    assert recorded[0] == (20_010, "cart", "exhausted", ("restart", "rollback"))
    assert len(recorded) > 1
    cured = [one for one in told(found(remembered, tmp_path, ReplayReading.CURED)) if one[1] == "cart"]
    assert cured == [(20_010, "cart", "recovered", ("restart",))]
    critical = [parse_matcher('severity="warning"')]
    for alerts in (critical, None):
        outcome = found(remembered, tmp_path, ReplayReading.RECORDED, alerts=alerts)
        assert "cart" not in [one[1] for one in told(outcome)]


def test_an_alert_over_several_stretches_is_one(tmp_path: Path) -> None:
    remembered = Remembered()
    remembered.fired(-600, 16_000, alertname="CartDown", service="cart", severity="critical")
    # One that begins with the last step of a stretch, and one that ends with the first of another.
    remembered.fired(28_800, 28_815, alertname="CartSlow", service="cart", severity="warning")
    remembered.fired(40_000, 43_200, alertname="CartDown", service="cart", severity="critical")
    outcome = found(remembered, tmp_path, ReplayReading.CURED)
    assert [(since, verdict) for since, _, verdict, _ in told(outcome)] == [
        (0, "recovered"),
        (28_800, "recovered"),
        (40_005, "recovered"),
    ]


def test_a_guard_is_asked_of_its_time(tmp_path: Path) -> None:
    remembered = shop()
    remembered.has('deploying{service="checkout"} > 0', lambda at: 1.0 if at < 8000 else None, service="checkout")
    outcome = found(remembered, tmp_path, ReplayReading.RECORDED)
    first = outcome.troubles[0]
    assert [command.action for command in first.commands] == ["restart", "rollback"]
    assert first.commands[1].at >= START + 8000
    held = next(held for service in outcome.services for held in service.held)
    assert (held.gate, held.until) == ("guard", pytest.approx(START + 8000, abs=20))
    assert "rollback waits while" in held.text


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    class Lost(Remembered):
        def query_range_blocking(self, expr: str, start: int, end: int, step: int) -> Any:
            answer = super().query_range_blocking(expr, start, end, step)
            if not expr.startswith("deploying"):
                return answer
            from remediator.clients.prometheus.client import Range
            from remediator.model.health import QueryStatus

            return Range(QueryStatus.BAD_DATA, error="Prometheus says bad_data: no")

    remembered = Lost()
    remembered.series = shop().series
    outcome = found(remembered, tmp_path, ReplayReading.RECORDED)
    assert outcome.notes == ('cannot replay deploying{service="checkout"} > 0: Prometheus says bad_data: no',)
    # A guard that cannot be seen holds.
    assert outcome.actions["rollback"] == 0


def test_a_guard_that_would_look_ahead_is_said(tmp_path: Path) -> None:
    remembered = shop()
    book = rules(tmp_path, RULES.replace("'deploying{service=\"{{ service.name }}\"} > 0'", "'deploying offset -5m'"))
    outcome = found(remembered, tmp_path, ReplayReading.RECORDED, book)
    assert outcome.notes == (
        "cannot replay deploying offset -5m: by offset -5m it would see here what it did not see then",
    )
    assert outcome.actions["rollback"] == 0


def test_a_count_that_was_not_recorded_is_made_up_and_that_is_said(tmp_path: Path) -> None:
    text = RULES.replace("steps: [restart,", "steps: [{scale: {by: 1, max: 3}},")
    counted = "replicas: [ctl, count], scale: [ctl, scale, '{{ replicas }}', "
    book = rules(tmp_path, text.replace("restart: [ctl, restart, ", counted))
    outcome = found(shop(), tmp_path, ReplayReading.CURED, book)
    assert outcome.commands[0].call == "ctl scale 2 checkout"
    assert "1 is assumed" in outcome.notes[0]


def test_services_that_depend_on_others_wait(tmp_path: Path) -> None:
    remembered = shop()
    remembered.series["error_ratio"][1] = ({"service": "search"}, troubled((7260, 8000)))
    search = next(s for s in found(remembered, tmp_path, ReplayReading.RECORDED).services if s.name == "search")
    assert [(trouble.verdict, trouble.commands) for trouble in search.troubles] == [("cleared", ())]
    assert [held.gate for held in search.held] == ["dependency"]


def test_rules_are_compared(tmp_path: Path) -> None:
    remembered = shop()
    before = found(
        remembered, tmp_path, ReplayReading.CURED, rules(tmp_path, RULES.replace("    for: 30s", "    for: 5m"))
    )
    after = found(remembered, tmp_path, ReplayReading.CURED)
    (difference,) = differences(before, after)
    assert (difference.service, difference.before, difference.after) == ("checkout", 1, 2)
    assert [round(command.at - START) for command in difference.new] == [50_040]
    # The one at 7,500 s and the one at 7,230 s are the same.
    assert difference.no_more == ()
    assert differences(after, after) == []


def test_modes_are_kept_unless_all_are_played_in_earnest(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    book, _ = load_rules([tmp_path / "rules.yml"], service_label="service")
    outcome = found(shop(), tmp_path, ReplayReading.RECORDED, book)
    assert outcome.commands == []
    assert set(outcome.gates) == {"observe"}
    earnest, policy = in_earnest(book, Policy(auto_heal=False))
    assert policy.auto_heal
    assert [runbook.mode for runbook in earnest.runbooks] == [Mode.AUTO]


def noise(seed: int) -> Remembered:
    """A day of two services and a cart that alerts, as the dice have it."""
    dice = random.Random(seed)
    remembered = Remembered()

    def episodes(count: int) -> Callable[[int], float | None]:
        bad = [(start := dice.randrange(DAY), start + dice.choice([15, 60, 600, 4000])) for _ in range(count)]
        gone = [(start := dice.randrange(DAY), start + dice.choice([30, 900])) for _ in range(3)]
        values = [dice.choice([0.0, 0.01, 0.02]) for _ in range(50)]
        height = dice.choice([0.07, 0.3])

        def value(at: int) -> float | None:
            if any(since <= at < until for since, until in gone):
                return None
            return height if any(since <= at < until for since, until in bad) else values[at // 15 % 50]

        return value

    for name in ("checkout", "search"):
        remembered.has("error_ratio", episodes(5), service=name)
        remembered.has("error_ratio", episodes(2), service=name, instance="other")
    remembered.has("latency", episodes(1), service="checkout")
    for failing in (remembered.fails, remembered.warns):
        for expr in ("error_ratio", "latency", ALERTS):
            since = dice.randrange(DAY)
            until = since + dice.choice([15, 600, 9000])
            failing(expr, lambda at, since=since, until=until: since <= at < until)
    for _ in range(4):
        start = dice.randrange(DAY)
        labels = {"alertname": dice.choice(["Down", "Slow"]), "service": dice.choice(["cart", "search"])}
        remembered.fired(start, start + dice.choice([300, 9000]), severity="critical", **labels)
    return remembered


@pytest.mark.parametrize("reading", list(ReplayReading))
@pytest.mark.parametrize("seed", range(6))
def test_looks_that_are_left_out_would_have_changed_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, reading: ReplayReading
) -> None:
    short = found(noise(seed), tmp_path, reading)

    def plain(*args: Any, environment: object, concern: object, **others: Any) -> Evaluator:
        return Evaluator(*args, **others)

    def unhurried(*args: Any, **others: Any) -> Process:
        return Process(*args[:-1], False, **others)

    monkeypatch.setattr(replaying, "RecordedEvaluator", plain)
    monkeypatch.setattr(replaying, "Process", unhurried)
    assert short.troubles
    assert timeless(short) == timeless(found(noise(seed), tmp_path, reading))


def timeless(outcome: Findings) -> str:
    """Without the durations in sentences: they are counted to the last look, and more looks are made at odd times."""
    return re.sub(r" for (\d+[dhms])+", " for …", str(outcome))


@pytest.mark.parametrize(
    ("degraded", "failed"),
    [("> 0", None), ("< 1", None), ("!= 5", None), (None, "== 0"), (">= 0.05", "> 0.1"), ("> -7", None)],
)
def test_a_healthy_value_is_one(degraded: str | None, failed: str | None) -> None:
    comparisons = {
        name: parse_comparison(text) for name, text in (("degraded", degraded), ("failed", failed)) if text is not None
    }
    threshold = Threshold("x", "x", **comparisons)
    assert threshold.judge(healthy_value(threshold)) is Health.HEALTHY


def test_a_cure_does_not_end_where_nothing_was_seen(tmp_path: Path) -> None:
    remembered = Remembered()
    bad = troubled((3600, 7200))

    def value(at: int) -> float | None:
        return math.nan if at == 4500 else None if 5000 <= at < 5400 else bad(at)

    remembered.has("error_ratio", value, service="checkout")
    assert [since for since, *_ in told(found(remembered, tmp_path, ReplayReading.CURED))] == [3630]


def test_only_thresholds_that_judge_a_service_end_its_trouble(tmp_path: Path) -> None:
    stricter = "  - {name: strict, match: ['service=\"search\"'], expr: error_ratio, degraded: '> 0.001'}\nrunbooks:"
    remembered = Remembered()
    remembered.has("error_ratio", troubled((3600, 7200), (10_800, 14_000)), service="checkout")
    outcome = found(remembered, tmp_path, ReplayReading.CURED, rules(tmp_path, RULES.replace("runbooks:", stricter)))
    assert [since for since, *_ in told(outcome)] == [3630, 10_830]


def test_thresholds_that_see_nothing_are_named(tmp_path: Path) -> None:
    remembered = Remembered()
    remembered.has("error_ratio", troubled())
    notes = found(remembered, tmp_path, ReplayReading.RECORDED).notes
    assert notes == (
        "threshold error_ratio saw no series of a service that it judges",
        "threshold latency saw no series",
    )


def test_another_command_is_a_difference(tmp_path: Path) -> None:
    before = found(shop(), tmp_path, ReplayReading.CURED)
    text = RULES.replace("[ctl, restart, checkout]", "[ctl, reload, checkout]")
    after = found(shop(), tmp_path, ReplayReading.CURED, rules(tmp_path, text))
    (difference,) = differences(before, after)
    assert {command.call for command in difference.no_more} == {"ctl restart checkout"}
    assert {command.call for command in difference.new} == {"ctl reload checkout"}


def test_the_longest_trouble_is_not_cut_by_incidents(tmp_path: Path) -> None:
    checkout = next(s for s in found(shop(), tmp_path, ReplayReading.RECORDED).services if s.name == "checkout")
    assert checkout.longest == pytest.approx(1800, abs=60)


def healths(outcome: Findings, name: str) -> list[tuple[int, Health]]:
    service = next(service for service in outcome.services if service.name == name)
    return [(round(at - START), health) for at, health in service.healths]


def while_unseen(remembered: Remembered, folder: Path, name: str = "checkout") -> list[tuple[int, Health]]:
    return healths(found(remembered, folder, ReplayReading.RECORDED), name)


@pytest.mark.parametrize("failing", ["fails", "warns"])
def test_what_was_not_answered_is_unknown_for_that_time(tmp_path: Path, failing: str) -> None:
    remembered = Remembered()
    remembered.has("error_ratio", troubled(), service="checkout")
    # A stretch ends at 14,400.
    for since, until in ((7215, 7230), (14_385, 14_430)):
        getattr(remembered, failing)("error_ratio", lambda at, since=since, until=until: since <= at < until)
    assert while_unseen(remembered, tmp_path) == [
        (0, Health.HEALTHY),
        (7215, Health.UNKNOWN),
        (7230, Health.HEALTHY),
        (14_385, Health.UNKNOWN),
        (14_430, Health.HEALTHY),
    ]


@pytest.mark.parametrize("failing", ["fails", "warns"])
def test_a_breach_that_is_not_seen_opens_nothing(tmp_path: Path, failing: str) -> None:
    remembered = Remembered()
    remembered.has("error_ratio", troubled((7200, 7800)), service="checkout")
    getattr(remembered, failing)("error_ratio", lambda at: 7200 <= at < 7500)
    outcome = found(remembered, tmp_path, ReplayReading.CURED)
    assert told(outcome) == [(7530, "checkout", "recovered", ("restart",))]


def test_a_cure_lasts_until_there_was_an_end_that_was_seen(tmp_path: Path) -> None:
    remembered = Remembered()
    remembered.has("error_ratio", troubled((7200, 9000), (9300, 9900)), service="checkout")
    remembered.warns("error_ratio", lambda at: 9000 <= at < 9300)
    assert [since for since, *_ in told(found(remembered, tmp_path, ReplayReading.CURED))] == [7230]


def test_a_cure_ends_once_it_is_seen_again_that_there_was_an_end(tmp_path: Path) -> None:
    remembered = Remembered()
    remembered.has("error_ratio", troubled((7200, 9000), (12_000, 12_600)), service="checkout")
    remembered.warns("error_ratio", lambda at: 8970 <= at < 9030)
    assert [since for since, *_ in told(found(remembered, tmp_path, ReplayReading.CURED))] == [7230, 12_030]


@pytest.mark.parametrize("failing", ["fails", "warns"])
def test_a_guard_that_was_not_answered_holds(tmp_path: Path, failing: str) -> None:
    remembered = shop()
    getattr(remembered, failing)('deploying{service="checkout"} > 0', lambda at: at < 8000, "gone")
    outcome = found(remembered, tmp_path, ReplayReading.RECORDED)
    first = outcome.troubles[0]
    assert [command.action for command in first.commands] == ["restart", "rollback"]
    assert START + 8000 <= first.commands[1].at <= START + 8030
    held = next(held for service in outcome.services for held in service.held)
    assert (held.gate, held.until) == ("guard", pytest.approx(START + 8000, abs=20))


def test_alerts_that_are_not_seen_go_on_as_they_were(tmp_path: Path) -> None:
    remembered = Remembered()
    remembered.fired(1000, 20_000, alertname="CartDown", service="cart", severity="critical")
    # Within it, over the end of a stretch, and where it ends.
    for since, until in ((5000, 6000), (14_000, 15_000), (19_500, 21_000)):
        remembered.fails(ALERTS, lambda at, since=since, until=until: since <= at < until)
    history = remembered.history(tmp_path)
    alerts = RecordedAlerts(history, ())
    sent = [
        (round(at - START), alert.ends_at is None)
        for stretch in history.stretches()
        for at, turns in alerts.turns(*stretch)
        for alert in alerts.sent(at, turns)
    ]
    assert sent == [(1005, True), (21_000, False)]

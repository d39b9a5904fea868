"""Each gate's figures and sentence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cases import NOW, at, case, incident, plan, run, step, stored
from hypothesis import example, given
from hypothesis import strategies as st

from remediator.config.policy import Policy
from remediator.decision import gates
from remediator.decision.assessment import PrometheusStatus
from remediator.decision.case import Dependency, Panic, Window
from remediator.model.action import Outcome
from remediator.model.alert import Source
from remediator.model.gate import Gate
from remediator.model.health import Health
from remediator.model.incident import Approval, Hold, IncidentSummary, Pause, Verdict
from remediator.model.rules import Limits, Mode, Rate, Share
from remediator.model.silence import Silence, Suppression


def text(hold: object) -> str:
    return getattr(hold, "text", "")


def test_the_order_is_the_policy() -> None:
    assert {gates.name_of(check) for check in gates.GATES} == set(Gate)
    assert [gates.name_of(check) for check in gates.GATES] == [
        "paused",
        "maintenance",
        "silenced",
        "inhibited",
        "muted",
        "settling",
        "blind",
        "not_corroborated",
        "target_unreachable",
        "dependency",
        "panic",
        "breaker",
        "cooldown",
        "rate_budget",
        "blast_radius",
        "concurrency",
        "guard",
        "approval",
        "auto_heal",
        "observe",
    ]


def test_auto_heal_off_tells_what_would_be_run() -> None:
    off = case("failed", incident(), policy=Policy(auto_heal=False), would="restart api (supervisor)")
    assert text(gates.auto_heal(off)) == "auto_heal is off: would run restart: restart api (supervisor)"


def test_observe_mode_holds_unless_forced() -> None:
    observing = plan(mode=Mode.OBSERVE)
    assert text(gates.observe(case("failed", incident(observing)))) == (
        "runbook web is in observe mode: would run restart"
    )
    assert gates.observe(case("failed", incident(observing, forced=True))) is None


def test_paused_names_who_and_why_and_ends_by_itself() -> None:
    pause = Pause(3, (), NOW - 60, NOW + 7200, "ada", "database move")
    hold = gates.paused(case("failed", incident(), pauses=(pause,)))
    assert hold is not None
    assert hold.text == "paused by ada for another 2h: database move"
    assert hold.until == NOW + 7200


def test_dependency_names_the_root_cause() -> None:
    root = Dependency("postgres", Health.FAILED, "up 0 < 1")
    assert text(gates.dependency(case("failed", incident(), dependencies=(root,)))) == (
        "waits for postgres, which is failed: up 0 < 1"
    )


def test_cooldown_holds_the_first_step_only() -> None:
    before = run(1, incident=3, ended=NOW - 100)
    hold = gates.cooldown(case("failed", incident(), last_heal=before))
    assert text(hold) == "restart was run, and the cooldown of 10m lasts another 8m20s"
    assert gates.cooldown(case("failed", incident(None, run()), last_heal=before)) is None
    assert gates.cooldown(case("failed", incident(forced=True), last_heal=before)) is None
    assert gates.cooldown(case("failed", incident(), last_heal=run(1, incident=3, ended=NOW - 600))) is None


def test_a_service_given_up_is_taken_up_again_after_the_cooldown() -> None:
    given_up = incident(closed_at=NOW - 100, verdict=Verdict.EXHAUSTED)
    assert text(gates.cooldown(case("failed", previous=given_up))) == (
        "incident 7 was exhausted, and the cooldown of 10m lasts another 8m20s"
    )
    long_ago = incident(closed_at=NOW - 600, verdict=Verdict.EXHAUSTED)
    assert gates.cooldown(case("failed", previous=long_ago)) is None
    recovered = incident(closed_at=NOW - 1, verdict=Verdict.RECOVERED)
    assert gates.cooldown(case("failed", previous=recovered)) is None


def test_without_a_cooldown_a_service_given_up_is_still_left_alone_for_a_minute() -> None:
    given_up = incident(plan(limits=Limits(cooldown=0.0)), closed_at=NOW - 10, verdict=Verdict.EXHAUSTED)
    eager = case("failed", previous=given_up, the_plan=plan(limits=Limits(cooldown=0.0)))
    assert text(gates.cooldown(eager)).endswith("the cooldown of 1m lasts another 50s")


def test_several_rate_windows_hold_at_once() -> None:
    limited = incident(plan(limits=Limits(rate=(Rate(3, 3600.0), Rate(4, 86400.0)))))
    quick = case("failed", limited, spent_here=(NOW - 3000, NOW - 20, NOW - 10))
    hold = gates.rate_budget(quick)
    assert hold is not None
    assert hold.until == NOW + 600
    assert hold.text == "runbook web has used its 3 commands in 1h: frees up in 10m"
    slow = case("failed", limited, spent_here=(NOW - 80000, NOW - 40000, NOW - 30000, NOW - 20000))
    assert text(gates.rate_budget(slow)) == "runbook web has used its 4 commands in 1d: frees up in 1h46m"
    assert gates.rate_budget(at(quick, spent_here=(NOW - 20, NOW - 10))) is None


# `start > NOW - window` is true here and `start + window > NOW` is not.
@example([3391.200800589402], 1, 3391.2008005894604)
@given(st.lists(st.floats(0, 10_000), max_size=12), st.integers(1, 5), st.floats(1, 5000))
def test_a_rate_hold_ends_just_when_the_window_has_room(ages: list[float], count: int, window: float) -> None:
    limited = incident(plan(limits=Limits(rate=(Rate(count, window),))))
    starts = tuple(NOW - age for age in ages)
    hold = gates.rate_budget(case("failed", limited, spent_here=starts))
    inside = [start for start in starts if start + window > NOW]
    assert (hold is not None) == (len(inside) >= count)
    if hold is not None:
        assert hold.until is not None
        assert hold.until > NOW
        later = [start for start in starts if start + window > hold.until]
        assert len(later) < count


@pytest.mark.parametrize(
    ("share", "reach", "most"), [(Share(30, True), 10, 3), (Share(30, True), 2, 1), (Share(2), 9, 2)]
)
def test_blast_radius_rounds_down_but_never_below_one(share: Share, reach: int, most: int) -> None:
    limited = incident(plan(limits=Limits(blast_radius=share)))
    assert gates.blast_radius(case("failed", limited, reach=reach, healing=most - 1)) is None
    hold = gates.blast_radius(case("failed", limited, reach=reach, healing=most))
    assert text(hold) == f"{most} of {reach} services of runbook web are being healed, at most {most}"


def test_approval_is_waited_for_and_a_no_is_kept() -> None:
    asking = incident(plan(mode=Mode.APPROVE))
    assert text(gates.approval(case("failed", asking))) == (
        "waits for approval: remediator approve 7: would run restart"
    )
    yes = incident(plan(mode=Mode.APPROVE), approval=Approval(True, "ada", "go", NOW))
    assert gates.approval(case("failed", yes)) is None
    no = incident(plan(mode=Mode.APPROVE), approval=Approval(False, "ada", "release tonight", NOW))
    assert text(gates.approval(case("failed", no))) == "ada denied it: release tonight"


def test_not_corroborated_says_what_the_thresholds_say() -> None:
    hold = gates.not_corroborated(case("healthy", alerts=(stored("HighLatency"),)))
    assert text(hold) == "alert HighLatency is not corroborated: error_ratio 0"


def test_without_an_alert_there_is_nothing_to_corroborate() -> None:
    assert gates.not_corroborated(case("healthy", alerts=())) is None


def test_a_maintenance_window_holds_until_it_closes() -> None:
    hold = gates.maintenance(case("failed", incident(), window=Window("weekly", NOW + 5400, "database patches")))
    assert hold is not None
    assert (hold.text, hold.until) == (
        "maintenance window weekly is open for another 1h30m: database patches",
        NOW + 5400,
    )
    assert gates.maintenance(case("failed", incident())) is None


def test_what_somebody_has_silenced_is_left_to_them() -> None:
    silence = Silence("5f1c", (), NOW - 60, NOW + 3600, "ada", "looking at it")
    hold = gates.silenced(case("failed", incident(), silence=silence))
    assert text(hold) == "silenced by ada for another 1h: looking at it"
    assert hold is not None
    assert hold.way_out == "expire silence 5f1c in Alertmanager"
    asked = case("failed", incident(source=Source.OPERATOR), silence=silence)
    assert gates.silenced(asked) is None


def test_it_settles_after_prometheus_is_seen_again_and_after_a_panic() -> None:
    back = PrometheusStatus(NOW, NOW - 4, NOW - 4)
    hold = gates.settling(case("failed", incident(), prometheus_status=back))
    assert text(hold) == "looks on for another 6s: Prometheus has been seen for 4s"
    assert (
        gates.settling(case("failed", incident(), prometheus_status=PrometheusStatus(NOW, NOW - 10, NOW - 10))) is None
    )
    calm = case("failed", incident(), panicked_at=NOW - 3)
    assert text(gates.settling(calm)) == "looks on for another 7s: the panic has been over for 3s"
    # While it lasts it speaks for itself.
    assert gates.settling(case("failed", incident(), panic=Panic(3, 3, NOW), panicked_at=NOW)) is None
    assert text(gates.settling(case("failed", incident(), reconciled=False))).startswith("has not compared")


def test_a_prometheus_that_does_not_answer_makes_blind_whatever_alerts_say() -> None:
    assert text(gates.blind(case("failed", incident(), prometheus_status=PrometheusStatus(NOW - 31)))) == (
        "Prometheus has not answered for 31s, so nothing could be verified"
    )
    assert text(gates.blind(case("failed", incident(), prometheus_status=PrometheusStatus()))) == (
        "Prometheus has never answered, so nothing could be verified"
    )
    assert gates.blind(case("failed", incident(), prometheus_status=PrometheusStatus(NOW - 29))) is None


def test_what_failed_with_its_dependency_is_given_time_to_recover_with_it() -> None:
    healed = Dependency("postgres", Health.HEALTHY, "recovered after restart", NOW - 20)
    hold = gates.dependency(case("failed", incident(), dependencies=(healed,)))
    assert hold is not None
    assert hold.text == "postgres was healed 20s ago: gives it another 1m40s to recover with it"
    assert hold.until == NOW + 100
    later = incident(opened_at=NOW - 10)
    assert gates.dependency(case("failed", later, dependencies=(healed,))) is None
    troubled = Dependency("redis", Health.UNKNOWN, "up has no series for it")
    assert text(gates.dependency(case("failed", incident(), dependencies=(healed, troubled)))) == (
        "waits for redis, which is unknown: up has no series for it"
    )


def test_a_panic_holds_everything() -> None:
    assert text(gates.panic(case("failed", incident(), panic=Panic(600, 1000, NOW - 30)))) == (
        "600 of 1000 services turned bad within a minute: holds everything"
    )


def test_the_breaker_lets_one_attempt_through_after_its_time() -> None:
    broken = plan(limits=Limits(breaker=Rate(2, 3600.0)))
    story = (
        IncidentSummary(1, "checkout", NOW - 1000, Verdict.EXHAUSTED),
        IncidentSummary(2, "checkout", NOW - 600, Verdict.EXHAUSTED),
    )
    hold = gates.breaker(case("failed", closings=story, the_plan=broken))
    assert hold is not None
    assert hold.text == "2 heals of it did not help or last, the breaker is 2/1h: one attempt is let through in 50m"
    assert hold.until == NOW + 3000
    assert gates.breaker(case("failed", closings=story[:1], the_plan=broken)) is None
    long_ago = tuple(IncidentSummary(c.id, c.service, c.closed_at - 3600, c.verdict) for c in story)
    assert gates.breaker(case("failed", closings=long_ago, the_plan=broken)) is None


def test_nothing_is_run_while_what_was_interrupted_may_still_be_at_work() -> None:
    lost = run(1, incident=3, outcome=Outcome.UNKNOWN, started=NOW - 20)
    before = incident(None, lost, id=3, closed_at=NOW - 5, verdict=Verdict.RECOVERED)
    hold = gates.cooldown(case("failed", incident(forced=True), previous=before))
    assert text(hold) == "restart, whose end is unknown, may still be at work"
    assert hold is not None
    assert hold.until == lost.latest_end


def test_after_a_panic_one_command_runs_at_a_time() -> None:
    slow = case("failed", incident(), panicked_at=NOW - 100, running=1)
    assert text(gates.concurrency(slow)) == "1 of 1 commands are running, shortly after a panic"
    assert gates.concurrency(at(slow, panicked_at=NOW - 300)) is None
    assert gates.concurrency(at(slow, running=0)) is None


def test_a_question_ends_by_itself() -> None:
    asking = plan(mode=Mode.APPROVE, approve_within=600.0)
    fresh = gates.approval(case("failed", incident(asking)))
    assert fresh is not None
    assert fresh.until == NOW + 600
    asked = incident(asking, hold=Hold(Gate.APPROVAL, "waits", since=NOW - 200))
    again = gates.approval(case("failed", asked))
    assert again is not None
    assert again.until == NOW + 400


def test_what_alertmanager_inhibits_or_mutes_is_left_alone_unless_asked_for() -> None:
    by_node = Suppression(inhibited_by=("NodeDown", "RackDown"))
    assert gates.inhibited(case(suppression=by_node)) == Hold(
        Gate.INHIBITED, "inhibited in Alertmanager by NodeDown, RackDown", way_out="it ends with NodeDown, RackDown"
    )
    assert gates.muted(case(suppression=by_node)) is None
    at_night = Suppression(muted_by=("nights",))
    assert gates.muted(case(suppression=at_night)) == Hold(
        Gate.MUTED, "muted in Alertmanager by the time interval nights", way_out="it ends with the interval"
    )
    assert gates.inhibited(case(suppression=at_night)) is None
    asked = (stored(source=Source.OPERATOR),)
    assert gates.inhibited(case(suppression=by_node, alerts=asked)) is None
    assert gates.inhibited(case()) is gates.muted(case()) is None


# Observing shows what would happen.


@pytest.mark.parametrize("way", [{"policy": Policy(auto_heal=False)}, {"observing": True}])
def test_observing_asks_every_other_gate_first(way: dict[str, Any]) -> None:
    the_incident = incident(plan(mode=Mode.OBSERVE)) if way.pop("observing", False) else incident()
    root = Dependency("catalog", Health.FAILED, "up 0 < 1")
    held = case("failed", the_incident, dependencies=(root,), **way)
    assert text(gates.first_hold(held)) == "would wait for catalog, which is failed: up 0 < 1"
    assert text(gates.first_hold(at(held, dependencies=()))).endswith("would run restart")


def test_what_would_have_been_run_uses_up_the_budgets_of_what_is_observed() -> None:
    limits = Limits(cooldown=600.0, rate=(Rate(1, 3600.0),))
    observed = case("failed", incident(plan(mode=Mode.OBSERVE, limits=limits)))
    cooling = at(observed, would_have=run(3, incident=3, started=NOW - 100, ended=NOW - 100))
    assert text(gates.cooldown(cooling)) == ("restart would have been run, and the cooldown of 10m lasts another 8m20s")
    assert text(gates.rate_budget(at(observed, spent_here=(NOW - 600,)))) == (
        "runbook web would have used its 1 commands in 1h: frees up in 50m"
    )


def test_nobody_is_asked_for_what_would_not_be_run() -> None:
    asks = case("failed", incident(plan(mode=Mode.APPROVE)), policy=Policy(auto_heal=False))
    assert text(gates.first_hold(asks)) == "auto_heal is off: would ask a person, and then run restart"


@pytest.mark.parametrize(
    ("before", "after", "other", "mode"),
    [
        (Mode.OBSERVE, Mode.AUTO, {}, Mode.AUTO),
        (Mode.APPROVE, Mode.AUTO, {}, Mode.AUTO),
        (Mode.AUTO, Mode.OBSERVE, {}, Mode.OBSERVE),
        (Mode.AUTO, Mode.APPROVE, {"silence": 60.0}, Mode.APPROVE),
        # What was changed with the mode may be what was wrong with it.
        (Mode.OBSERVE, Mode.AUTO, {"silence": 60.0}, Mode.OBSERVE),
        (Mode.APPROVE, Mode.AUTO, {"steps": (step("rollback"),)}, Mode.APPROVE),
    ],
)
def test_an_open_incident_follows_its_runbook_to_another_mode(
    before: Mode, after: Mode, other: dict[str, Any], mode: Mode
) -> None:
    opened = plan(mode=before)
    current = msgspec.structs.replace(opened.runbook, mode=after, **other)
    followed = case("failed", incident(opened), current=current)
    assert followed.mode is mode
    assert (gates.first_hold(followed) is None) == (mode is Mode.AUTO)
    if mode is Mode.OBSERVE:
        hold = gates.first_hold(followed)
        assert hold is not None
        assert ("remediator dismiss 7" in hold.way_out) == bool(other)


def test_an_open_incident_whose_runbook_is_gone_keeps_its_mode() -> None:
    assert case("failed", incident(plan(mode=Mode.OBSERVE))).mode is Mode.OBSERVE

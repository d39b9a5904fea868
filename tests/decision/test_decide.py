"""The ladder of decisions, rung by rung."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cases import NOW, case, evidence, incident, judgement, plan, run, step, stored
from hypothesis import given
from hypothesis import strategies as st

from remediator.config.policy import Policy
from remediator.decision import decide as d
from remediator.decision.assessment import Choice, PrometheusStatus
from remediator.decision.case import GuardAnswer, ProbeAnswer
from remediator.decision.decide import decide
from remediator.decision.next_step import find_next_step
from remediator.model.action import ActionSpec, Outcome
from remediator.model.alert import Source
from remediator.model.health import Health
from remediator.model.incident import UNWATCHED, Disposition, Incident, Pause, Verdict
from remediator.model.rules import Mode, OnInterrupt, Rate, Target, Verify


def test_a_service_without_alerts_is_left_alone() -> None:
    assert isinstance(decide(case("healthy", alerts=())), d.Idle)


def test_trouble_opens_an_incident_that_names_the_breached_thresholds() -> None:
    decision = decide(case("failed"))
    assert decision == d.Open("is failed: error_ratio 0.2", Health.FAILED, ("error_ratio",))


def test_an_alert_waits_for_the_look_it_asked_for() -> None:
    decision = decide(case("failed", awaits_evaluation=True, alerts=(stored(at=NOW - 2),)))
    assert decision == d.Wait("evaluates its thresholds", NOW + 8)


def test_no_runbook_is_said() -> None:
    decision = decide(case("degraded", choice=None))
    assert isinstance(decision, d.Idle)
    assert decision.disposition is Disposition.NO_RUNBOOK


@pytest.mark.parametrize(("health", "gate"), [("unknown", "blind"), ("healthy", "not_corroborated")])
def test_what_is_not_seen_or_not_corroborated_opens_nothing(health: str, gate: str) -> None:
    decision = decide(case(health))
    assert isinstance(decision, d.Held)
    assert decision.hold.gate == gate


def test_an_operator_opens_on_a_healthy_service() -> None:
    alert = stored("HealRequested", source=Source.OPERATOR, author="ada")
    decision = decide(case("healthy", alerts=(alert,)))
    assert isinstance(decision, d.Open)
    assert decision.text == "asked for by ada"


def test_an_operators_heal_of_a_healthy_service_runs_before_it_is_verified() -> None:
    asked = incident(source=Source.OPERATOR, thresholds=())
    assert isinstance(decide(case("healthy", asked)), d.RunStep)
    ran = incident(None, run(ended=NOW - 16), source=Source.OPERATOR, thresholds=())
    assert decide(case("healthy", ran)).verdict is Verdict.RECOVERED  # type: ignore[union-attr]


def test_evidence_is_gathered_once_before_the_first_step() -> None:
    target = Target("command", actions={"diagnose": ActionSpec(run=("status",))})
    with_diagnose = plan(target=target)
    assert isinstance(decide(case("failed", incident(with_diagnose))), d.Gather)
    assert isinstance(decide(case("failed", incident(with_diagnose, evidence()))), d.RunStep)


def test_a_step_that_runs_is_waited_for_and_interrupted_when_it_is_certainly_over() -> None:
    running = run(outcome=None, started=NOW - 10)
    assert isinstance(decide(case("failed", incident(None, running), live=frozenset({1}))), d.Wait)
    overdue = run(outcome=None, started=NOW - 60 - UNWATCHED - 1)
    decision = decide(case("failed", incident(None, overdue), live=frozenset({1})))
    assert isinstance(decision, d.Interrupt)


def test_a_step_whose_owner_died_is_interrupted_not_run_again() -> None:
    orphan = run(outcome=None, started=NOW - 1)
    assert isinstance(decide(case("failed", incident(None, orphan))), d.Interrupt)
    interrupted = run(outcome=Outcome.UNKNOWN, started=NOW - 10, ended=NOW - 1)
    waits = decide(case("failed", incident(plan(step(), step("rollback")), interrupted)))
    assert waits == d.Wait("verifies restart: error_ratio 0.2", NOW - 1 + 120)
    later = run(outcome=Outcome.UNKNOWN, started=NOW - 300, ended=NOW - 121)
    goes_on = decide(case("failed", incident(plan(step(), step("rollback")), later)))
    assert isinstance(goes_on, d.RunStep)
    assert goes_on.next_step.step.name == "rollback"


def test_an_interrupted_step_is_not_followed_before_its_own_deadline() -> None:
    the_plan = plan(step(), step("rollback"), verify=Verify(1.0, 2.0))
    orphan = run(outcome=Outcome.UNKNOWN, started=NOW - 50, ended=NOW - 40)
    assert NOW + 10 + UNWATCHED < orphan.latest_end < NOW + 11 + UNWATCHED
    waits = d.Wait("verifies restart: error_ratio 0.2", orphan.latest_end)
    assert decide(case("failed", incident(the_plan, orphan))) == waits


def test_evidence_that_is_still_being_gathered_is_not_overlapped() -> None:
    the_plan = plan(
        step(), target=Target("t", actions={"diagnose": ActionSpec(("look",)), "restart": ActionSpec(("x",))})
    )
    lost = run(index=d.DIAGNOSE, action="diagnose", outcome=Outcome.UNKNOWN, started=NOW - 5, ended=NOW - 1)
    waits = d.Wait("diagnose, whose end is unknown, may still be at work", lost.latest_end)
    assert decide(case("failed", incident(the_plan, lost))) == waits
    over = run(index=d.DIAGNOSE, action="diagnose", outcome=Outcome.UNKNOWN, started=NOW - 200, ended=NOW - 100)
    assert isinstance(decide(case("failed", incident(the_plan, over))), d.RunStep)


def test_what_was_interrupted_is_over_in_time_whatever_was_done_to_the_clock() -> None:
    # The clock was set back by an hour between its beginning and its end.
    lost = run(outcome=Outcome.UNKNOWN, started=NOW + 3600, ended=NOW)
    assert NOW + 60 + UNWATCHED <= lost.latest_end < NOW + 61 + UNWATCHED


def test_on_interrupt_rerun_runs_once_more_and_escalate_gives_up() -> None:
    orphan = run(outcome=Outcome.UNKNOWN, started=NOW - 100, ended=NOW - 30)
    rerun = decide(case("failed", incident(plan(step(on_interrupt=OnInterrupt.RERUN)), orphan)))
    assert isinstance(rerun, d.RunStep)
    assert rerun.next_step.attempt == 2
    again = run(2, attempt=2, outcome=Outcome.UNKNOWN, started=NOW - 90, ended=NOW - 20)
    twice = incident(plan(step(on_interrupt=OnInterrupt.RERUN)), orphan, again)
    assert isinstance(decide(case("failed", twice)), d.Wait)
    escalate = decide(case("failed", incident(plan(step(on_interrupt=OnInterrupt.ESCALATE)), orphan)))
    assert isinstance(escalate, d.Close)
    assert escalate.verdict is Verdict.EXHAUSTED


def test_recovery_counts_from_the_end_of_the_step_and_from_what_was_seen() -> None:
    # Healthy for a minute, but the step ended 10 s ago: 15 s are wanted.
    waiting = decide(case("healthy", incident(None, run(ended=NOW - 10))))
    assert waiting == d.Wait("healthy for 10s of 15s", NOW + 5)
    done = decide(case("healthy", incident(None, run(ended=NOW - 15))))
    assert isinstance(done, d.Close)
    assert done.verdict is Verdict.RECOVERED
    # The last look was before the time was up: what was not seen does not count.
    old = judgement("healthy", at=NOW - 14)
    assert decide(case(judgement=old, the_incident=incident(None, run(ended=NOW - 16)))) == d.Wait(
        "healthy for 2s of 15s", NOW + d.LOOK_AGAIN
    )


def test_recovery_needs_every_threshold_that_was_breached() -> None:
    other = incident(None, run(ended=NOW - 30), thresholds=("error_ratio", "latency"))
    assert isinstance(decide(case("healthy", other)), d.Wait)


def test_nothing_run_and_healthy_again_is_cleared() -> None:
    decision = decide(case("healthy", incident()))
    assert isinstance(decision, d.Close)
    assert decision.verdict is Verdict.CLEARED


def test_a_step_that_ran_is_verified_for_its_window_and_a_failed_one_is_not() -> None:
    two = plan(step(), step("rollback"))
    assert isinstance(decide(case("failed", incident(two, run(ended=NOW - 119)))), d.Wait)
    assert isinstance(decide(case("failed", incident(two, run(ended=NOW - 120)))), d.RunStep)
    failed = decide(case("failed", incident(two, run(outcome=Outcome.FAILED, ended=NOW))))
    assert isinstance(failed, d.RunStep)
    assert failed.next_step.step.name == "rollback"
    # A command may time out and still have done its work.
    assert isinstance(decide(case("failed", incident(two, run(outcome=Outcome.TIMED_OUT)))), d.Wait)


def test_attempts_come_before_the_next_step_and_refusal_ends_them() -> None:
    twice = plan(step(attempts=2), step("rollback"))
    assert find_next_step(incident(twice, run(outcome=Outcome.FAILED))).attempt == 2  # type: ignore[union-attr]
    assert find_next_step(incident(twice, run(outcome=Outcome.REFUSED))).index == 1  # type: ignore[union-attr]
    assert find_next_step(incident(twice, run(), run(2, attempt=2))).index == 1  # type: ignore[union-attr]


def test_no_step_left_is_exhausted() -> None:
    decision = decide(case("failed", incident(None, run(ended=NOW - 500))))
    assert isinstance(decision, d.Close)
    assert decision.verdict is Verdict.EXHAUSTED


def test_a_step_for_another_health_is_passed_over() -> None:
    only_failed = plan(step("rollback", when=(Health.FAILED,)))
    decision = decide(case("degraded", incident(only_failed)))
    assert isinstance(decision, d.PassOver)
    assert decision.text == "rollback is for when it is failed, and it is degraded"


def test_worse_trouble_for_another_runbook_supersedes() -> None:
    soft = plan(when=(Health.DEGRADED,))
    other = Choice(stored(), plan(name="hard"), judgement("failed"))
    decision = decide(case("failed", incident(soft), choice=other))
    assert isinstance(decision, d.Close)
    assert decision.verdict is Verdict.SUPERSEDED


def answer(true: bool | None, at: float = NOW) -> GuardAnswer:
    return GuardAnswer("up == 0", true, at, "query timed out" if true is None else "")


def test_guards_are_asked_first_and_again_when_old() -> None:
    guarded = incident(plan(step(unless="up == 0")))
    assert decide(case("failed", guarded)) == d.Ask("asks Prometheus before restart", ("up == 0",))
    old = {"up == 0": answer(False, NOW - d.GUARD_FRESH - 1)}
    assert isinstance(decide(case("failed", guarded, guards=old)), d.Ask)
    assert isinstance(decide(case("failed", guarded, guards={"up == 0": answer(False)})), d.RunStep)


def test_prometheus_is_not_asked_for_what_is_held_in_any_case() -> None:
    paused = HOLDING["paused"]
    decision = decide(case("failed", incident(plan(step(unless="up == 0"))), **paused))
    assert isinstance(decision, d.Held)
    assert decision.hold.gate == "paused"
    # Which step it is that is held depends on its `if`.
    assert isinstance(decide(case("failed", incident(plan(step(if_="up == 0"))), **paused)), d.Ask)


@pytest.mark.parametrize("true", [True, None])
def test_unless_holds_when_true_or_not_known(true: bool | None) -> None:
    decision = decide(case("failed", incident(plan(step(unless="up == 0"))), guards={"up == 0": answer(true)}))
    assert isinstance(decision, d.Held)
    assert decision.hold.gate == "guard"


def test_if_passes_over_when_false_and_holds_when_not_known() -> None:
    the_incident = incident(plan(step(if_="up == 0")))
    assert isinstance(decide(case("failed", the_incident, guards={"up == 0": answer(False)})), d.PassOver)
    assert isinstance(decide(case("failed", the_incident, guards={"up == 0": answer(None)})), d.Held)
    assert isinstance(decide(case("failed", the_incident, guards={"up == 0": answer(True)})), d.RunStep)


def test_if_decides_once_and_is_not_asked_again() -> None:
    the_incident = incident(plan(step(if_="up == 0")))
    offered = case("failed", the_incident, guards={"up == 0": answer(True)})
    assert d.newly_offered(offered) is not None
    decided = msgspec.structs.replace(the_incident, offered=0)
    for guards in ({}, {"up == 0": answer(False)}, {"up == 0": answer(None)}):
        later = case("failed", decided, guards=guards)
        assert isinstance(decide(later), d.RunStep)
        assert d.newly_offered(later) is None
    # Another step has an `if` of its own.
    second = incident(plan(step(if_="up == 0"), step(if_="down")), run(outcome=Outcome.FAILED))
    assert decide(case("failed", msgspec.structs.replace(second, offered=0))) == d.Ask(
        "asks Prometheus before restart", ("down",)
    )


@pytest.mark.parametrize("if_", ["", "up == 0"])
def test_nothing_is_passed_over_by_what_cannot_be_seen(if_: str) -> None:
    one = step(if_=if_) if if_ else step(when=(Health.DEGRADED,))
    away = PrometheusStatus(answers=False, at=NOW - 100)
    decision = decide(case("failed", incident(plan(one)), guards={"up == 0": answer(False)}, prometheus_status=away))
    assert isinstance(decision, d.Held)
    assert decision.hold.gate == "blind"


HOLDING: dict[str, dict[str, Any]] = {
    "auto_heal": {"policy": Policy(auto_heal=False)},
    "paused": {"pauses": (Pause(1, (), NOW - 1, NOW + 600, "ada", "release"),)},
    "concurrency": {"running": 4},
    "rate_budget": {"spent_anywhere": (NOW - 1,), "policy": Policy(rate=(Rate(1, 60.0),))},
}


@pytest.mark.parametrize("gate", HOLDING)
def test_each_gate_holds_by_its_name(gate: str) -> None:
    decision = decide(case("failed", incident(), **HOLDING[gate]))
    assert isinstance(decision, d.Held)
    assert decision.hold.gate == gate


outcomes = st.sampled_from([*Outcome, None])
runs_strategy = st.lists(st.tuples(outcomes, st.floats(0, 400), st.floats(0, 400)), max_size=4)


@st.composite
def incidents(draw: st.DrawFn) -> Incident:
    """Any incident whose runs climb the ladder, the last of which may still run."""
    the_plan = plan(step(attempts=2), step("scale"), step("rollback"), mode=draw(st.sampled_from(Mode)))
    runs = []
    for number, (outcome, ago, took) in enumerate(draw(runs_strategy), 1):
        so_far = incident(the_plan, *runs)
        next_step = find_next_step(so_far)
        if next_step is None or so_far.running is not None:
            break
        started = NOW - ago - took
        runs.append(
            run(
                number,
                index=next_step.index,
                attempt=next_step.attempt,
                outcome=outcome,
                started=started,
                ended=NOW - ago,
            )
        )
    return incident(the_plan, *runs)


@given(
    incidents(),
    st.sampled_from([h for h in Health if h is not Health.RECOVERING]),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
)
def test_no_decision_runs_a_step_against_a_gates_promise(
    the_incident: Incident, health: Health, running: int, auto_heal: bool, paused: bool
) -> None:
    pauses = (Pause(1, (), NOW - 1, NOW + 600, "ada", ""),) if paused else ()
    the_case = case(health, the_incident, running=running, policy=Policy(auto_heal=auto_heal), pauses=pauses)
    decision = decide(the_case)
    assert decision.text
    if isinstance(decision, d.RunStep):
        assert the_incident.running is None
        assert health.bad
        assert running < 4
        assert auto_heal
        assert not paused
        assert the_incident.plan.runbook.mode is Mode.AUTO
        done = {(r.step, r.attempt) for r in the_incident.runs}
        assert (decision.next_step.index, decision.next_step.attempt) not in done
    if isinstance(decision, d.Wait):
        assert decision.until > NOW
    if isinstance(decision, d.Close) and decision.verdict in (Verdict.RECOVERED, Verdict.CLEARED):
        assert health is Health.HEALTHY


def test_the_verdict_on_a_step_wants_a_look_from_after_its_window() -> None:
    the_plan = plan(step(), step("rollback"))
    ended = run(started=NOW - 140, ended=NOW - the_plan.runbook.verify.within - 1)
    before = judgement("failed", at=NOW - 2)
    waits = d.decide(case(the_incident=incident(the_plan, ended), judgement=before))
    assert waits == d.Wait("looks once more before it goes on", NOW + d.LOOK_AGAIN)
    after = judgement("failed", at=NOW - 0.5)
    assert isinstance(d.decide(case(the_incident=incident(the_plan, ended), judgement=after)), d.RunStep)
    # Nobody looks any more: it goes on all the same, where the gates then ask whether it is blind.
    long_ago = run(started=NOW - 400, ended=NOW - 300)
    old = judgement("failed", at=NOW - 299)
    goes_on = d.decide(case(the_incident=incident(the_plan, long_ago), judgement=old))
    assert not isinstance(goes_on, d.Wait)


def test_what_was_taken_out_is_not_put_back_while_healing_is_paused() -> None:
    taken_out = incident(plan(), run(started=NOW - 90, ended=NOW - 60), owes=("restore",))
    well = judgement("healthy", since=NOW - 3600)
    paused = Pause(1, (), NOW - 60, NOW + 60, "ada", "switching the network")
    held = d.decide(case(the_incident=taken_out, judgement=well, pauses=(paused,)))
    assert isinstance(held, d.Held)
    assert held.hold.gate == "paused"
    assert isinstance(d.decide(case(the_incident=taken_out, judgement=well)), d.Undo)


PROBED = Target("box", actions={"probe": ActionSpec(run=("ping",)), "restart": ActionSpec(run=("reboot",))})


@pytest.mark.parametrize(
    ("probe", "decision"),
    [
        (None, "asks whether its target can be reached before restart"),
        (ProbeAnswer(NOW - 10), "runs restart"),
        (ProbeAnswer(NOW - 20), "asks whether its target can be reached before restart"),
        (ProbeAnswer(NOW - 4, 1, "exited with 1"), "its target cannot be reached: exited with 1: asks again in 1s"),
        (ProbeAnswer(NOW - 6, 1, "exited with 1"), "asks whether its target can be reached before restart"),
        (ProbeAnswer(NOW - 6, 2, "exited with 1"), "its target cannot be reached: exited with 1: asks again in 4s"),
        (ProbeAnswer(NOW, 99, "exited with 1"), "its target cannot be reached: exited with 1: asks again in 5m"),
    ],
)
def test_a_step_is_run_only_where_its_target_was_reached_just_now(probe: ProbeAnswer | None, decision: str) -> None:
    assert decide(case("failed", incident(plan(target=PROBED)), probe=probe)).text == decision


def test_a_command_of_the_step_itself_asks_no_target() -> None:
    own = plan(step(spec=ActionSpec(run=("x",))), target=PROBED)
    assert isinstance(decide(case("failed", incident(own), probe=ProbeAnswer(NOW, 1, "away"))), d.RunStep)

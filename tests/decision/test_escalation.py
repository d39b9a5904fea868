"""When people are called, what they are told, and when the page to them is held back."""

from __future__ import annotations

from typing import Any

import pytest
from cases import NOW, at, case, incident, plan, run, stored

from remediator.config.policy import Policy
from remediator.decision.assessment import PrometheusStatus
from remediator.decision.case import Case, Dependency, Panic
from remediator.decision.escalation import BLACKOUT, UNHEALED, heal_silences, pages
from remediator.model.alert import Source
from remediator.model.gate import Gate, Paging
from remediator.model.health import Health
from remediator.model.incident import Hold, Incident, IncidentSummary, Verdict
from remediator.model.paging import HealSilence, PageAlert
from remediator.model.rules import Escalate, Limits, Mode, Rate


def told(*cases: Case, panic: Panic | None = None, dark_since: float | None = None, **waiting: Hold) -> list[PageAlert]:
    return pages(cases, panic, dark_since, waiting, NOW)


def exhausted(ago: float = 100.0, **fields: object) -> Incident:
    return incident(
        None, run(), id=5, closed_at=NOW - ago, verdict=Verdict.EXHAUSTED, closing="no step is left", **fields
    )


def names(found: list[PageAlert]) -> list[str]:
    return [page.labels["alertname"] for page in found]


def test_a_service_given_up_is_said_with_its_labels_its_reason_and_where_to_read() -> None:
    annotations = {"runbook_url": "https://runbooks/web"}
    (page,) = told(case("failed", previous=exhausted(annotations=annotations)))
    assert page.labels == {
        "alertname": "RemediationFailed",
        "service": "checkout",
        "runbook": "web",
        "severity": "critical",
        "sender": "remediator",
    }
    assert page.annotations == {
        "summary": "checkout is failed and could not be healed: no step is left",
        "runbook_url": "https://runbooks/web",
    }
    assert (page.starts_at, page.path) == (NOW - 100, "/incidents/5")


def test_it_goes_on_while_nothing_is_seen_and_ends_when_the_service_is_well_again() -> None:
    before = exhausted()
    assert names(told(case("unknown", previous=before))) == ["RemediationFailed"]
    well = case("healthy", previous=before, alerts=())
    assert told(well) == []
    just_now = at(well, judgement=type(well.judgement)(Health.HEALTHY, NOW, NOW - 5, "", well.judgement.readings))
    assert names(told(just_now)) == ["RemediationFailed"]


def test_a_restart_calls_nobody_for_what_was_mended_before_it() -> None:
    just_started = case("unknown", previous=exhausted(), prometheus_status=PrometheusStatus())
    assert told(just_started) == []
    first_look = PrometheusStatus(NOW, NOW, NOW)
    well = case("healthy", previous=exhausted(), alerts=(), prometheus_status=first_look)
    since_then = at(well, judgement=type(well.judgement)(Health.HEALTHY, NOW, NOW, "", well.judgement.readings))
    assert told(since_then) == []
    assert names(told(case("failed", previous=exhausted(), prometheus_status=first_look))) == ["RemediationFailed"]


@pytest.mark.parametrize("verdict", [Verdict.RECOVERED, Verdict.CLEARED, Verdict.DISMISSED, Verdict.SUPERSEDED])
def test_no_other_verdict_calls_people(verdict: Verdict) -> None:
    before = incident(None, run(), closed_at=NOW - 100, verdict=verdict)
    assert told(case("failed", previous=before)) == []


def test_what_the_runbook_adds_comes_last_and_what_cannot_be_rendered_is_left_out() -> None:
    escalate = Escalate({"severity": "page", "team": "{{ labels.team }}"}, {"dashboard": "d/{{ service.name }}"})
    before = incident(plan(escalate=escalate), run(), closed_at=NOW - 9, verdict=Verdict.EXHAUSTED, closing="over")
    (page,) = told(case("failed", previous=before))
    assert page.labels["severity"] == "page"
    assert "team" not in page.labels
    assert page.annotations["dashboard"] == "d/checkout"


def test_a_heal_held_too_long_is_said_with_its_gate() -> None:
    held = incident(opened_at=NOW - 901, hold=Hold(Gate.GUARD, "restart waits while a rollout is under way"))
    (page,) = told(case("failed", held))
    assert page.labels["alertname"] == "RemediationBlocked"
    assert page.labels["gate"] == "guard"
    assert page.annotations["summary"] == (
        "checkout is failed, and nothing has been done for 15m1s: restart waits while a rollout is under way"
    )
    assert told(case("failed", incident(opened_at=NOW - 899, hold=held.hold))) == []
    lately = incident(None, run(ended=NOW - 10), opened_at=NOW - 901, hold=held.hold)
    assert told(case("failed", lately)) == []


@pytest.mark.parametrize("gate", [gate for gate in Gate if gate.paging in (Paging.NEVER, Paging.ROOT)] + [Gate.BREAKER])
def test_what_somebody_wanted_or_is_said_elsewhere_calls_nobody(gate: Gate) -> None:
    assert told(case("failed", incident(opened_at=NOW - 9000, hold=Hold(gate, "it holds")))) == []


def test_alerts_that_wait_without_an_incident_are_spoken_of_too() -> None:
    (page,) = told(case("unknown"), checkout=Hold(Gate.BLIND, "health is unknown", since=NOW - 901))
    assert (page.labels["alertname"], page.labels["gate"]) == ("RemediationBlocked", "blind")


def test_a_question_is_asked_until_it_is_answered() -> None:
    asking = incident(plan(mode=Mode.APPROVE), hold=Hold(Gate.APPROVAL, "waits for approval: …", since=NOW - 5))
    (page,) = told(case("failed", asking))
    assert (page.labels["alertname"], page.starts_at) == ("RemediationApprovalNeeded", NOW - 5)
    assert page.annotations["summary"] == "checkout is failed, and its heal waits for approval: …"


def test_an_open_breaker_is_said_while_the_service_is_not_well() -> None:
    story = tuple(IncidentSummary(n, "checkout", NOW - 100 * n, Verdict.EXHAUSTED) for n in (2, 1))
    limits = Limits(breaker=Rate(2, 3600.0))
    (page,) = told(case("failed", closings=story, the_plan=plan(limits=limits)))
    assert (page.labels["alertname"], page.starts_at) == ("RemediationBreakerOpen", NOW - 100)
    assert told(case("healthy", closings=story, the_plan=plan(limits=limits))) == []


def test_a_panic_is_one_page_and_stands_for_all_that_it_holds() -> None:
    held = [case("failed", incident(opened_at=NOW - 9000, hold=Hold(Gate.GUARD, "x"))) for _ in range(5)]
    found = told(*held, panic=Panic(600, 1000, NOW - 70))
    assert names(found) == ["RemediationPanic"]
    assert found[0].starts_at == NOW - 70


def test_a_blackout_of_prometheus_is_one_page() -> None:
    dark = [case("unknown", incident(opened_at=NOW - 9000, hold=Hold(Gate.BLIND, "x"))) for _ in range(5)]
    found = told(*dark, dark_since=NOW - BLACKOUT)
    assert names(found) == ["RemediationBlocked"]
    assert "service" not in found[0].labels
    assert told(dark_since=NOW - BLACKOUT + 1) == []


def test_one_page_names_the_root_and_who_waits_for_it() -> None:
    root = case("failed", previous=exhausted())
    postgres = Dependency("checkout", Health.FAILED, "up 0")
    waiters = [
        at(
            case("failed", incident(opened_at=NOW - 9000, hold=Hold(Gate.DEPENDENCY, "waits"))),
            dependencies=(postgres,),
        )
        for _ in range(2)
    ]
    waiters = [at(one, service=type(one.service)(name)) for one, name in zip(waiters, ("cart", "shop"), strict=True)]
    (page,) = told(*waiters, root)
    assert page.annotations["summary"] == (
        "checkout is failed and could not be healed: no step is left; cart, shop wait for it"
    )


def test_what_others_wait_for_and_nothing_heals_is_said_once() -> None:
    root = Dependency("checkout", Health.FAILED, "up 0")
    waiter = at(
        case("failed", incident(opened_at=NOW - 9000, hold=Hold(Gate.DEPENDENCY, "waits"))), dependencies=(root,)
    )
    waiter = at(waiter, service=type(waiter.service)("cart"))
    long = case("failed", choice=None)
    long = at(long, judgement=type(long.judgement)(Health.FAILED, NOW, NOW - UNHEALED, "up 0"))
    (page,) = told(waiter, long)
    assert page.annotations["summary"] == "checkout is failed, and nothing heals it; cart waits for it"
    assert page.labels["service"] == "checkout"


def hushed(hold: Hold | None, **fields: object) -> list[HealSilence]:
    healing = incident(plan(silence=600.0), hold=hold, **fields)
    alerts = (stored("Down"), stored("Slow", source=Source.THRESHOLD))
    return heal_silences([case("failed", healing, alerts=alerts)])


def test_the_page_is_held_back_for_exactly_the_alerts_of_a_heal() -> None:
    (heal_silence,) = hushed(None)
    assert heal_silence == HealSilence(7, {"alertname": "Down", "service": "checkout"}, NOW - 40 + 600)
    assert hushed(None, opened_at=NOW - 600) == []
    assert heal_silences([case("failed", incident())]) == []


@pytest.mark.parametrize(
    ("hold", "held_back"),
    [
        (Hold(Gate.DEPENDENCY, "x"), True),
        (Hold(Gate.CONCURRENCY, "x"), True),
        (Hold(Gate.COOLDOWN, "x", NOW + 60), True),
        (Hold(Gate.COOLDOWN, "x", NOW + 3600), False),
        (Hold(Gate.BLIND, "x"), False),
        (Hold(Gate.APPROVAL, "x", NOW + 3600), False),
        (Hold(Gate.PAUSED, "x", NOW + 60), False),
        (Hold(Gate.PANIC, "x"), False),
    ],
)
def test_a_heal_that_is_held_for_good_lets_the_page_out(hold: Hold, held_back: bool) -> None:
    assert bool(hushed(hold)) is held_back


# Of what is only observed nobody hears.


@pytest.mark.parametrize("gate", list(Gate))
@pytest.mark.parametrize("way", [{"policy": Policy(auto_heal=False)}, {"observing": True}])
def test_what_is_only_observed_calls_nobody_and_holds_no_page_back(gate: Gate, way: dict[str, Any]) -> None:
    mode = Mode.OBSERVE if "observing" in way else Mode.APPROVE
    observed = plan(mode=mode, silence=600.0, limits=Limits(breaker=Rate(1, 3600.0)))
    hold = Hold(gate, "would wait", since=NOW - 10_000)
    failed_before = (IncidentSummary(3, "checkout", NOW - 60, Verdict.EXHAUSTED),)
    the_case = case(
        "failed",
        incident(observed, opened_at=NOW - 10, hold=hold),
        closings=failed_before,
        policy=way.get("policy", Policy()),
    )
    waiting = at(the_case, incident=incident(observed, opened_at=NOW - 10_000, hold=hold))
    assert told(waiting) == []
    healed = incident(None, run(), id=5, closed_at=NOW - 20_000, verdict=Verdict.RECOVERED)
    assert told(at(waiting, previous=healed)) == []
    assert list(heal_silences([the_case])) == []


def test_a_panic_or_a_blackout_calls_nobody_where_nothing_is_run() -> None:
    panic = Panic(6, 10, NOW - 30)
    assert names(told(panic=panic, dark_since=NOW - 600)) == ["RemediationPanic", "RemediationBlocked"]
    assert pages((), panic, NOW - 600, {}, NOW, observes=True) == []


def test_every_page_says_something_else_once_it_is_over() -> None:
    dark = told(case("failed", previous=exhausted()), panic=Panic(6, 10, NOW - 30), dark_since=NOW - 600)
    asks = told(case("failed", incident(plan(mode=Mode.APPROVE), hold=Hold(Gate.APPROVAL, "waits", since=NOW - 9))))
    assert len(dark) == 3
    assert len(asks) == 1
    for page in (*dark, *asks):
        assert page.resolved
        assert page.resolved != page.annotations["summary"]

"""Rounds on virtual time: sharing out, judgements, alerts, looking when asked. Only Prometheus' answers are the test's."""

import asyncio
import contextlib
import itertools
import math
import threading

import msgspec
import pytest
from virtual import VirtualClock

from remediator.clients.prometheus.client import Answer, Series
from remediator.decision import evaluation
from remediator.decision.evaluation import FORGET
from remediator.engine.evaluator import HEARTBEAT, Evaluator
from remediator.errors import StoreError
from remediator.metrics import Metrics
from remediator.model.alert import Source, fingerprint
from remediator.model.health import Health, QueryStatus, parse_comparison
from remediator.model.matcher import parse_matcher
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Service, Threshold

H, D, F, U = Health.HEALTHY, Health.DEGRADED, Health.FAILED, Health.UNKNOWN


def service(name, *match, **labels):
    matchers = tuple(parse_matcher(text) for text in match) or (parse_matcher(f'service="{name}"'),)
    return Service(name, {**labels, "service": name}, matchers)


def threshold(name="error_ratio", *match, degraded=">= 0.05", failed="> 0.10", **more):
    return Threshold(
        name,
        name,
        tuple(parse_matcher(text) for text in match),
        degraded=parse_comparison(degraded) if degraded else None,
        failed=parse_comparison(failed) if failed else None,
        unit="ratio",
        **more,
    )


TEMPLATED = Service(
    "{{ labels.namespace }}/{{ labels.app }}",
    {"tier": "web"},
    (parse_matcher('namespace!=""'), parse_matcher('app!=""')),
)


class Watch:
    """An evaluator, the answers it gets by expression, and what it says."""

    def __init__(self, *rules, interval=5.0):
        self.clock = VirtualClock(1000.0)
        self.answers = {}
        self.queries = []
        self.alerts = []
        self.changed = []
        self.store_works = True
        self.metrics = Metrics()
        self.rulebook = book(*rules)
        self.evaluator = Evaluator(
            self.rulebook,
            self.query,
            clock=self.clock,
            metrics=self.metrics,
            interval=interval,
            stale_after=30.0,
            intake=self.intake,
        )
        self.evaluator.evaluated.subscribe(self.on_evaluated)

    def on_evaluated(self):
        changed, requested = self.evaluator.take_evaluated()
        self.changed.append({*changed, *requested})

    def query(self, expr):
        self.queries.append(expr)
        answer = self.answers.get(expr, [])
        if callable(answer):
            answer = answer()
        if isinstance(answer, Answer):
            return answer
        return Answer(
            self.clock.now(), QueryStatus.SEEN, [Series(labels, value) for labels, value in answer], kind="vector"
        )

    async def intake(self, alerts):
        if not self.store_works:
            raise StoreError("cannot write: disk full")
        self.alerts += alerts

    def set(self, expr="error_ratio", **values):
        self.answers[expr] = [({"service": name}, value) for name, value in values.items()]

    def fail(self, query_status, error="…", expr="error_ratio"):
        self.answers[expr] = Answer(self.clock.now(), query_status, error=error)

    async def round(self, later=5.0):
        """One round, some seconds after the last."""
        self.clock._now += later
        await self.evaluator.evaluate_now()

    def judgement(self, name="checkout"):
        found = self.rulebook.named.get(name) or self.evaluator.found_services[name]
        return self.evaluator.judgement(found, self.clock.now())

    def health(self, name="checkout"):
        return self.judgement(name).health

    def told(self):
        """The alerts handed on since this was last asked: (service, firing, starts_at, ends_at)."""
        alerts, self.alerts = self.alerts, []
        return [(alert.labels["service"], alert.firing, alert.starts_at, alert.ends_at) for alert in alerts]


def book(*rules):
    return Rulebook(
        [rule for rule in rules if isinstance(rule, Service)],
        [rule for rule in rules if isinstance(rule, Threshold)],
    )


@contextlib.asynccontextmanager
async def running(watch):
    task = asyncio.create_task(watch.evaluator.run())
    try:
        await watch.clock.settle()
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        watch.evaluator.close()


# Sharing out and judging.


async def test_one_query_serves_all_services_and_the_worst_series_wins():
    watch = Watch(service("checkout"), service("search"), service("cart"), threshold())
    watch.answers["error_ratio"] = [
        ({"service": "checkout", "pod": "a"}, 0.06),
        ({"service": "checkout", "pod": "b"}, 0.30),
        ({"service": "checkout", "pod": "c"}, 0.20),
        ({"service": "search", "pod": "a"}, 0.07),
        ({"service": "search", "pod": "b"}, math.nan),
        ({"service": "cart", "pod": "a"}, 0.0),
        ({"service": "cart", "pod": "b"}, 0.04),
        ({"service": "unheard-of"}, 0.9),
        ({}, 0.9),
    ]
    await watch.round()
    assert watch.queries == ["error_ratio"]
    [reading] = watch.judgement("checkout").readings
    assert (reading.health, reading.value, reading.series["pod"]) == (F, 0.30, "b")
    assert watch.health("search") is D
    [reading] = watch.judgement("cart").readings
    assert (reading.health, reading.value) == (H, 0.04)


async def test_a_series_that_is_no_number_makes_healthy_doubtful_but_not_trouble():
    watch = Watch(service("checkout"), service("search"), threshold())
    watch.answers["error_ratio"] = [
        ({"service": "checkout", "pod": "a"}, 0.01),
        ({"service": "checkout", "pod": "b"}, math.nan),
        ({"service": "search", "pod": "a"}, 0.2),
        ({"service": "search", "pod": "b"}, math.inf),
    ]
    await watch.round()
    assert watch.judgement("checkout").readings[0].query_status is QueryStatus.NOT_A_NUMBER
    assert watch.health("checkout") is U
    assert watch.health("search") is F


async def test_a_threshold_judges_only_the_services_it_matches():
    web, batch = service("checkout", tier="web"), service("reports", tier="batch")
    watch = Watch(web, batch, threshold("error_ratio", 'tier="web"'))
    watch.set(checkout=0.2, reports=0.2)
    await watch.round()
    assert watch.health("checkout") is F
    judgement = watch.judgement("reports")
    assert (judgement.health, judgement.readings) == (U, ())
    assert [alert.labels["service"] for alert in watch.alerts] == ["checkout"]


async def test_the_first_service_in_file_order_owns_a_series():
    watch = Watch(service("a", 'team="x"'), service("b", 'team=~"x|y"'), threshold())
    watch.answers["error_ratio"] = [({"team": "x"}, 0.2), ({"team": "y"}, 0.01)]
    await watch.round()
    assert (watch.health("a"), watch.health("b")) == (F, H)


async def test_trouble_outranks_the_unseen_and_that_outranks_health():
    watch = Watch(service("checkout"), threshold("a"), threshold("b"), threshold("c"))
    watch.set("a", checkout=0.01)
    watch.set("b", checkout=0.01)
    watch.set("c", checkout=0.01)
    await watch.round()
    judgement = watch.judgement()
    assert (judgement.health, len(judgement.readings)) == (H, 3)
    assert judgement.text == "a 1% (healthy); b 1% (healthy); c 1% (healthy)"
    watch.fail(QueryStatus.TIMEOUT, "no answer within 5s", expr="b")
    await watch.round()
    assert (watch.health(), watch.judgement().text) == (U, "b cannot be seen: no answer within 5s")
    watch.set("c", checkout=0.07)
    await watch.round()
    assert (watch.health(), watch.judgement().text) == (D, "c 7% >= 5% (degraded)")
    watch.set("a", checkout=0.5)
    await watch.round()
    assert watch.health() is F


async def test_healthy_since_is_that_of_the_threshold_that_recovered_last():
    watch = Watch(service("checkout"), threshold("a"), threshold("b"))
    watch.set("a", checkout=0.01)
    watch.set("b", checkout=0.2)
    await watch.round()
    watch.set("b", checkout=0.01)
    await watch.round()
    await watch.round()
    judgement = watch.judgement()
    assert (judgement.health, judgement.since, judgement.at) == (H, 1010.0, 1015.0)


@pytest.mark.parametrize(
    "query_status",
    [QueryStatus.BAD_DATA, QueryStatus.EXECUTION, QueryStatus.TIMEOUT, QueryStatus.UNREACHABLE, QueryStatus.BAD_ANSWER],
)
async def test_a_query_that_fails_is_unknown_for_all_its_services_and_never_trouble(query_status):
    watch = Watch(service("checkout"), service("search"), threshold())
    watch.set(checkout=0.01, search=0.2)
    await watch.round()
    watch.told()
    watch.fail(query_status, "the sentence of Prometheus")
    await watch.round()
    for name in ("checkout", "search"):
        [reading] = watch.judgement(name).readings
        assert (reading.health, reading.query_status) == (U, query_status)
        assert "the sentence of Prometheus" in reading.text
    assert watch.told() == []
    sample = watch.metrics.registry.get_sample_value
    labels = {"threshold": "error_ratio"}
    assert sample("remediator_evaluations_total", {**labels, "sight": "seen"}) == 1
    assert sample("remediator_evaluations_total", {**labels, "sight": query_status.value}) == 1
    assert sample("remediator_evaluation_duration_seconds_count") == 2


async def test_each_way_of_not_seeing_is_told_apart():
    watch = Watch(*(service(name) for name in ("gone", "nan", "inf", "negative")), threshold())
    watch.set(gone=0.01, nan=0.01, inf=0.01, negative=0.01)
    await watch.round()
    watch.set(nan=math.nan, inf=math.inf, negative=-math.inf)
    await watch.round()
    query_statuses = {
        name: watch.judgement(name).readings[0].query_status for name in ("gone", "nan", "inf", "negative")
    }
    assert query_statuses == {
        "gone": QueryStatus.NO_DATA,
        "nan": QueryStatus.NOT_A_NUMBER,
        "inf": QueryStatus.INFINITE,
        "negative": QueryStatus.INFINITE,
    }
    assert {watch.health(name) for name in query_statuses} == {U}
    assert watch.told() == []


async def test_warnings_make_an_answer_partial_and_conclude_nothing():
    watch = Watch(service("checkout"), service("search"), threshold())
    watch.set(checkout=0.01, search=0.01)
    await watch.round()
    series = [Series({"service": "checkout"}, 0.9)]
    watch.answers["error_ratio"] = Answer(0.0, QueryStatus.SEEN, series, warnings=("a store is away",), kind="vector")
    await watch.round()
    reading = watch.judgement("checkout").readings[0]
    assert (reading.health, reading.query_status, reading.value) == (U, QueryStatus.PARTIAL, 0.9)
    assert "a store is away" in reading.text
    assert watch.judgement("search").readings[0].query_status is QueryStatus.PARTIAL
    assert watch.told() == []
    sample = watch.metrics.registry.get_sample_value
    assert sample("remediator_evaluations_total", {"threshold": "error_ratio", "sight": "partial"}) == 1


async def test_remarks_of_the_engine_about_the_expression_blind_nobody():
    watch = Watch(service("checkout"), threshold())
    series = [Series({"service": "checkout"}, 0.9)]
    remarks = ("PromQL info: metric might not be a counter",)
    watch.answers["error_ratio"] = Answer(0.0, QueryStatus.SEEN, series, remarks=remarks, kind="vector")
    await watch.round()
    assert watch.health("checkout") is F


async def test_a_native_histogram_blinds_its_own_service_alone():
    watch = Watch(*(service(name) for name in ("cart", "shop", "mixed", "worse")), threshold())
    series = [
        Series({"service": "cart"}, math.nan, histogram=True),
        Series({"service": "shop"}, 0.9),
        Series({"service": "mixed", "pod": "a"}, 0.01),
        Series({"service": "mixed", "pod": "b"}, math.nan, histogram=True),
        # Trouble that is seen is seen, whatever another series says.
        Series({"service": "worse", "pod": "a"}, math.nan, histogram=True),
        Series({"service": "worse", "pod": "b"}, 0.9),
    ]
    watch.answers["error_ratio"] = Answer(0.0, QueryStatus.SEEN, series, kind="vector")
    await watch.round()
    assert {name: watch.health(name) for name in ("cart", "shop", "mixed", "worse")} == {
        "cart": U,
        "shop": F,
        "mixed": U,
        "worse": F,
    }
    reading = watch.judgement("cart").readings[0]
    assert reading.query_status is QueryStatus.NATIVE_HISTOGRAM
    assert "histogram_quantile" in reading.text
    sample = watch.metrics.registry.get_sample_value
    assert sample("remediator_evaluations_total", {"threshold": "error_ratio", "sight": "seen"}) == 1


async def test_a_threshold_that_never_had_a_series_is_left_out_unless_all_are_so():
    watch = Watch(service("checkout"), service("search"), threshold("a"), threshold("b"))
    watch.set("a", checkout=0.01)
    await watch.round()
    assert [reading.threshold for reading in watch.judgement("checkout").readings] == ["a"]
    assert watch.health("checkout") is H
    judgement = watch.judgement("search")
    assert judgement.health is U
    assert [(reading.threshold, reading.query_status) for reading in judgement.readings] == [
        ("a", QueryStatus.NO_DATA),
        ("b", QueryStatus.NO_DATA),
    ]


async def test_before_the_first_round_there_are_readings_that_say_so():
    watch = Watch(service("checkout"), threshold())
    judgement = watch.judgement()
    assert (judgement.health, judgement.readings[0].query_status) == (U, QueryStatus.STALE)
    assert judgement.text == "error_ratio has not been looked at yet"
    watch.fail(QueryStatus.UNREACHABLE, "cannot reach Prometheus")
    await watch.round()
    judgement = watch.judgement()
    assert (judgement.health, judgement.readings[0].query_status) == (U, QueryStatus.UNREACHABLE)


async def test_a_look_that_is_too_old_is_stale():
    watch = Watch(service("checkout"), threshold())
    watch.set(checkout=0.2)
    await watch.round()
    service_ = watch.rulebook.named["checkout"]
    at = watch.clock.now()
    assert watch.evaluator.judgement(service_, at + 30.0).health is F
    judgement = watch.evaluator.judgement(service_, at + 31.0)
    assert (judgement.health, judgement.readings[0].health, judgement.readings[0].query_status) == (
        U,
        U,
        QueryStatus.STALE,
    )


async def test_after_a_gap_everyone_is_told_and_health_counts_anew():
    watch = Watch(service("checkout"), threshold())
    watch.set(checkout=0.01)
    await watch.round()
    await watch.round()
    watch.changed.clear()
    await watch.round(later=60.0)
    assert watch.changed == [{"checkout"}]
    assert watch.judgement().since == watch.clock.now()


# Alerts.


async def test_a_breach_is_an_alert_from_its_beginning_to_its_end():
    watch = Watch(service("checkout"), threshold(for_=10.0))
    watch.set(checkout=0.2)
    await watch.round()
    await watch.round()
    assert (watch.told(), watch.health()) == ([], H)
    await watch.round()
    [alert] = watch.alerts
    labels = {"alertname": "error_ratio", "service": "checkout"}
    assert alert.labels == labels
    assert (alert.fingerprint, alert.source, alert.firing) == (fingerprint(labels), Source.THRESHOLD, True)
    assert alert.annotations == {"summary": "error_ratio 20% > 10% for 10s (failed)", "health": "failed"}
    assert watch.told() == [("checkout", True, 1005.0, None)]
    await watch.round()
    watch.fail(QueryStatus.UNREACHABLE)
    await watch.round()
    watch.set(checkout=math.nan)
    await watch.round()
    assert watch.told() == []
    watch.set(checkout=0.01)
    await watch.round()
    assert watch.told() == [("checkout", False, 1005.0, 1035.0)]


async def test_an_alert_stays_the_same_whichever_series_is_worst_and_is_told_again_when_its_gravity_changes():
    watch = Watch(service("checkout"), threshold())
    watch.answers["error_ratio"] = [({"service": "checkout", "pod": "a"}, 0.07)]
    await watch.round()
    watch.answers["error_ratio"] = [({"service": "checkout", "pod": "b"}, 0.3)]
    await watch.round()
    first, second = watch.alerts
    assert first.key == second.key
    assert [alert.annotations["health"] for alert in watch.alerts] == ["degraded", "failed"]


async def test_the_alerts_of_a_round_are_handed_on_together():
    watch = Watch(service("checkout"), service("search"), threshold("a"), threshold("b"))
    for name in ("a", "b"):
        watch.set(name, checkout=0.2, search=0.2)
    batches = []

    async def intake(alerts):
        batches.append(len(alerts))

    watch.evaluator._intake = intake
    await watch.round()
    assert batches == [4]


async def test_alerts_that_cannot_be_stored_are_handed_on_later_in_their_latest_state():
    watch = Watch(service("checkout"), service("search"), threshold())
    watch.store_works = False
    watch.set(checkout=0.2, search=0.2)
    await watch.round()
    watch.set(checkout=0.01, search=0.2)
    await watch.round()
    assert watch.told() == []
    watch.store_works = True
    await watch.round()
    assert sorted(watch.told()) == [("checkout", False, 1005.0, 1010.0), ("search", True, 1005.0, None)]
    await watch.round()
    assert watch.told() == []


async def test_when_only_asked_to_look_alerts_that_could_not_be_stored_are_tried_again_by_themselves():
    watch = Watch(service("checkout"), threshold(), interval=0.0)
    watch.store_works = False
    watch.set(checkout=0.2)
    async with running(watch):
        watch.store_works = True
        await watch.clock.run_until(lambda: watch.alerts, within=10)


async def firing_before(watch, value=0.2):
    """The alert of a breach, as the store holds it after remediator has ended."""
    before = Watch(*watch.rulebook.services, *watch.rulebook.thresholds)
    before.set(checkout=value)
    before.clock._now -= 100.0
    await before.round()
    before.evaluator.close()
    return before.alerts


async def test_after_a_restart_a_breach_that_is_still_seen_goes_on_at_once():
    watch = Watch(service("checkout"), threshold(for_=15.0))
    [alert] = await firing_before(Watch(service("checkout"), threshold()))
    await watch.evaluator.restore([alert])
    assert (watch.health(), watch.judgement().readings[0].query_status) == (U, QueryStatus.STALE)
    watch.set(checkout=0.2)
    await watch.round()
    assert (watch.health(), watch.told()) == (F, [])
    assert watch.judgement().since == alert.starts_at, "it has been failed all the time"
    watch.set(checkout=0.01)
    await watch.round()
    assert watch.told() == [("checkout", False, alert.starts_at, 1010.0)]


async def test_after_a_restart_a_breach_that_is_gone_ends_and_one_that_is_not_seen_does_not():
    watch = Watch(service("checkout"), threshold())
    [alert] = await firing_before(watch)
    await watch.evaluator.restore([alert])
    watch.fail(QueryStatus.UNREACHABLE)
    await watch.round()
    watch.set()
    await watch.round()
    assert (watch.told(), watch.judgement().readings[0].query_status) == ([], QueryStatus.NO_DATA)
    watch.set(checkout=0.0)
    await watch.round()
    assert watch.told() == [("checkout", False, alert.starts_at, 1015.0)]


async def test_after_a_restart_only_the_last_alert_of_a_breach_goes_on():
    watch = Watch(service("checkout"), threshold())
    [last] = await firing_before(watch)
    earlier = [msgspec.structs.replace(last, starts_at=last.starts_at - ago) for ago in (50.0, 7.0)]
    await watch.evaluator.restore([earlier[0], last, earlier[1]])
    watch.set(checkout=0.2)
    await watch.round()
    assert watch.told() == [("checkout", False, alert.starts_at, 1000.0) for alert in reversed(earlier)]
    watch.set(checkout=0.01)
    await watch.round()
    assert watch.told() == [("checkout", False, last.starts_at, 1010.0)]


async def test_after_a_restart_alerts_whose_threshold_or_service_is_gone_end():
    watch = Watch(service("checkout", tier="web"), threshold("other"))
    [alert] = await firing_before(Watch(service("checkout"), threshold()))
    await watch.evaluator.restore([alert])
    await watch.round()
    assert watch.told() == [("checkout", False, alert.starts_at, 1000.0)]
    unmatched = Watch(service("checkout", tier="web"), threshold("error_ratio", 'tier="db"'))
    await unmatched.evaluator.restore([alert])
    await unmatched.round()
    assert unmatched.told() == [("checkout", False, alert.starts_at, 1000.0)]


# Templated services.


async def test_a_templated_service_comes_into_being_from_its_series():
    watch = Watch(TEMPLATED, threshold("error_ratio", 'tier="web"'))
    watch.answers["error_ratio"] = [
        ({"namespace": "shop", "app": "web", "pod": "a"}, 0.2),
        ({"namespace": "shop"}, 0.2),
    ]
    await watch.round()
    assert list(watch.evaluator.found_services) == ["shop/web"]
    assert watch.evaluator.found_services["shop/web"].labels["service"] == "shop/web"
    assert watch.health("shop/web") is F
    assert watch.alerts[0].labels == {"alertname": "error_ratio", "service": "shop/web"}


async def test_a_templated_service_is_forgotten_a_while_after_its_series_are_gone():
    watch = Watch(TEMPLATED, service("checkout"), threshold("a"), threshold("b"))
    watch.answers["a"] = [({"namespace": "shop", "app": "web"}, 0.2), ({"service": "checkout"}, 0.01)]
    watch.answers["b"] = [({"namespace": "shop", "app": "web"}, 0.01)]
    await watch.round()
    watch.told()
    watch.answers["a"] = []
    for _ in range(int(FORGET / 20) + 2):
        await watch.round(later=20.0)
    assert "shop/web" in watch.evaluator.found_services, "the other threshold still sees it"
    watch.answers["b"] = []
    await watch.round(later=20.0)
    assert watch.health("shop/web") is U
    for _ in range(int(FORGET / 20)):
        await watch.round(later=20.0)
    assert "shop/web" in watch.evaluator.found_services
    assert watch.told() == []
    await watch.round(later=20.0)
    assert watch.evaluator.found_services == {}
    assert watch.told() == [("shop/web", False, 1005.0, watch.clock.now())]
    assert watch.judgement("checkout").readings[0].query_status is QueryStatus.NO_DATA, (
        "a service that a file names stays"
    )


async def test_templated_services_are_bounded_and_the_longest_idle_make_way(monkeypatch, caplog):
    """Names come from outside: churning labels must not fill the memory, and what is judged goes on being judged."""
    monkeypatch.setattr(evaluation, "MOST_TEMPLATED", 3)
    watch = Watch(TEMPLATED, service("checkout"), threshold())

    def series(*apps):
        named = [({"namespace": "shop", "app": app}, 0.2) for app in apps]
        return [*named, ({"service": "checkout"}, 0.01)]

    watch.answers["error_ratio"] = series("a", "b", "c")
    await watch.round()
    watch.answers["error_ratio"] = series("b", "c", "d", "e")
    await watch.round()
    assert sorted(watch.evaluator.found_services) == ["shop/b", "shop/c"], "a has no series any more"
    assert watch.metrics.services_left_out._value.get() == 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    await watch.round()
    assert sorted(watch.evaluator.found_services) == ["shop/b", "shop/c", "shop/d", "shop/e"]
    await watch.round()
    assert (watch.health("shop/b"), watch.health("checkout")) == (F, H)
    assert watch.metrics.services_left_out._value.get() == 0
    for number in range(20):
        watch.answers["error_ratio"] = series(*(f"{number}-{n}" for n in range(4)))
        await watch.round()
        assert len(watch.evaluator.found_services) <= 7
    assert watch.health("checkout") is H


async def test_an_outage_of_prometheus_forgets_nothing():
    watch = Watch(TEMPLATED, threshold())
    watch.answers["error_ratio"] = [({"namespace": "shop", "app": "web"}, 0.01)]
    await watch.round()
    watch.fail(QueryStatus.UNREACHABLE)
    for _ in range(int(FORGET / 20) + 5):
        await watch.round(later=20.0)
    watch.answers["error_ratio"] = []
    await watch.round(later=20.0)
    assert "shop/web" in watch.evaluator.found_services


async def test_a_hostile_label_names_no_service_and_stops_no_round():
    watch = Watch(TEMPLATED, service("checkout"), threshold())
    watch.answers["error_ratio"] = [
        ({"namespace": "shop", "app": "x" * 100_000}, 0.2),
        ({"namespace": "shop", "app": "a\x00b"}, 0.2),
        ({"service": "checkout"}, 0.2),
    ]
    await watch.round()
    assert watch.evaluator.found_services == {}
    assert watch.health("checkout") is F


# Other rules.


async def test_unchanged_thresholds_keep_what_they_know_through_a_reload():
    watch = Watch(service("checkout"), threshold("a", for_=10.0), threshold("b", for_=10.0))
    for name in ("a", "b"):
        watch.set(name, checkout=0.2)
    for _ in range(3):
        await watch.round()
    watch.told()
    watch.rulebook = book(service("checkout"), threshold("a", for_=10.0), threshold("b", for_=20.0))
    watch.evaluator.swap(watch.rulebook)
    assert [(reading.threshold, reading.health) for reading in watch.judgement().readings] == [("a", F), ("b", U)]
    await watch.round()
    judgement = watch.judgement()
    assert [(reading.threshold, reading.health) for reading in judgement.readings] == [("a", F), ("b", H)]
    [alert] = watch.alerts
    assert (alert.name, alert.firing) == ("b", False), "its breach ends with its definition"


async def test_a_reload_ends_the_breaches_of_services_and_thresholds_that_are_gone():
    watch = Watch(service("checkout"), service("search"), TEMPLATED, threshold("a"), threshold("b"))
    labels = {"namespace": "shop", "app": "web"}
    for name in ("a", "b"):
        watch.answers[name] = [({"service": "checkout"}, 0.2), ({"service": "search"}, 0.2), (labels, 0.2)]
    await watch.round()
    watch.told()
    watch.rulebook = book(service("checkout"), TEMPLATED, threshold("a"))
    watch.evaluator.swap(watch.rulebook)
    await watch.round()
    ended = sorted((alert.name, alert.labels["service"]) for alert in watch.alerts)
    assert ended == [("a", "search"), ("b", "checkout"), ("b", "search"), ("b", "shop/web")]
    assert not any(alert.firing for alert in watch.alerts)
    assert (watch.health("checkout"), watch.health("shop/web")) == (F, F)
    assert watch.changed[-1] >= {"search"}


async def test_a_templated_service_has_its_new_labels_after_a_reload():
    watch = Watch(TEMPLATED, threshold())
    watch.answers["error_ratio"] = [({"namespace": "shop", "app": "web"}, 0.2)]
    await watch.round()
    watch.rulebook = book(Service(TEMPLATED.name, {"tier": "gold"}, TEMPLATED.match), threshold())
    watch.evaluator.swap(watch.rulebook)
    await watch.round()
    assert watch.evaluator.found_services["shop/web"].labels["tier"] == "gold"
    watch.evaluator.swap(book(threshold()))
    await watch.round()
    assert watch.evaluator.found_services == {}


# When it looks.


async def test_it_looks_at_every_interval():
    watch = Watch(service("checkout"), threshold())
    async with running(watch):
        await watch.clock.run_for(20.0)
    assert len(watch.queries) == 5
    assert watch.evaluator.evaluated_at == 1020.0


async def test_it_looks_at_once_when_asked_and_says_so_even_when_nothing_changed():
    watch = Watch(service("checkout"), service("search"), threshold())
    watch.set(checkout=0.01, search=0.01)
    async with running(watch):
        await watch.clock.run_for(7.0)
        watch.changed.clear()
        watch.evaluator.evaluate(["checkout"])
        await watch.clock.settle()
        assert watch.changed == [{"checkout"}]
        assert watch.evaluator.evaluated_at == 1007.0
        await watch.clock.run_for(3.0)
        assert watch.evaluator.evaluated_at == 1010.0, "the beat goes on as it was"


async def test_with_an_interval_of_zero_it_looks_only_when_asked():
    watch = Watch(service("checkout"), threshold(), interval=0.0)
    async with running(watch):
        await watch.clock.run_for(10_000.0)
        assert len(watch.queries) == 1, "once at the start"
        watch.evaluator.evaluate(["checkout"])
        await watch.clock.settle()
        assert len(watch.queries) == 2


async def test_with_an_interval_of_zero_it_looks_on_while_a_breach_is_under_way():
    watch = Watch(service("checkout"), threshold(for_=60.0), interval=0.0)
    async with running(watch):
        watch.set(checkout=0.2)
        watch.evaluator.evaluate(["checkout"])
        await watch.clock.run_until(lambda: watch.health() is F, within=61)
        watch.set(checkout=0.01)
        await watch.clock.run_until(lambda: watch.health() is H, within=6)
        queries = len(watch.queries)
        await watch.clock.run_for(10_000.0)
        assert len(watch.queries) == queries


async def test_rounds_never_overlap_and_what_is_asked_during_one_is_answered_after_it():
    watch = Watch(service("checkout"), threshold())
    gate, entered, inside, most = threading.Event(), threading.Semaphore(0), [0], [0]

    def slow():
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        entered.release()
        gate.wait(10)
        inside[0] -= 1
        return Answer(0.0, QueryStatus.SEEN, [Series({"service": "checkout"}, 0.01)], kind="vector")

    watch.answers["error_ratio"] = slow
    task = asyncio.create_task(watch.evaluator.run())
    await asyncio.to_thread(entered.acquire)
    watch.clock._now = 1002.0
    for _ in range(5):
        watch.evaluator.evaluate(["checkout"])
    watch.changed.clear()
    gate.set()
    await asyncio.to_thread(entered.acquire)
    await watch.clock.settle()
    assert len(watch.queries) == 2
    assert watch.evaluator.evaluated_at == 1002.0
    assert watch.changed == [{"checkout"}, {"checkout"}], "first seen, then asked for"
    assert most == [1]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    watch.evaluator.close()


async def test_a_breach_counts_with_the_look_that_is_due_then_though_looks_are_a_little_late():
    watch = Watch(service("checkout"), threshold(for_=10.0))
    watch.set(checkout=0.0)
    wait, late = watch.clock.wait, itertools.cycle([0.009, 0.001, 0.001])

    async def oversleep(event, timeout):
        await wait(event, timeout + next(late))

    watch.clock.wait = oversleep
    async with running(watch):
        watch.set(checkout=0.3)
        await watch.clock.run_for(10.5)
        assert watch.health() is Health.HEALTHY
        await watch.clock.run_for(5.0)
        assert watch.health() is Health.FAILED
        assert watch.told() == [("checkout", True, 1005.0, None)]


async def test_a_look_that_is_asked_for_is_of_the_time_at_which_it_is_made():
    watch = Watch(service("checkout"), threshold())
    watch.set(checkout=0.0)
    async with running(watch):
        await watch.clock.run_for(5.05)
        watch.evaluator.evaluate(["checkout"])
        await watch.clock.settle()
        assert watch.evaluator.evaluated_at == 1005.05


async def test_a_look_that_is_late_by_more_is_of_its_own_time():
    watch = Watch(service("checkout"), threshold())
    watch.set(checkout=0.0)
    wait = watch.clock.wait

    async def oversleep(event, timeout):
        await wait(event, timeout + 0.5)

    watch.clock.wait = oversleep
    async with running(watch):
        await watch.clock.run_for(6.0)
        assert watch.evaluator.evaluated_at == 1005.5


async def test_ticks_that_a_long_round_runs_over_are_left_out():
    watch = Watch(service("checkout"), threshold())

    def long():
        watch.clock._now += 12.0
        return Answer(0.0, QueryStatus.SEEN, [], kind="vector")

    async with running(watch):
        watch.answers["error_ratio"] = long
        await watch.clock.run_for(5.0)
        watch.answers["error_ratio"] = []
        assert watch.evaluator.evaluated_at == 1005.0
        await watch.clock.run_until(lambda: watch.evaluator.evaluated_at > 1005.0)
        assert watch.evaluator.evaluated_at == 1020.0


async def test_thresholds_are_asked_about_at_the_same_time():
    watch = Watch(service("checkout"), threshold("a"), threshold("b"), threshold("c"))
    together = threading.Barrier(3)

    def meet():
        together.wait(10)
        return Answer(0.0, QueryStatus.SEEN, [Series({"service": "checkout"}, 0.01)], kind="vector")

    for name in ("a", "b", "c"):
        watch.answers[name] = meet
    await watch.round()
    assert watch.health() is H


async def test_without_thresholds_prometheus_is_asked_for_a_sign_of_life():
    watch = Watch(service("checkout"))
    await watch.round()
    assert watch.queries == [HEARTBEAT]
    assert (watch.evaluator.seen_at, watch.evaluator.seen_since) == (1005.0, 1005.0)
    assert watch.judgement().readings == ()


async def test_when_prometheus_answered_and_since_when():
    watch = Watch(service("checkout"), threshold("a"), threshold("b"))
    evaluator = watch.evaluator
    assert (evaluator.seen_at, evaluator.seen_since) == (0.0, 0.0)
    watch.fail(QueryStatus.BAD_DATA, expr="a")
    watch.fail(QueryStatus.UNREACHABLE, expr="b")
    await watch.round()
    assert (evaluator.seen_at, evaluator.seen_since) == (1005.0, 1005.0), "an error is an answer"
    await watch.round()
    assert (evaluator.seen_at, evaluator.seen_since) == (1010.0, 1005.0)
    watch.fail(QueryStatus.TIMEOUT, expr="a")
    await watch.round()
    assert (evaluator.seen_at, evaluator.evaluated_at) == (1010.0, 1015.0)
    watch.set("a", checkout=0.01)
    await watch.round()
    assert (evaluator.seen_at, evaluator.seen_since) == (1020.0, 1020.0)


async def test_each_prometheus_has_its_own_status():
    rules = book(
        service("shop"),
        service("cart"),
        service("both"),
        Service("plain", {"service": "plain"}, (), prometheus="eu"),
        threshold("us_errors", 'service=~"shop|both"'),
        threshold("eu_errors", 'service=~"cart|both"', prometheus="eu"),
    )
    answers = {"us": {}, "eu": {}, "idle": {}}

    def query_of(source):
        def query(expr):
            answers[source]["asked"] = expr
            if answers[source].get("dark"):
                return Answer(0.0, QueryStatus.UNREACHABLE, error=f"cannot reach {source}")
            names = {"us_errors": ("shop", "both"), "eu_errors": ("cart", "both")}.get(expr, ())
            return Answer(0.0, QueryStatus.SEEN, [Series({"service": name}, 0.01) for name in names], kind="vector")

        return query

    clock = VirtualClock(1000.0)
    evaluator = Evaluator(
        rules,
        query_of("us"),
        clock=clock,
        metrics=Metrics(),
        interval=5.0,
        stale_after=30.0,
        intake=Watch(*()).intake,
        sources={source: query_of(source) for source in answers},
    )
    services = rules.named

    def judged():
        return {name: evaluator.judgement(one, clock.now()).health for name, one in services.items() if name != "plain"}

    await evaluator.evaluate_now()
    assert {source: asked["asked"] for source, asked in answers.items()} == {
        "us": "us_errors",
        "eu": "eu_errors",
        "idle": HEARTBEAT,
    }
    assert judged() == {"shop": H, "cart": H, "both": H}
    assert {name: evaluator.source_of(one) for name, one in services.items()} == {
        "shop": "us",
        "cart": "eu",
        "both": "us",
        "plain": "eu",
    }
    answers["eu"]["dark"] = True
    clock._now += 5
    await evaluator.evaluate_now()
    assert judged() == {"shop": H, "cart": U, "both": U}
    assert [evaluator.status_for(services[name]).answers for name in ("shop", "cart", "both", "plain")] == [
        True,
        False,
        True,
        False,
    ]
    answers["eu"]["dark"] = False
    clock._now += 5
    await evaluator.evaluate_now()
    assert judged() == {"shop": H, "cart": H, "both": H}
    assert [evaluator.status_for(services[name]).back for name in ("shop", "cart", "plain")] == [1000.0, 1010.0, 1010.0]
    evaluator.close()


async def test_only_what_changed_is_told():
    watch = Watch(service("checkout"), service("search"), threshold(for_=10.0))
    watch.set(checkout=0.01, search=0.01)
    await watch.round()
    assert watch.changed == [{"checkout", "search"}]
    watch.changed.clear()
    watch.set(checkout=0.02, search=0.03)
    await watch.round()
    assert watch.changed == [], "other values, the same judgement"
    watch.set(checkout=0.02, search=0.2)
    await watch.round()
    assert watch.changed == [{"search"}], "a breach is pending"
    watch.changed.clear()
    await watch.round()
    assert watch.changed == []
    await watch.round()
    assert watch.changed == [{"search"}]


async def test_many_services_are_judged_with_one_query_each():
    names = [f"service-{number}" for number in range(2000)]
    watch = Watch(*(service(name) for name in names), threshold("a"), threshold("b"))
    for name in ("a", "b"):
        watch.answers[name] = [({"service": n}, 0.2 if i % 10 == 0 else 0.01) for i, n in enumerate(names)]
    await watch.round()
    assert sorted(watch.queries) == ["a", "b"]
    assert sum(watch.health(name) is F for name in names) == 200
    assert len(watch.told()) == 400


@pytest.mark.parametrize(
    "first",
    [
        Answer(0.0, QueryStatus.SEEN, [Series({"service": "search"}, 0.0)], warnings=["partial"], kind="vector"),
        Answer(0.0, QueryStatus.UNREACHABLE, error="refused"),
        Answer(0.0, QueryStatus.BAD_DATA, error="parse error"),
    ],
)
async def test_a_threshold_that_has_not_yet_seen_everything_may_see_trouble(first):
    watch = Watch(service("checkout"), threshold("error_ratio"), threshold("latency"))
    watch.set("error_ratio", checkout=0.0)
    watch.answers["latency"] = first
    await watch.round()
    assert watch.health() is U
    # Trouble that is seen is trouble whatever else is not.
    watch.set("error_ratio", checkout=0.5)
    await watch.round()
    assert watch.health() is F
    watch.set("error_ratio", checkout=0.0)
    watch.answers["latency"] = []
    await watch.round()
    assert watch.health() is H
    # It has no series for the service, and that it once had none is known.
    watch.answers["latency"] = first
    await watch.round()
    assert watch.health() is H


async def test_a_threshold_that_has_just_come_says_nothing_of_health_until_it_is_looked_at():
    watch = Watch(service("checkout"), threshold("error_ratio"))
    watch.set("error_ratio", checkout=0.0)
    await watch.round()
    assert watch.health() is H
    watch.evaluator.swap(book(service("checkout"), threshold("error_ratio"), threshold("latency")))
    assert watch.health() is U
    await watch.round()
    assert watch.health() is H

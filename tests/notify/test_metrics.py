"""What the journal adds to the metrics, and what promtool says of the exposition."""

from __future__ import annotations

import subprocess

import pytest
from notify.story import HastyClock, Story
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from remediator.metrics import Metrics
from remediator.model.action import Outcome
from remediator.model.alert import Alert
from remediator.model.gate import Gate
from remediator.model.health import Health
from remediator.model.incident import Disposition, Hold, Settlement, Verdict
from remediator.notify.follower import Follower
from remediator.notify.metrics import MetricsAnnouncer, follow_health
from remediator.store.sql_store import SqlStore


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def follower(store: SqlStore, clock: HastyClock, metrics: Metrics) -> Follower:
    made = Follower(MetricsAnnouncer(metrics), store, clock=clock, metrics=metrics)
    await made.begin()
    return made


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"remediator_{name}", labels)


async def test_a_heal_is_counted_once_with_its_last_action(story: Story, metrics: Metrics, follower: Follower) -> None:
    incident = await story.opens()
    await story.ends(await story.begins(incident, action="restart"), Outcome.FAILED)
    await story.ends(await story.begins(incident, 1, "rollback"))
    closed = await story.closes(incident)
    await follower.catch_up()
    await follower.catch_up()
    heal = {"service": "checkout", "runbook": "web", "action": "rollback", "verdict": "recovered"}
    assert value(metrics, "heals_total", **heal) == 1
    assert value(metrics, "steps_total", runbook="web", action="restart", outcome="failed") == 1
    assert value(metrics, "steps_total", runbook="web", action="rollback", outcome="succeeded") == 1
    assert value(metrics, "recovery_duration_seconds_count", runbook="web") == 1
    taken = closed.closed_at - closed.opened_at  # type: ignore[operator]
    assert value(metrics, "recovery_duration_seconds_sum", runbook="web") == pytest.approx(taken)


async def test_only_recovery_has_a_recovery_duration(story: Story, metrics: Metrics, follower: Follower) -> None:
    await story.closes(await story.opens(), Verdict.CLEARED)
    await follower.catch_up()
    heal = {"service": "checkout", "runbook": "web", "action": "none", "verdict": "cleared"}
    assert value(metrics, "heals_total", **heal) == 1
    assert value(metrics, "recovery_duration_seconds_count", runbook="web") is None


async def test_a_step_passed_over_counts_as_skipped(story: Story, metrics: Metrics, follower: Follower) -> None:
    incident = await story.opens()
    await story.store.pass_over(incident.id, 0, "scale", "at its limit", story.now())
    await follower.catch_up()
    assert value(metrics, "steps_total", runbook="web", action="scale", outcome="skipped") == 1


async def test_holds_of_incidents_and_of_alerts(story: Story, metrics: Metrics, follower: Follower) -> None:
    incident = await story.opens()
    for hold in (Hold(Gate.COOLDOWN, "5m left"), Hold(Gate.COOLDOWN, "4m left"), None, Hold(Gate.COOLDOWN, "again")):
        await story.store.hold_incident(incident.id, hold, story.now())
    alert = Alert("f1", story.now(), None, {"alertname": "A"})
    await story.store.put_alerts([alert], story.now())
    held = Settlement(alert.key, Disposition.HELD, "paused by me", "search", "paused")
    for settlement in (held, held, Settlement(alert.key, Disposition.NO_RUNBOOK, "no runbook", "search")):
        await story.store.settle([settlement], story.now())
    await follower.catch_up()
    assert value(metrics, "holds_total", gate="cooldown") == 2
    assert value(metrics, "holds_total", gate="paused") == 1
    assert value(metrics, "holds_total", gate="") is None


async def test_counting_begins_when_the_process_does(
    story: Story, store: SqlStore, clock: HastyClock, metrics: Metrics
) -> None:
    await story.heals()
    follower = Follower(MetricsAnnouncer(metrics), store, clock=clock, metrics=metrics)
    await follower.begin()
    await story.closes(await story.opens("search"), Verdict.EXHAUSTED)
    await follower.catch_up()
    counted = [sample.labels["service"] for sample in metrics.heals.collect()[0].samples]
    assert counted == ["search"]
    assert await store.cursor("metrics") is None


HEALTHS = [("checkout", Health.FAILED), ('a"b\\c\nd', Health.HEALTHY), ("ü", Health.UNKNOWN)]


def test_health_is_a_state_set() -> None:
    metrics = Metrics()
    follow_health(metrics, lambda: HEALTHS)
    body, content_type = metrics.exposition()
    assert content_type.startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    seen = {(s.labels["service"], s.labels["health"]): s.value for s in families["remediator_service_health"].samples}
    assert seen == {(name, str(h)): float(h is health) for name, health in HEALTHS for h in Health}


def test_both_ways_of_writing_it_out_say_the_same() -> None:
    metrics = Metrics()
    follow_health(metrics, lambda: HEALTHS)

    def ours(text: bytes) -> list[str]:
        return sorted(line for line in text.decode().splitlines() if "remediator_" in line or line == "# EOF")

    for accept, encode in (
        ("", generate_latest),
        ("application/openmetrics-text; version=1.0.0", generate_openmetrics),
    ):
        body, _ = metrics.exposition(accept)
        assert ours(body) == ours(encode(metrics.registry))
    assert body.endswith(b"# EOF\n")


async def test_promtool_has_nothing_to_say(story: Story, metrics: Metrics, follower: Follower) -> None:
    follow_health(metrics, lambda: HEALTHS)
    incident = await story.heals()
    await story.store.hold_incident((await story.opens()).id, Hold(Gate.COOLDOWN, "left"), story.now())
    await follower.catch_up()
    metrics.notifications.labels("accepted").inc()
    metrics.alerts.labels("opened").inc()
    metrics.queries.labels("seen").inc()
    metrics.evaluations.labels("error_ratio", "seen").inc()
    metrics.step_duration.labels("restart").observe(1)
    for histogram in (metrics.query_duration, metrics.evaluation_duration, metrics.cycle_duration):
        histogram.observe(0.1)
    assert incident.closed_at
    for body in (metrics.exposition()[0], generate_latest(metrics.registry)):
        checked = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
        assert b"_created" not in body

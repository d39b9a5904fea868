"""The evaluator on a real Prometheus: values that are scraped, judged, and handed on as alerts, and its outages."""

import asyncio
import contextlib

from real.prometheus import Exposition, RealPrometheus, in_thread, until

from remediator.clients.http_options import HttpClient
from remediator.clients.prometheus.client import Prometheus
from remediator.engine.evaluator import Evaluator
from remediator.metrics import Metrics
from remediator.model.clock import SystemClock
from remediator.model.health import Health, QueryStatus, parse_comparison
from remediator.model.matcher import parse_matcher
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Service, Threshold

NAMES = ("checkout", "search", "cart", "idle")
RULES = Rulebook(
    [Service(name, {"service": name}, (parse_matcher(f'service="{name}"'),)) for name in NAMES],
    [
        Threshold(
            "error_ratio",
            "sum by (service) (errors) / sum by (service) (requests)",
            degraded=parse_comparison(">= 0.05"),
            failed=parse_comparison("> 0.10"),
            unit="ratio",
        )
    ],
)


def exposition(**services):
    """Errors and requests by service."""
    return "".join(
        f'errors{{service="{name}"}} {errors}\nrequests{{service="{name}"}} {requests}\n'
        for name, (errors, requests) in services.items()
    )


@contextlib.asynccontextmanager
async def evaluating(server, *, timeout=5.0):
    """An evaluator that runs, with the health and sight of every service and the alerts handed on."""
    metrics, alerts = Metrics(), []
    client = Prometheus(HttpClient(server.url), query_timeout=timeout, metrics=metrics)

    async def intake(batch):
        alerts.extend(batch)

    evaluator = Evaluator(
        RULES,
        client.query_blocking,
        clock=SystemClock(),
        metrics=metrics,
        interval=0.1,
        stale_after=30.0,
        intake=intake,
    )

    def seen():
        now = SystemClock().now()
        judgements = {name: evaluator.judgement(service, now) for name, service in RULES.named.items()}
        return {name: (found.health, found.readings[0].query_status) for name, found in judgements.items()}

    task = asyncio.create_task(evaluator.run())
    try:
        yield seen, alerts
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        evaluator.close()
        await client.close()


async def test_what_is_scraped_is_judged_and_handed_on(tmp_path):
    healthy, failed = (Health.HEALTHY, QueryStatus.SEEN), (Health.FAILED, QueryStatus.SEEN)
    text = exposition(checkout=(0, 100), search=(7, 100), cart=(1, 0), idle=(0, 0))
    with Exposition(text) as source:
        async with RealPrometheus(tmp_path, targets=[source.address]) as server, evaluating(server) as (seen, alerts):
            expected = {
                "checkout": healthy,
                "search": (Health.DEGRADED, QueryStatus.SEEN),
                "cart": (Health.UNKNOWN, QueryStatus.INFINITE),
                "idle": (Health.UNKNOWN, QueryStatus.NOT_A_NUMBER),
            }
            await until(lambda: seen() == expected)
            source.text = exposition(checkout=(20, 100), search=(0, 100), cart=(0, 10))
            await until(lambda: (seen()["checkout"], seen()["search"]) == (failed, healthy))
            source.text = exposition(checkout=(0, 100), search=(0, 100), cart=(0, 10))
            await until(lambda: seen()["checkout"] == healthy)
            # Prometheus marks a series stale that is no longer exposed, so the service has none.
            await until(lambda: seen()["idle"] == (Health.UNKNOWN, QueryStatus.NO_DATA))
    told = {
        name: [(alert.annotations["health"], alert.firing) for alert in alerts if alert.labels["service"] == name]
        for name in NAMES
    }
    assert told == {
        "checkout": [("failed", True), ("healthy", False)],
        "search": [("degraded", True), ("healthy", False)],
        "cart": [],
        "idle": [],
    }


async def test_an_outage_is_unknown_and_neither_opens_nor_ends_anything(tmp_path):
    everywhere = " or ".join(f'label_replace(vector({v}), "service", "{n}", "", "")' for n, v in
                             (("checkout", 20), ("search", 0)))  # fmt: skip
    requests = everywhere.replace("vector(20)", "vector(100)").replace("vector(0)", "vector(100)")
    rules = [{"record": "errors", "expr": everywhere}, {"record": "requests", "expr": requests}]
    async with RealPrometheus(tmp_path, rules=rules) as server, evaluating(server, timeout=0.5) as (seen, alerts):
        await until(lambda: (seen()["checkout"][0], seen()["search"][0]) == (Health.FAILED, Health.HEALTHY))
        assert [alert.labels["service"] for alert in alerts] == ["checkout"]
        server.suspend()
        await until(lambda: seen()["checkout"] == (Health.UNKNOWN, QueryStatus.TIMEOUT))
        server.resume()
        await until(lambda: seen()["checkout"] == (Health.FAILED, QueryStatus.SEEN))
        await in_thread(server.kill)()
        await until(lambda: seen()["search"] == (Health.UNKNOWN, QueryStatus.UNREACHABLE))
        await in_thread(server.start)()
        await until(lambda: seen()["search"] == (Health.HEALTHY, QueryStatus.SEEN))
        assert len(alerts) == 1

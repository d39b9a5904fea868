"""What people hear and say through a real Alertmanager: their page held back and let out, their silences honoured, and
what no webhook has told."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from e2e.test_heal import ALERT, Shop
from real.prometheus import RealAlertmanager, RealPrometheus, free_port, in_thread, until
from real.remediator import RealRemediator

from remediator.model.clock import rfc3339

RULES = """
services:
  - name: shop
    target: {{command: {{restart: [touch, {folder}/restarted]}}}}
thresholds:
  - {{name: error_ratio, expr: shop_error_ratio, degraded: '>= 0.05', failed: '> 0.10'}}
runbooks:
  - name: shop
    steps: [restart]
    verify: {{healthy_for: 2s, within: {within}}}
    limits: {{cooldown: 1h}}
    silence: 10m
"""
ROUTE = {
    "receiver": "team",
    "group_by": ["alertname"],
    "group_wait": "0s",
    "group_interval": "1s",
    "routes": [
        {"receiver": "team", "matchers": ['sender="remediator"']},
        {"receiver": "remediator", "continue": True},
        # People are paged thirty seconds after remediator has heard of it.
        {"receiver": "team", "group_wait": "30s"},
    ],
}


@dataclass
class Team:
    """The receiver of people: which alerts were heard of when, by name and status."""

    heard: list[tuple[float, str, str]] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)
    server: TestServer | None = None

    async def hear(self, request: web.Request) -> web.Response:
        for alert in (await request.json())["alerts"]:
            self.heard.append((time.time(), alert["labels"]["alertname"], alert["status"]))
            self.summaries.append(alert["annotations"].get("summary", ""))
        return web.Response()

    def first(self, name: str, status: str = "firing") -> float | None:
        return next((at for at, other, state in self.heard if (other, state) == (name, status)), None)


async def lose(_request: web.Request) -> web.Response:
    return web.Response()


@dataclass
class Lab:
    shop: Shop
    team: Team
    alertmanager: RealAlertmanager
    remediator: RealRemediator

    def silence(self, **labels: str) -> str:
        """A person silences. Blocks."""
        body = {
            "matchers": [{"name": name, "value": value, "isRegex": False} for name, value in labels.items()],
            "startsAt": rfc3339(time.time()),
            "endsAt": rfc3339(time.time() + 3600),
            "createdBy": "ada",
            "comment": "I am at it",
        }
        answer: dict[str, str] = self.alertmanager.request("/api/v2/silences", method="POST", body=body)
        return answer["silenceID"]

    def silences(self) -> list[dict[str, Any]]:
        """The silences in force. Blocks."""
        found: list[dict[str, Any]] = self.alertmanager.request("/api/v2/silences")
        return [silence for silence in found if silence["status"]["state"] == "active"]


@contextlib.asynccontextmanager
async def laboratory(
    tmp_path: Path, *, within: str = "60s", interval: str = "1s", webhook: bool = True, alerts: bool = True
) -> AsyncIterator[Lab]:
    """Everything but remediator, which is there to be started.

    Without `webhook` what Alertmanager sends to remediator's receiver is taken by another, and lost.
    """
    port, team = free_port(), Team()
    app = web.Application()
    app.router.add_post("/", team.hear)
    app.router.add_post("/lost", lose)
    async with TestServer(app) as server:
        hook = f"http://127.0.0.1:{port}/webhook" if webhook else str(server.make_url("/lost"))
        receivers = [
            {"name": "team", "webhook_configs": [{"url": str(server.make_url("/")), "send_resolved": True}]},
            {"name": "remediator", "webhook_configs": [{"url": hook, "send_resolved": True}]},
        ]
        async with (
            Shop(tmp_path) as shop,
            RealAlertmanager(tmp_path, route=ROUTE, receivers=receivers) as alertmanager,
            RealPrometheus(
                tmp_path,
                targets=[shop.address],
                rules=[ALERT] if alerts else [],
                alertmanagers=[alertmanager.address],
            ) as prometheus,
        ):
            remediator = RealRemediator(
                tmp_path / "remediator",
                prometheus=prometheus.url,
                rules=RULES.format(folder=tmp_path, within=within),
                config={
                    "global": {"evaluation_interval": interval},
                    "alertmanagers": [{"url": alertmanager.url, "receiver": "remediator"}],
                },
                port=port,
            )
            await until(in_thread(lambda: prometheus.query("shop_error_ratio")))
            yield Lab(shop, team, alertmanager, remediator)


async def test_the_page_is_held_back_while_healing_and_let_out_when_the_heal_fails(tmp_path: Path) -> None:
    async with laboratory(tmp_path, within="20s") as lab, lab.remediator as remediator:
        lab.shop.breaks(cured_by="nothing that is run")
        await until(in_thread(lab.silences))
        (incident,) = await until(in_thread(remediator.closed))
        assert incident["verdict"] == "exhausted"
        closed_at = datetime.fromisoformat(incident["closedAt"]).timestamp()
        told_at = await until(lambda: lab.team.first("ShopErrors"))
        assert told_at >= closed_at
        await until(lambda: lab.team.first("RemediationFailed"))
        assert any(
            text.startswith("shop is failed and could not be healed: no step is left") for text in lab.team.summaries
        )
        assert await in_thread(lab.silences)() == []
        # Somebody mends it, and the page ends.
        lab.shop.broken = False
        await until(lambda: lab.team.first("RemediationFailed", "resolved"))


async def test_nobody_is_paged_for_what_was_healed(tmp_path: Path) -> None:
    async with laboratory(tmp_path) as lab, lab.remediator as remediator:
        lab.shop.breaks(cured_by="restarted")
        (incident,) = await until(in_thread(remediator.closed))
        assert incident["verdict"] == "recovered"
        await until(in_thread(lambda: not lab.silences()))
        await until(in_thread(lambda: not lab.alertmanager.alerts()))
        assert lab.team.heard == []


async def test_a_service_that_somebody_has_silenced_is_theirs(tmp_path: Path) -> None:
    async with laboratory(tmp_path) as lab:
        id = await in_thread(lambda: lab.silence(service="shop"))()
        lab.shop.breaks(cured_by="restarted")
        async with lab.remediator as remediator:
            held = await until(in_thread(lambda: [a for a in remediator.request("/api/v1/alerts") if a["gate"]]))
            assert {alert["gate"] for alert in held} == {"silenced"}
            assert held[0]["text"].endswith(": I am at it")
            assert not (tmp_path / "restarted").exists()
            await in_thread(lambda: lab.alertmanager.request(f"/api/v2/silence/{id}", method="DELETE"))()
            (incident,) = await until(in_thread(remediator.closed))
            assert incident["verdict"] == "recovered"


async def test_alerts_left_out_of_a_notification_are_asked_for_at_once(tmp_path: Path) -> None:
    port = free_port()
    options = {"max_alerts": 1}
    async with (
        Shop(tmp_path) as shop,
        RealAlertmanager(
            tmp_path, webhook=f"http://127.0.0.1:{port}/webhook", webhook_options=options, group_by=["alertname"]
        ) as alertmanager,
        RealPrometheus(tmp_path, targets=[shop.address]) as prometheus,
        RealRemediator(
            tmp_path / "remediator",
            prometheus=prometheus.url,
            rules=RULES.format(folder=tmp_path, within="60s"),
            config={"alertmanagers": [{"url": alertmanager.url, "receiver": "remediator"}]},
            port=port,
        ) as remediator,
    ):
        # The comparison at the start is over, and the next one is a minute away.
        done = 'remediator_alertmanager_requests_total{operation="alerts",result="done"} 1.0'
        await until(in_thread(lambda: done in remediator.text("/metrics")))
        ends_at = rfc3339(time.time() + 600)
        alerts = [{"labels": {"alertname": "Down", "service": f"s{n}"}, "endsAt": ends_at} for n in range(3)]
        await in_thread(lambda: alertmanager.post(*alerts))()
        await until(in_thread(lambda: len(remediator.request("/api/v1/alerts")) == 3))
        assert "remediator_truncated_alerts_total 0.0" not in remediator.text("/metrics")


async def test_an_alert_that_no_webhook_told_is_found_within_a_minute(tmp_path: Path) -> None:
    async with laboratory(tmp_path, interval="0s", webhook=False) as lab, lab.remediator as remediator:
        lab.shop.breaks(cured_by="restarted")
        await until(in_thread(lambda: remediator.request("/api/v1/alerts")))
        (incident,) = await until(in_thread(remediator.closed))
        assert (incident["verdict"], incident["source"]) == ("recovered", "alertmanager")
        assert 'remediator_reconciled_alerts_total{status="firing"} 1.0' in remediator.text("/metrics")

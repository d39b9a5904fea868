"""From a metric going bad to a verified, annotated heal: real Prometheus, Alertmanager, remediator and processes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from doubles.grafana import GrafanaDouble
from real.prometheus import Exposition, RealAlertmanager, RealPrometheus, free_port, in_thread, until
from real.remediator import RealRemediator

RULES = """
services:
  - name: shop
    target:
      command:
        restart: [touch, {folder}/restarted]
        rollback: [sh, -c, 'echo "$REMEDIATOR_SERVICE" > {folder}/rolled-back']
        replicas: [cat, {folder}/replicas]
        scale: {{shell: 'echo {{{{ replicas }}}} > {folder}/replicas'}}
        diagnose: [echo, evidence of shop]
thresholds:
  - {{name: error_ratio, expr: shop_error_ratio, degraded: '>= 0.05', failed: '> 0.10'}}
runbooks:
  - name: shop
    steps: {steps}
    verify: {{healthy_for: 2s, within: {within}}}
    limits: {{cooldown: 0s}}
"""

ALERT = {
    "alert": "ShopErrors",
    "expr": "shop_error_ratio > 0.05",
    "labels": {"severity": "critical"},
    "annotations": {"summary": "too many errors"},
}


class Shop(Exposition):
    """The shop's metrics. Once broken it stays so until the file `cure` holds what it should."""

    def __init__(self, folder: Path) -> None:
        self.broken = False
        self.folder = folder
        self.cure = ("", "")
        super().__init__()

    @property
    def text(self) -> str:
        file, content = self.cure
        path = self.folder / (file or "nothing cures it")
        well = not self.broken or (path.exists() and (not content or path.read_text().strip() == content))
        return f'shop_error_ratio{{service="shop"}} {0 if well else 0.5}'

    @text.setter
    def text(self, value: str | None) -> None:
        """Only the shop itself says how it is."""

    def breaks(self, *, cured_by: str = "", content: str = "") -> None:
        self.cure = (cured_by, content)
        self.broken = True


@dataclass
class Lab:
    """Everything at once."""

    shop: Shop
    prometheus: RealPrometheus
    alertmanager: RealAlertmanager
    remediator: RealRemediator
    grafana: GrafanaDouble


@contextlib.asynccontextmanager
async def annotating() -> AsyncIterator[GrafanaDouble]:
    grafana = GrafanaDouble()
    await grafana.start()
    try:
        yield grafana
    finally:
        await grafana.stop()


@contextlib.asynccontextmanager
async def laboratory(
    tmp_path: Path, steps: str, *, within: str = "60s", interval: str = "1s", alerts: bool = True
) -> AsyncIterator[Lab]:
    """With an interval of 0s only alerts make remediator look; without alerts only its own thresholds do."""
    port = free_port()
    (tmp_path / "replicas").write_text("2\n")
    async with (
        annotating() as grafana,
        Shop(tmp_path) as shop,
        RealAlertmanager(tmp_path, webhook=f"http://127.0.0.1:{port}/webhook") as alertmanager,
        RealPrometheus(
            tmp_path, targets=[shop.address], rules=[ALERT] if alerts else [], alertmanagers=[alertmanager.address]
        ) as prometheus,
        RealRemediator(
            tmp_path / "remediator",
            prometheus=prometheus.url,
            rules=RULES.format(folder=tmp_path, steps=steps, within=within),
            config={"global": {"evaluation_interval": interval}, "grafana": {"url": grafana.url}},
            port=port,
        ) as remediator,
    ):
        await until(in_thread(lambda: prometheus.query("shop_error_ratio")))
        yield Lab(shop, prometheus, alertmanager, remediator, grafana)


@pytest.mark.parametrize("interval", ["1s", "0s"], ids=["threshold", "alert"])
async def test_restart_heals_by_threshold_or_alert_alone(tmp_path: Path, interval: str) -> None:
    by_threshold = interval != "0s"
    async with laboratory(tmp_path, "[restart]", interval=interval, alerts=not by_threshold) as lab:
        lab.shop.breaks(cured_by="restarted")
        (incident,) = await until(in_thread(lab.remediator.closed))
        assert incident["verdict"] == "recovered"
        assert incident["source"] == ("threshold" if by_threshold else "alertmanager")
        diagnose, restart = incident["runs"]
        assert diagnose["output"] == "evidence of shop\n"
        assert restart["call"] == f"touch {tmp_path}/restarted"
        assert restart["outcome"] == "succeeded"
        alerts = await until(in_thread(lambda: _settled(lab)))
        assert "opened" in {alert["disposition"] for alert in alerts}
        region = await until(lambda: _ended(lab.grafana, "verdict:recovered"))
        assert region["timeEnd"] > region["time"]
        metrics = lab.remediator.text("/metrics")
        assert (
            'remediator_heals_total{action="restart",runbook="shop",service="shop",verdict="recovered"} 1.0' in metrics
        )


async def test_rollback_comes_after_a_restart_that_did_not_help(tmp_path: Path) -> None:
    async with laboratory(tmp_path, "[restart, rollback]", within="12s") as lab:
        lab.shop.breaks(cured_by="rolled-back", content="shop")
        (incident,) = await until(in_thread(lab.remediator.closed))
        assert incident["verdict"] == "recovered"
        assert [run["action"] for run in incident["runs"]] == ["diagnose", "restart", "rollback"]
        assert (tmp_path / "restarted").exists()


async def test_scale_reads_the_count_and_adds_to_it(tmp_path: Path) -> None:
    async with laboratory(tmp_path, "[{scale: {by: 1, max: 4}}]") as lab:
        lab.shop.breaks(cured_by="replicas", content="3")
        (incident,) = await until(in_thread(lab.remediator.closed))
        assert incident["verdict"] == "recovered"
        assert (tmp_path / "replicas").read_text() == "3\n"


async def test_what_cannot_be_healed_is_exhausted_with_its_story(tmp_path: Path) -> None:
    async with laboratory(tmp_path, "[restart, {scale: {by: 1, max: 2}}]", within="6s") as lab:
        lab.shop.breaks()
        (incident,) = await until(in_thread(lab.remediator.closed))
        assert incident["verdict"] == "exhausted"
        assert [(run["action"], run["outcome"]) for run in incident["runs"]] == [
            ("diagnose", "succeeded"),
            ("restart", "succeeded"),
            ("scale", "skipped"),
        ]


def _settled(lab: Lab) -> list[dict[str, Any]]:
    found = lab.remediator.request("/api/v1/alerts")
    alerts: list[dict[str, Any]] = found["alerts"] if isinstance(found, dict) else found
    return [alert for alert in alerts if alert["disposition"]]


def _ended(grafana: GrafanaDouble, tag: str) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = [
        annotation for annotation in grafana.annotations.values() if tag in annotation["tags"]
    ]
    return found[0] if found else None

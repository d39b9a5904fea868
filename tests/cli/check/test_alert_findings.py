"""`remediator check --alerts` against a real Prometheus and Alertmanager."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from real.prometheus import Exposition, RealAlertmanager, RealPrometheus, free_port, in_thread, until

from remediator.cli import main
from remediator.cli.check.alert_findings import readings_of, unfiltered
from remediator.clients.prometheus.answer import Answer, Series
from remediator.model.health import Health, QueryStatus
from remediator.rules.loader import load_rules

METRICS = """\
down{service="checkout"} 1
errors{service="checkout"} 0
load{service="checkout"} 1
load{service="search"} 1
load{service="<b>odd</b>"} 1
queue{service="search"} 9
idle{service="ghost"} 1
orphans{pod="a"} 1
"""
ALERTS = [
    # Fires, and the threshold sees checkout healthy.
    {"alert": "Down", "expr": "down == 1", "labels": {"severity": "critical"}},
    {"alert": "HighErrors", "expr": "errors > 5", "labels": {"severity": "critical"}},
    {"alert": "Loaded", "expr": "load > 5", "labels": {"severity": "warning"}},
    {"alert": "Queued", "expr": "queue > 5", "labels": {"severity": "page"}},
    {"alert": "Noted", "expr": "queue > 5", "labels": {"severity": "none"}},
    {"alert": "Elsewhere", "expr": "queue > 100", "labels": {"severity": "page", "for": "people"}},
    {"alert": "Idle", "expr": "idle > 5", "labels": {"severity": "critical"}},
    {"alert": "Orphaned", "expr": "orphans > 5"},
    {"alert": "Absent", "expr": 'nothing{x="> 1"} > 5'},
    {"record": "recorded", "expr": "load"},
]
RULES = r"""
services:
  - {name: checkout, labels: {tier: web}, target: {command: {restart: [restart, '{{ service.name }}']}}}
  - {name: search, labels: {tier: batch}, target: {command: {restart: [restart, '{{ service.name }}']}}}
  - {name: ghost}
  - {name: <b>odd</b>, labels: {tier: batch}, target: {command: {restart: [restart, '{{ service.name }}']}}}
thresholds:
  - {name: error_ratio, match: ['tier="web"'], expr: errors, failed: '> 5'}
runbooks:
  - {name: web, match: ['tier="web"'], steps: [restart]}
  - {name: batch, match: ['tier="batch"'], mode: approve, steps: [restart]}
"""
ROUTE = {
    "receiver": "team",
    "routes": [{"receiver": "team", "matchers": ['for="people"']}, {"receiver": "remediator", "continue": True}, {}],
}
RECEIVERS = [
    {"name": "team"},
    {"name": "remediator", "webhook_configs": [{"url": "http://127.0.0.1:9797/webhook"}]},
]


@dataclass
class Shop:
    config: Path
    prometheus: RealPrometheus


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    with Exposition(METRICS) as page:
        async with (
            RealAlertmanager(tmp_path, route=ROUTE, receivers=RECEIVERS) as alertmanager,
            RealPrometheus(tmp_path, targets=[page.address], rules=ALERTS) as prometheus,
        ):
            (tmp_path / "rules.yml").write_text(RULES)
            config = tmp_path / "remediator.yml"
            config.write_text(
                f"prometheus: {{url: '{prometheus.url}'}}\nrule_files: [rules.yml]\n"
                f"alertmanagers: [{{url: '{alertmanager.url}', receiver: remediator}}]\n"
            )
            await until(in_thread(lambda: prometheus.query('ALERTS{alertstate="firing"}')[2:]))
            yield Shop(config, prometheus)


async def test_each_alert_says_what_would_be_done_or_why_not(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    page = shop.config.parent / "alerts.html"
    code = await asyncio.to_thread(
        main, ["check", "--config.file", str(shop.config), "--alerts", "--output", "json", "--html", str(page)]
    )
    document = json.loads(capsys.readouterr().out)
    assert (code, document["failure"], document["note"]) == (0, "", "")
    found = {one["alert"]: one for one in document["alerts"]}
    assert list(found)[:3] == ["Down", "Queued", "Noted"]
    assert {name: (one["state"], one["service"], one["runbook"], one["reason"]) for name, one in found.items()} == {
        "Down": ("firing", "checkout", "web", "contradicted by threshold error_ratio: error_ratio 0 (healthy)"),
        "Queued": ("firing", "search", "batch", ""),
        "Noted": ("firing", "search", "", "severity none is not actionable"),
        "HighErrors": ("inactive", "checkout", "web", ""),
        "Loaded": ("inactive", "<b>odd</b>", "batch", ""),
        "Elsewhere": ("inactive", "search", "batch", "not routed here: Alertmanager sends it to team"),
        "Idle": ("inactive", "ghost", "", found["Idle"]["reason"]),
        "Orphaned": ("inactive", "", "", "no service owns it: no service's match fits its labels"),
        "Absent": ("inactive", "", "", "no series now that would say whose it is"),
    }
    assert found["Idle"]["reason"].startswith("no runbook is for it when failed")
    assert found["HighErrors"]["argv"] == ["restart", "checkout"]
    assert found["HighErrors"]["condition"] == "if error_ratio says failed"
    assert found["Loaded"]["services"] == 3
    assert [gate["gate"] for gate in found["Queued"]["gates"] if gate["holds"]] == ["approval"]
    text = page.read_text()
    assert "4 of 9 alerts lead to a step" not in text
    assert "3 of 9 alerts lead to a step" in text
    assert "<code>restart checkout</code>" in text
    assert "<b>odd" not in text


async def test_the_table(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", str(shop.config.parent / "rules.yml"), "--alerts", "--prometheus", shop.prometheus.url]
    assert await asyncio.to_thread(main, arguments) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Queued", "firing", "search", "batch", "restart", "(restart", "search);", "held", "by", "approval"] in lines
    # Without a config nobody knows of Alertmanager's route.
    assert ["Elsewhere", "inactive", "search", "batch", "restart", "(restart", "search);", "held", "by", "approval"] in lines  # fmt: skip


async def test_what_cannot_be_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    assert await asyncio.to_thread(main, ["check", str(rules), "--alerts"]) == 2
    assert "cannot read alert rules: give --prometheus URL, or a config" in capsys.readouterr().err
    nowhere = f"http://127.0.0.1:{free_port()}"
    config = tmp_path / "remediator.yml"
    config.write_text(f"prometheus: {{url: '{nowhere}'}}\nrule_files: [rules.yml]\n")
    assert await asyncio.to_thread(main, ["check", "--config.file", str(config), "--alerts"]) == 2
    assert f"cannot read its alert rules at {nowhere}" in capsys.readouterr().err
    assert await asyncio.to_thread(main, ["check", str(rules), "--html", "x.html"]) == 2


@pytest.mark.parametrize(
    ("expr", "asked"),
    [
        ("up == 0", "up == bool 0"),
        ("a > bool 1 and b<=2", "a > bool 1 and b<= bool 2"),
        ('x{a!="b>1",c=~"}"} != on(d) y', 'x{a!="b>1",c=~"}"} != bool on(d) y'),
        ('label_replace(x, "a", "> 1", "b", "") > 3 # > 4', 'label_replace(x, "a", "> 1", "b", "") > bool 3 # > 4'),
    ],
)
def test_comparisons_are_made_to_keep_every_series(expr: str, asked: str) -> None:
    assert unfiltered(expr) == asked


def test_a_series_that_no_service_can_be_named_by_is_nobodys(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(
        "services: [{name: 'redis on {{ labels.instance | host }}', match: ['instance!=\"\"']}]\n"
        "thresholds: [{name: down, match: ['instance=~\".*\"'], expr: 1 - redis_up, failed: '> 0'}]\n"
    )
    rulebook = load_rules([rules], service_label="service")[0]
    series = [Series({"instance": "unix:///run/redis.sock"}, 1.0), Series({"instance": "cache1:9121"}, 0.0)]
    readings = readings_of(rulebook, lambda *_: Answer(0.0, QueryStatus.SEEN, series))
    service = rulebook.service_for({"instance": "cache1:9121"})
    assert service is not None
    judgement = readings(service)
    assert judgement is not None
    assert judgement.health is Health.HEALTHY

"""Two real Prometheis, one of which is killed: only the services that it sees are blind, and the others are healed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from real.prometheus import Exposition, RealPrometheus, in_thread, until
from real.remediator import RealRemediator

RULES = """
services:
  - {{name: shop, prometheus: us, target: {{command: {{restart: [sh, -c, 'echo shop >> {folder}/ran']}}}}}}
  - {{name: cart, prometheus: eu, target: {{command: {{restart: [sh, -c, 'echo cart >> {folder}/ran']}}}}}}
  - {{name: plain, prometheus: eu}}
thresholds:
  - {{name: us_errors, match: ['service="shop"'], expr: errors, failed: '> 0.10', prometheus: us}}
  - {{name: eu_errors, match: ['service="cart"'], expr: errors, failed: '> 0.10', prometheus: eu}}
runbooks:
  - name: all
    match: ['service=~"shop|cart"']
    steps: [{{restart: , unless: 'deploys > bool 0'}}]
    verify: {{healthy_for: 1s, within: 20s}}
    limits: {{cooldown: 1s, rate: 10/1h}}
"""


def config(us: str, eu: list[str]) -> dict[str, Any]:
    return {"prometheus": [{"name": "us", "url": us}, {"name": "eu", "urls": eu}]}


def metrics(shop: float, deploys: int = 0) -> str:
    return f'errors{{service="shop"}} {shop}\nerrors{{service="cart"}} {shop}\ndeploys {deploys}\n'


async def test_with_one_of_two_killed_only_its_services_are_blind(tmp_path: Path) -> None:
    async with (
        Exposition(metrics(0)) as us_metrics,
        Exposition(metrics(0)) as eu_metrics,
        RealPrometheus(tmp_path, targets=[us_metrics.address]) as us,
        RealPrometheus(tmp_path, targets=[eu_metrics.address]) as eu,
    ):
        remediator = RealRemediator(
            tmp_path / "remediator", prometheus="", rules=RULES.format(folder=tmp_path), config=config(us.url, [eu.url])
        )

        def healths() -> dict[str, str]:
            return {one["name"]: one["health"] for one in remediator.request("/api/v1/services")}

        async with remediator:
            await until(in_thread(lambda: set(healths().values()) == {"healthy"}), within=60)
            await in_thread(eu.kill)()
            await until(in_thread(lambda: healths()["cart"] == "unknown"), within=60)
            # Both are in trouble now, and only the one that is seen is healed.
            us_metrics.text = eu_metrics.text = metrics(0.5)
            await until((tmp_path / "ran").exists, within=60)
            us_metrics.text = metrics(0)
            await until(in_thread(remediator.closed), within=60)
            assert (tmp_path / "ran").read_text() == "shop\n"
            await until(
                in_thread(lambda: healths() == {"shop": "healthy", "cart": "unknown", "plain": "unknown"}), within=60
            )
            # When it is back it is healed as well.
            await in_thread(eu.start)()
            await until(lambda: "cart" in (tmp_path / "ran").read_text(), within=90)


async def test_a_pair_is_blind_only_when_both_are_gone_and_a_guard_asks_its_services_prometheus(tmp_path: Path) -> None:
    async with (
        Exposition(metrics(0, deploys=1)) as us_metrics,
        Exposition(metrics(0)) as eu_metrics,
        RealPrometheus(tmp_path, targets=[us_metrics.address]) as us,
        RealPrometheus(tmp_path, targets=[eu_metrics.address]) as first,
        RealPrometheus(tmp_path, targets=[eu_metrics.address]) as second,
    ):
        remediator = RealRemediator(
            tmp_path / "remediator",
            prometheus="",
            rules=RULES.format(folder=tmp_path),
            config=config(us.url, [first.url, second.url]),
        )

        def healths() -> dict[str, str]:
            return {one["name"]: one["health"] for one in remediator.request("/api/v1/services")}

        async with remediator:
            await until(in_thread(lambda: set(healths().values()) == {"healthy"}), within=60)
            await in_thread(first.kill)()
            us_metrics.text, eu_metrics.text = metrics(0.5, deploys=1), metrics(0.5)
            # A deploy in us holds what us sees, and not what eu sees.
            await until((tmp_path / "ran").exists, within=60)
            eu_metrics.text = metrics(0)
            await until(in_thread(remediator.closed), within=60)
            assert (tmp_path / "ran").read_text() == "cart\n"
            await in_thread(second.kill)()
            await until(in_thread(lambda: healths()["cart"] == "unknown"), within=60)
            assert healths()["shop"] == "failed"

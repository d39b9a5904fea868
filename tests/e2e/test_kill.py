"""kill -9 of the real daemon while a step runs, and while it is verified: nothing runs twice, and the heal goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from real.processes import alive
from real.prometheus import Exposition, RealPrometheus, in_thread, until
from real.remediator import RealRemediator

RULES = """
services:
  - name: shop
    target:
      command:
        restart: [sh, -c, 'echo restart >> {folder}/ran; echo $$ > {folder}/pid; sleep {takes}']
        rollback: [sh, -c, 'echo rollback >> {folder}/ran']
thresholds:
  - {{name: error_ratio, expr: shop_error_ratio, failed: '> 0.10'}}
runbooks:
  - name: shop
    steps: [{{restart: , timeout: 5s}}, rollback]
    verify: {{healthy_for: 1s, within: 10s}}
"""


@pytest.mark.parametrize(("takes", "outcome"), [(60, "unknown"), (0, "succeeded")], ids=["running", "verifying"])
async def test_killed_and_started_again_it_goes_on_and_runs_nothing_twice(
    tmp_path: Path, takes: int, outcome: str
) -> None:
    ran = tmp_path / "ran"
    async with (
        Exposition('shop_error_ratio{service="shop"} 0.5') as shop,
        RealPrometheus(tmp_path, targets=[shop.address]) as prometheus,
        RealRemediator(
            tmp_path / "remediator", prometheus=prometheus.url, rules=RULES.format(folder=tmp_path, takes=takes)
        ) as remediator,
    ):
        await until((tmp_path / "pid").exists)
        if takes == 0:
            await until(in_thread(lambda: remediator.incidents()[0]["runs"][0]["outcome"] == "succeeded"))
        await asyncio.to_thread(remediator.kill)
        assert ran.read_text().split() == ["restart"]
        pid = int((tmp_path / "pid").read_text())
        await until(lambda: not alive(pid))
        await asyncio.to_thread(remediator.start)
        await until(lambda: "rollback" in ran.read_text())
        shop.text = 'shop_error_ratio{service="shop"} 0'
        (incident,) = await until(in_thread(remediator.closed))
        assert ran.read_text().split() == ["restart", "rollback"]
        assert incident["verdict"] == "recovered"
        assert [run["outcome"] for run in incident["runs"]] == [outcome, "succeeded"]

"""The real daemon on a machine whose clock was an hour ahead when it last ran: nothing waits for that hour."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from real.prometheus import Exposition, RealPrometheus, in_thread, until
from real.remediator import RealRemediator

RULES = """
services:
  - name: shop
    target:
      command:
        restart: [sh, -c, 'echo restart >> {folder}/ran; sleep {takes}']
        rollback: [sh, -c, 'echo rollback >> {folder}/ran']
thresholds:
  - {{name: error_ratio, expr: shop_error_ratio, failed: '> 0.10'}}
runbooks:
  - name: shop
    steps: [{{restart: , timeout: 3s}}, rollback]
    verify: {{healthy_for: 1s, within: 10s}}
    limits: {{cooldown: 1s, relapse: 0s, rate: 1/3s}}
"""
AHEAD = (
    "import time; real = time.time; time.time = lambda: real() + 3600.0; import sys; from remediator.cli import main;"
    " sys.exit(main())"
)
BROKEN, WELL = 'shop_error_ratio{service="shop"} 0.5', 'shop_error_ratio{service="shop"} 0'


async def test_limits_do_not_last_an_hour_longer(tmp_path: Path) -> None:
    async with Exposition(BROKEN) as shop, RealPrometheus(tmp_path, targets=[shop.address]) as prometheus:
        remediator = RealRemediator(
            tmp_path / "remediator",
            prometheus=prometheus.url,
            rules=RULES.format(folder=tmp_path, takes=0),
            program=(sys.executable, "-c", AHEAD),
        )
        async with remediator:
            await until((tmp_path / "ran").exists)
            shop.text = WELL
            await until(in_thread(remediator.closed))
        remediator.program = [sys.executable, "-m", "remediator"]
        async with remediator:
            shop.text = BROKEN
            await until(lambda: (tmp_path / "ran").read_text().split() == ["restart"] * 2)
            shop.text = WELL
            await until(in_thread(lambda: remediator.closed(2)))


async def test_a_step_that_was_cut_short_is_not_waited_for_an_hour(tmp_path: Path) -> None:
    async with Exposition(BROKEN) as shop, RealPrometheus(tmp_path, targets=[shop.address]) as prometheus:
        remediator = RealRemediator(
            tmp_path / "remediator",
            prometheus=prometheus.url,
            rules=RULES.format(folder=tmp_path, takes=60),
            program=(sys.executable, "-c", AHEAD),
        )
        async with remediator:
            await until((tmp_path / "ran").exists)
            await asyncio.to_thread(remediator.kill)
            remediator.program = [sys.executable, "-m", "remediator"]
            await asyncio.to_thread(remediator.start)
            await until(lambda: (tmp_path / "ran").read_text().split() == ["restart", "rollback"])
            shop.text = WELL
            (incident,) = await until(in_thread(remediator.closed))
            assert [run["outcome"] for run in incident["runs"]] == ["unknown", "succeeded"]

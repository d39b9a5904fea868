"""The short form of the crash sweep, on both stores at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chaos.sweep import Report, Sweep

KILLS = 100


async def test_nothing_is_lost_run_twice_or_left_behind(tmp_path: Path) -> None:
    sweeps = [Sweep(tmp_path / store, store, seed=4, kills=KILLS // 2) for store in ("sqlite", "postgresql")]
    reports: list[Report] = await asyncio.gather(*(sweep.run() for sweep in sweeps))
    told = "\n".join(line for report in reports for line in report.lines())
    assert not any(any(report.faults.values()) or report.notes for report in reports), told
    for report in reports:
        assert report.kills >= KILLS // 2, told
        assert sum(report.at_boundaries.values()) == report.boundaries >= 10, told
        assert min(report.accepted, report.incidents, report.executions, report.annotations) > 0, told

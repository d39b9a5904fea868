"""The library at common scrape intervals: what is well stays untouched, whatever becomes of its exporter for a while."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from real.prometheus import part

from remediator.cli import main

LIBRARY = Path(__file__).parents[2] / "rules"

CADVISOR = 'container_last_seen{job="cadvisor", instance="web1:8080", id="/docker/1", name="shop", image="shop:1"}'
UP = 'up{job="cadvisor", instance="web1:8080"}'


def samples(interval: int, lost: tuple[int, int], *, seconds: int = 3600) -> tuple[str, str]:
    """What cAdvisor tells of a container that runs, and `up`: nothing from `lost[0]` to `lost[1]`, in seconds."""
    seen, up = [], []
    for at in range(0, seconds, interval):
        away = lost[0] <= at < lost[1]
        up.append("0" if away else "1")
        seen.append(("stale" if seen and seen[-1] not in ("stale", "_") else "_") if away else str(at))
    return " ".join(seen), " ".join(up)


@pytest.mark.parametrize("interval", [15, 30, 60])
@pytest.mark.parametrize(
    "lost", [(0, 0), (1200, 1380), (1200, 1260)], ids=["all well", "away three minutes", "one lost"]
)
def test_a_container_that_runs_is_never_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], interval: int, lost: tuple[int, int]
) -> None:
    part("promtool", "prometheus")
    seen, up = samples(interval, lost if lost[1] - lost[0] != 60 else (lost[0], lost[0] + interval))
    series = [{"series": CADVISOR, "values": seen}, {"series": UP, "values": up}]
    played(tmp_path, capsys, interval, series, "container shop on web1:8080", at="55m")


def played(
    folder: Path, capsys: pytest.CaptureFixture[str], interval: int, series: list[dict[str, Any]], service: str, at: str
) -> None:
    """All rule files over these series, looked at every 5 s: nothing is run, and nobody is called."""
    document = {
        "rule_files": [str(file) for file in sorted(LIBRARY.glob("*.yml"))],
        "interval": f"{interval}s",
        "global": {"evaluation_interval": "5s"},
        "tests": [
            {
                "name": "nothing happens",
                "promql": {"series": series},
                "expect": [{"at": at, "service": service, "verdict": "none", "ran": [], "pages": []}],
            }
        ],
    }
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump(document))
    assert main(["test", str(file)]) == 0, capsys.readouterr().out

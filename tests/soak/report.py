"""What grew, and one page with a plot of everything that was measured. Pure, but for the writing."""

from __future__ import annotations

import html
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from soak.day import GAUGES, STEADY, Sample

if TYPE_CHECKING:
    from soak.day import Day

GROWS = 1.25
"""How many times the median of the last third may be that of the middle one."""
SLACK = {"memory": 8 * 1024 * 1024, "descriptors": 8, "threads": 4, "lag": 200, "undecided": 50, "cycle": 0.05}
"""Differences that are noise, whatever their ratio."""
_WIDE, _HIGH = 720, 120


def findings(samples: Sequence[Sample]) -> list[str]:
    """A sentence for everything that must not grow and did. The first third is the start, and is left out."""
    third = len(samples) // 3
    if third < 5:
        return [f"cannot tell what grows by {len(samples)} samples"]
    found = []
    for name in STEADY:
        middle, last = (
            statistics.median(getattr(sample, name) for sample in part)
            for part in (samples[third : 2 * third], samples[2 * third :])
        )
        if last > middle * GROWS and last - middle > SLACK[name]:
            found.append(f"{name} grew from {middle:g} to {last:g} from the middle third to the last")
    return found


def write_report(path: Path, day: Day, found: Sequence[str]) -> None:
    """Write the page."""
    said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in found) or "<li>Nothing grew.</li>"
    plots = "".join(f"<h2>{name}</h2>{plot(day.samples, name)}" for name in GAUGES)
    path.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>Soak</title><style>body{font:16px/1.5 sans-serif;margin:2em;max-width:48em}svg{width:100%;height:auto}</style>"
        f"<h1>A day in the life</h1><p>{day.broken} troubles, {day.disturbances} disturbances, {len(day.samples)} samples.</p>"
        f"<ul>{said}</ul>{plots}</html>\n",
        encoding="utf-8",
    )


def plot(samples: Sequence[Sample], name: str) -> str:
    """One quantity over time as an SVG polyline, from zero to its maximum."""
    values = [getattr(sample, name) for sample in samples]
    most, lasts = max(values, default=0.0) or 1.0, max((sample.at for sample in samples), default=0.0) or 1.0
    points = " ".join(
        f"{sample.at / lasts * _WIDE:.1f},{_HIGH - value / most * _HIGH:.1f}"
        for sample, value in zip(samples, values, strict=True)
    )
    return (
        f'<svg viewBox="0 0 {_WIDE} {_HIGH + 20}" role="img" aria-label="{name} over time"><polyline points="{points}" fill="none"'
        f' stroke="#06c" stroke-width="1.5"/><text x="0" y="{_HIGH + 16}" font-size="12">0 to {most:.6g} in {lasts:.0f} s</text></svg>'
    )

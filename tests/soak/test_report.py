"""What the soak calls growth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from soak.day import GAUGES, STEADY, Sample
from soak.report import SLACK, findings, plot

CALM = Sample(at=0.0, **dict.fromkeys(GAUGES, 0.0))


def samples(name: str, start: float, slope: float) -> list[Sample]:
    return [replace(CALM, at=float(number), **{name: start + slope * number}) for number in range(60)]


@pytest.mark.parametrize("name", STEADY)
def test_what_grows_is_found_and_what_is_level_or_noise_is_not(name: str) -> None:
    noise = SLACK[name]
    assert findings(samples(name, noise * 10, noise)) == [
        f"{name} grew from {noise * 10 + noise * 29.5:g} to {noise * 10 + noise * 49.5:g} from the middle third to the last"
    ]
    assert findings(samples(name, noise * 100, 0.0)) == []
    assert findings(samples(name, 0.0, noise / 40)) == []


def test_too_few_samples_tell_nothing() -> None:
    assert findings([CALM] * 10) == ["cannot tell what grows by 10 samples"]


def test_a_plot_has_a_point_for_each_sample() -> None:
    assert plot(samples("memory", 1.0, 1.0), "memory").count(",") >= 60

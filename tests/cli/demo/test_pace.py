"""The demo goes through the library's rules in a hurry, and changes nothing else about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediator.cli.demo.pace import speed_up
from remediator.model.durations import parse_duration
from remediator.model.rulebook import Rulebook
from remediator.rules.loader import load_rules
from remediator.rules.promql import look_back

LIBRARY = Path(__file__).parents[3] / "rules"


@pytest.mark.parametrize(
    ("written", "shortened"),
    [
        ("for: 1m", "for: 1s"),
        ("cooldown: 30m, rate: [2/1h, 6/1d]", "cooldown: 30s, rate: [2/1m, 6/24m]"),
        ("deriv(rate(x[5m])[30s:1m] offset 1h30m) @ 5", "deriv(rate(x[5s])[500ms:1s] offset 1m30s) @ 5"),
        ("web_latency_p90 > 0.1 and code=~'5..'  # 5 of 9", "web_latency_p90 > 0.1 and code=~'5..'  # 5 of 9"),
        ("journal: 500M, memory: 1.5m, name: a5m, 5min", "journal: 500M, memory: 1.5m, name: a5m, 5min"),
    ],
)
def test_durations_are_shortened_and_nothing_else_is(written: str, shortened: str) -> None:
    head, text = speed_up(written).split("\n\n")
    assert text == shortened
    assert head.startswith("# ")


def test_a_file_of_the_library_keeps_its_meaning(tmp_path: Path) -> None:
    written, fast = loaded(LIBRARY / "web.yml"), tmp_path / "web.yml"
    fast.write_text(speed_up((LIBRARY / "web.yml").read_text()))
    quick = loaded(fast)
    assert quick.services == written.services
    for before, after in zip(written.thresholds, quick.thresholds, strict=True):
        assert (after.name, after.degraded, after.failed) == (before.name, before.degraded, before.failed)
        assert after.for_ * 60 == before.for_ > 0
        assert look_back(after.expr, 1) == (look_back(before.expr, 1) or 0) / 60
    [before], [after] = written.runbooks, quick.runbooks
    assert (after.mode, after.when, after.limits.blast_radius) == (before.mode, before.when, before.limits.blast_radius)
    assert after.verify.healthy_for * 60 == before.verify.healthy_for == parse_duration("2m")
    assert after.verify.within * 60 == before.verify.within == parse_duration("10m")
    assert after.limits.cooldown * 60 == before.limits.cooldown == parse_duration("30m")
    assert [rate.window * 60 for rate in after.limits.rate] == [rate.window for rate in before.limits.rate]
    assert [rate.count for rate in after.limits.rate] == [rate.count for rate in before.limits.rate]


def loaded(file: Path) -> Rulebook:
    return load_rules([file], service_label="service")[0]

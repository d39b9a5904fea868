"""Durations as Prometheus writes and reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.model.durations import format_duration, parse_duration, rough_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("15s", 15.0),
        ("1h30m", 5400.0),
        ("7d", 604800.0),
        ("1w", 604800.0),
        ("1y", 31536000.0),
        ("250ms", 0.25),
        ("1m0s", 60.0),
        ("1y2w3d4h5m6s7ms", 31536000 + 1209600 + 259200 + 14400 + 300 + 6 + 0.007),
    ],
)
def test_parse(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "-5s", "1.5h", "s", "5 s", "5S", "30m1h", "1h1h", "٣s", "1h30"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text", "rough"),
    [
        (0, "0s", "0s"),
        (0.25, "250ms", "250ms"),
        (61.5, "1m1s500ms", "1m2s"),
        (5400, "1h30m", "1h30m"),
        (90061, "1d1h1m1s", "1d1h"),
        (604800, "7d", "7d"),
        (-90, "-1m30s", "-1m30s"),
    ],
)
def test_format(seconds: float, text: str, rough: str) -> None:
    assert format_duration(seconds) == text
    assert rough_duration(seconds) == rough


@given(st.integers(0, 10**12))
def test_what_is_formatted_is_parsed(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)

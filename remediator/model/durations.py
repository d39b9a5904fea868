"""Prometheus durations (`90s`, `1h30m`, `7d`): text to seconds and back.

The grammar is that of prometheus/common `model.ParseDuration`: units y w d h m s ms, each at most once, largest
first, whole numbers; `0` alone needs no unit.
"""

from __future__ import annotations

import re

_UNITS = (
    ("y", 365 * 86400.0),
    ("w", 7 * 86400.0),
    ("d", 86400.0),
    ("h", 3600.0),
    ("m", 60.0),
    ("s", 1.0),
    ("ms", 0.001),
)
_DURATION = re.compile("".join(rf"(?:(\d{{1,12}}){unit})?" for unit, _ in _UNITS), re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of a Prometheus duration; raises ValueError with a sentence when it is none."""
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"{text!r} is not a duration such as 30s, 5m or 1h30m")
    return sum(int(number) * size for number, (_, size) in zip(match.groups(), _UNITS, strict=True) if number)


def format_duration(seconds: float) -> str:
    """The shortest Prometheus duration of `seconds`, to the millisecond; negative times keep a minus sign."""
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    rest = round(seconds * 1000)
    if rest == 0:
        return "0s"
    parts = []
    for unit, size in _UNITS:
        # Years and weeks read worse than days in a sentence about minutes and hours.
        if unit in ("y", "w"):
            continue
        count, rest = divmod(rest, round(size * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def rough_duration(seconds: float) -> str:
    """A duration for a sentence: two leading units at most, milliseconds only below a second."""
    if abs(seconds) < 1:
        return format_duration(seconds)
    whole = format_duration(round(seconds))
    parts = re.findall(r"\d+[a-z]+", whole)
    return ("-" if seconds < 0 else "") + "".join(parts[:2])

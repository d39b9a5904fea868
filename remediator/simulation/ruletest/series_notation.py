"""The series notation of promtool's unit tests: `0+0.02x10 _x3 stale`. Pure functions.

    a        one value
    axn      n + 1 times a
    a+bxn    a, a+b, … a+n*b: n + 1 values; a-bxn goes down
    _ _xn    no value, once and n times
    stale    no value from here on, as when a target goes away

Numbers are PromQL's: 1, -0.5, 1e-3, Inf, NaN. Hexadecimal is not possible, because 0x10 means eleven times 0.
"""

from __future__ import annotations

import re

MOST = 1_000_000
"""The most values that a series may have."""

_FINITE = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_ITEM = re.compile(
    rf"(?P<stale>stale)|_(?:x(?P<gaps>\d+))?|(?P<first>[+-]?(?:{_FINITE}|(?i:inf|nan)))(?P<step>[+-]{_FINITE})?(?:x(?P<times>\d+))?",
    re.ASCII,
)


class NotationError(ValueError):
    """A text does not follow the notation. `offset` is the first wrong character."""

    def __init__(self, message: str, offset: int) -> None:
        self.offset = offset
        super().__init__(message)


def parse_values(text: str) -> list[float | None]:
    """The values, None where there is none. NotationError with the position when the text breaks the notation."""
    values: list[float | None] = []
    place = 0
    for word in text.split():
        place = text.index(word, place)
        found = _ITEM.fullmatch(word)
        if found is None:
            raise NotationError(_complaint(word), place)
        times, gaps, step = found["times"], found["gaps"], found["step"]
        count = int(gaps) if gaps is not None else int(times) + 1 if times is not None else 1
        if count + len(values) > MOST:
            raise NotationError(f"{word!r} makes this more than {MOST} values", place)
        if step is not None and times is None:
            raise NotationError(f"{word!r} does not say how often: write {word}x10", place)
        if found["first"] is None:
            values += [None] * count
        else:
            first, by = float(found["first"]), float(step or 0)
            values += _stepped(first, by, count)
        place += len(word)
    if not values:
        raise NotationError("there are no values here", 0)
    return values


def _stepped(first: float, by: float, count: int) -> list[float]:
    # Added one by one as Prometheus does, so that rounding errors agree.
    values = [first]
    for _ in range(count - 1):
        values.append(values[-1] + by)
    return values


def _complaint(word: str) -> str:
    if re.fullmatch(r"\d+(\.\d+)?%", word):
        return f"{word!r} is not a number: write it as a ratio, such as {float(word[:-1]) / 100:g}"
    return f"{word!r} is none of a number, axn, a+bxn, a-bxn, _, _xn and stale"

"""Recurring times in the words of Alertmanager's `time_intervals`, and maintenance windows made of them. Pure.

The fields mean the same as in Alertmanager's `timeinterval` package: a moment belongs to an interval when each field that
is given has a range that contains it.
"""

from __future__ import annotations

import calendar
import heapq
import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from remediator.model.matcher import Labels, Matcher, matches_all

MINUTES = 24 * 60
_HORIZON = 366
"""How many days ahead the end of a window is searched."""
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = tuple(name.lower() for name in calendar.month_name)


class Span(msgspec.Struct, frozen=True):
    """From `first` to `last`, both included. Negative days of the month count from its end."""

    first: int
    last: int

    def holds(self, value: int) -> bool:
        """Whether it contains this value."""
        return self.first <= value <= self.last


class TimeInterval(msgspec.Struct, frozen=True):
    """A set of moments. `times` are minutes of the day, without the last; weekdays count from sunday as 0. An empty field
    allows every moment. `location` is the name of a time zone."""

    times: tuple[Span, ...] = ()
    weekdays: tuple[Span, ...] = ()
    days_of_month: tuple[Span, ...] = ()
    months: tuple[Span, ...] = ()
    years: tuple[Span, ...] = ()
    location: str = "UTC"

    def contains(self, at: float) -> bool:
        """Whether a moment belongs to it."""
        there = datetime.fromtimestamp(at, zone(self.location))
        minute = there.hour * 60 + there.minute
        return (
            (not self.times or any(span.first <= minute < span.last for span in self.times))
            and self._has(self.weekdays, there.isoweekday() % 7)
            and (not self.days_of_month or any(_has_day(span, there.date()) for span in self.days_of_month))
            and self._has(self.months, there.month)
            and self._has(self.years, there.year)
        )

    def changes(self, after: float) -> Iterator[float]:
        """The moments, in order, at which it may begin or end. It does neither at any other moment."""
        where = zone(self.location)
        day = datetime.fromtimestamp(after, where).date()
        minutes = sorted({0, *(bound for span in self.times for bound in (span.first, span.last))} - {MINUTES})
        for ahead in range(_HORIZON):
            begin, end = (_moment(day + timedelta(ahead + more), 0, where) for more in (0, 1))
            moments = {_moment(day + timedelta(ahead), minute, where) for minute in minutes}
            if end - begin != MINUTES * 60:
                # The clocks are changed: a time of the day may come twice, or not at all.
                moments |= {begin + quarter * 900 for quarter in range(int((end - begin) // 900))}
            yield from (moment for moment in sorted(moments) if moment > after)

    @staticmethod
    def _has(spans: tuple[Span, ...], value: int) -> bool:
        return not spans or any(span.holds(value) for span in spans)


class Maintenance(msgspec.Struct, frozen=True):
    """A time in which services are left alone. No matchers mean every service."""

    name: str
    intervals: tuple[TimeInterval, ...]
    match: tuple[Matcher, ...] = ()
    comment: str = ""

    def open_for(self, labels: Labels, now: float) -> bool:
        """Whether it is open now for a service with these labels."""
        return matches_all(self.match, labels) and self._open(now)

    def closes(self, now: float) -> float | None:
        """When an open window closes. Intervals that touch count as one. None when that is more than a year ahead."""
        return next((moment for moment in self._changes(now) if not self._open(moment)), None)

    def next_change(self, now: float) -> float:
        """The earliest moment at which it may open or close. Infinity when that is more than a year ahead."""
        return next(self._changes(now), math.inf)

    def _changes(self, now: float) -> Iterator[float]:
        return heapq.merge(*(interval.changes(now) for interval in self.intervals))

    def _open(self, at: float) -> bool:
        return any(interval.contains(at) for interval in self.intervals)


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """The time zone of this name; `Local` is this machine's. ValueError when there is none."""
    try:
        if name == "Local":
            with open("/etc/localtime", "rb") as file:
                return ZoneInfo.from_file(file, key="Local")
        return UTC if name == "UTC" else ZoneInfo(name)
    except FileNotFoundError:
        return UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone such as Europe/Berlin") from None


def parse_time(text: str) -> int:
    """The minute of the day of a time such as 02:00; 24:00 is the end of the day. ValueError when it is none."""
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)|24:00", text, re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is not a time of the day such as 02:00")
    return int(found[1]) * 60 + int(found[2]) if found[1] else MINUTES


def parse_weekdays(text: str) -> Span:
    """`saturday` or `monday:friday`. ValueError when it is neither."""
    return _span(text, lambda word: _index(word, _WEEKDAYS, "a day of the week such as monday"))


def parse_months(text: str) -> Span:
    """`january`, `3` or `march:may`. ValueError when it is none of these."""
    return _span(text, lambda word: _number(word, 1, 12) or _index(word, _MONTHS, "a month such as march, or 3"))


def parse_years(text: str) -> Span:
    """`2026` or `2026:2028`. ValueError when it is neither."""

    def year(word: str) -> int:
        return _number(word, 1, 9998) or _refuse(f"{word!r} is not a year such as 2026")

    return _span(text, year)


def parse_days(text: str) -> Span:
    """`1`, `1:7` or `-3:-1`, which are the last three days of the month. ValueError when it is none of these."""

    def day(word: str) -> int:
        return _number(word, -31, 31) or _refuse(f"{word!r} is not a day of the month such as 1, or -1 for its last")

    span = _span(text, day, ordered=False)
    if span.first < 0 < span.last:
        raise ValueError(f"{text!r} begins from the end of the month and ends from its beginning")
    if _from_begin(span.first, 31) > _from_begin(span.last, 31):
        raise ValueError(f"{text!r} ends before it begins")
    return span


def _span(text: str, word: Callable[[str], int], *, ordered: bool = True) -> Span:
    first, _, last = text.lower().partition(":")
    span = Span(word(first.strip()), word((last or first).strip()))
    if ordered and span.first > span.last:
        raise ValueError(f"{text!r} ends before it begins")
    return span


def _index(word: str, words: tuple[str, ...], noun: str) -> int:
    return words.index(word) if word and word in words else _refuse(f"{word!r} is not {noun}")


def _number(word: str, least: int, most: int) -> int:
    """The number, or 0 when it is none from least to most."""
    if re.fullmatch(r"-?\d{1,4}", word, re.ASCII) is None:
        return 0
    return int(word) if least <= int(word) <= most else 0


def _refuse(sentence: str) -> int:
    raise ValueError(sentence)


def _from_begin(day: int, length: int) -> int:
    """A day of a month of this length, counted from its beginning."""
    return day if day > 0 else length + day + 1


def _has_day(span: Span, day: date) -> bool:
    length = calendar.monthrange(day.year, day.month)[1]
    first, last = _from_begin(span.first, length), _from_begin(span.last, length)
    # A month that is too short for the beginning of the span has none of it; one too short for its end is cut there.
    return max(first, 1) <= day.day <= last if first <= length else False


def _moment(day: date, minute: int, where: tzinfo) -> float:
    return datetime.combine(day, time(minute // 60, minute % 60), where).timestamp()

"""Recurring times and maintenance windows, against looking at every minute."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.model.matcher import parse_matcher
from remediator.model.time_interval import (
    Maintenance,
    Span,
    TimeInterval,
    parse_days,
    parse_months,
    parse_time,
    parse_weekdays,
    parse_years,
    zone,
)


def at(text: str, location: str = "UTC", *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone(location), fold=fold).timestamp()


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        (TimeInterval(), ["2026-01-01T00:00"], []),
        (TimeInterval(times=(Span(120, 240),)), ["2026-01-01T02:00", "2026-01-01T03:59:59"], ["2026-01-01T04:00"]),
        (TimeInterval(times=(Span(1380, 1440),)), ["2026-01-01T23:59:59"], ["2026-01-01T22:59", "2026-01-02T00:00"]),
        (TimeInterval(weekdays=(Span(0, 1),)), ["2026-01-04T12:00", "2026-01-05T12:00"], ["2026-01-03T12:00"]),
        (TimeInterval(days_of_month=(Span(-3, -1),)), ["2026-02-26T00:00", "2028-02-29T00:00"], ["2028-02-26T00:00"]),
        (TimeInterval(days_of_month=(Span(29, 31),)), ["2026-01-31T00:00", "2028-02-29T00:00"], ["2026-02-28T00:00"]),
        (TimeInterval(days_of_month=(Span(1, -2),)), ["2026-02-27T00:00"], ["2026-02-28T00:00"]),
        (TimeInterval(days_of_month=(Span(-31, -30),)), ["2026-01-01T00:00"], ["2026-02-01T00:00"]),
        (TimeInterval(months=(Span(3, 5),)), ["2026-03-01T00:00", "2026-05-31T23:59"], ["2026-06-01T00:00"]),
        (TimeInterval(years=(Span(2026, 2027),)), ["2027-12-31T23:59"], ["2028-01-01T00:00"]),
        (TimeInterval(times=(Span(120, 240),), location="Asia/Tokyo"), ["2026-01-01T17:30"], ["2026-01-01T02:30"]),
    ],
)
def test_what_belongs_to_an_interval(interval: TimeInterval, inside: list[str], outside: list[str]) -> None:
    assert [moment for moment in inside if not interval.contains(at(moment))] == []
    assert [moment for moment in outside if interval.contains(at(moment))] == []


def test_every_field_that_is_given_has_to_have_the_moment() -> None:
    nights = TimeInterval(times=(Span(120, 240),), weekdays=(Span(6, 6),), months=(Span(1, 1),))
    assert nights.contains(at("2026-01-03T02:30"))
    for moment in ("2026-01-03T04:30", "2026-01-04T02:30", "2026-02-07T02:30"):
        assert not nights.contains(at(moment))


def closes(moment: str, *intervals: TimeInterval, location: str = "UTC") -> str | None:
    end = Maintenance("x", intervals).closes(at(moment, location))
    return None if end is None else datetime.fromtimestamp(end, UTC).isoformat()[:19]


def test_a_window_closes_when_none_of_its_intervals_goes_on() -> None:
    evening, night = TimeInterval(times=(Span(1320, 1440),)), TimeInterval(times=(Span(0, 240),))
    assert closes("2026-01-01T22:30", evening) == "2026-01-02T00:00:00"
    assert closes("2026-01-01T22:30", evening, night) == "2026-01-02T04:00:00"
    assert closes("2026-01-03T12:00", TimeInterval(weekdays=(Span(6, 6),))) == "2026-01-04T00:00:00"
    assert closes("2026-01-03T12:00", TimeInterval(months=(Span(1, 2),))) == "2026-03-01T00:00:00"
    assert closes("2026-01-03T12:00", TimeInterval(years=(Span(2026, 2030),))) is None
    assert closes("2026-01-03T12:00", TimeInterval()) is None


@pytest.mark.parametrize(
    ("location", "moment", "end"),
    [
        # At two the clocks go to three: the hour from two is not there, and what is in it ends as it begins.
        ("Europe/Berlin", "2026-03-29T01:30", "2026-03-29T01:00:00"),
        # At three they go back to two: what lasts until three ends at the second three.
        ("Europe/Berlin", "2026-10-25T01:30", "2026-10-25T02:00:00"),
        ("America/New_York", "2026-03-08T01:30", "2026-03-08T07:00:00"),
    ],
)
def test_it_keeps_to_the_clock_on_the_wall_when_that_is_changed(location: str, moment: str, end: str) -> None:
    assert closes(moment, TimeInterval(times=(Span(60, 180),), location=location), location=location) == end


SPANS = st.tuples(st.integers(0, 95), st.integers(0, 95)).map(lambda pair: Span(min(pair) * 15, (max(pair) + 1) * 15))
DAYS = st.one_of(
    st.tuples(st.integers(1, 31), st.integers(1, 31)).map(lambda pair: Span(min(pair), max(pair))),
    st.tuples(st.integers(-31, -1), st.integers(-31, -1)).map(lambda pair: Span(min(pair), max(pair))),
)
WEEKDAYS = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(lambda pair: Span(min(pair), max(pair)))
INTERVALS = st.builds(
    TimeInterval,
    times=st.lists(SPANS, max_size=2).map(tuple),
    weekdays=st.lists(WEEKDAYS, max_size=2).map(tuple),
    days_of_month=st.lists(DAYS, max_size=2).map(tuple),
    location=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)


@settings(max_examples=150)
@given(
    st.lists(INTERVALS, min_size=1, max_size=2).map(tuple),
    st.integers(0, 365 * 96).map(lambda n: 1_767_225_600 + n * 900.0),
)
def test_it_closes_at_the_first_quarter_of_an_hour_that_is_not_in_it(
    intervals: tuple[TimeInterval, ...], now: float
) -> None:
    window = Maintenance("x", intervals)
    if not window.open_for({}, now):
        return
    quarters = (now + n * 900 for n in range(1, 40 * 96))
    expected = next((at for at in quarters if not window.open_for({}, at)), None)
    if expected is not None:
        assert window.closes(now) == expected


def test_a_window_is_for_the_services_it_matches() -> None:
    window = Maintenance("x", (TimeInterval(),), (parse_matcher('tier="db"'),))
    assert window.open_for({"tier": "db"}, 0.0)
    assert not window.open_for({"tier": "web"}, 0.0)
    assert not window.open_for({}, 0.0)


def test_what_is_written_is_read() -> None:
    assert (parse_time("02:30"), parse_time("24:00")) == (150, 1440)
    assert (parse_weekdays("Monday:friday"), parse_weekdays("sunday")) == (Span(1, 5), Span(0, 0))
    assert (parse_months("january:3"), parse_months("December")) == (Span(1, 3), Span(12, 12))
    assert (parse_days("-3:-1"), parse_days("1:-1"), parse_days("5")) == (Span(-3, -1), Span(1, -1), Span(5, 5))
    assert parse_years("2026:2028") == Span(2026, 2028)


@given(st.text(max_size=8))
def test_nothing_else_is_raised_whatever_is_written(text: str) -> None:
    for parse in (parse_time, parse_weekdays, parse_months, parse_days, parse_years, zone):
        with contextlib.suppress(ValueError):
            parse(text)

"""Maintenance windows as the config says them, in the words of Alertmanager's `time_intervals`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from remediator.config.scalars import Scalar
from remediator.config.struct_schema import Violation
from remediator.model.field_types import Name
from remediator.model.matcher import Matcher
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

_TimeOfDay = Annotated[
    int, Scalar("a time of the day such as '02:00'", parse_time, remedy="write it in quotes, from '00:00' to '24:00'")
]
_Weekdays = Annotated[
    Span,
    Scalar("a day of the week", parse_weekdays, remedy="write saturday, or monday:friday; a week begins on sunday"),
]
_Days = Annotated[
    Span, Scalar("a day of the month", parse_days, remedy="write '1', '1:7', or '-3:-1' for the last three")
]
_Months = Annotated[Span, Scalar("a month", parse_months, remedy="write january, '1', or january:march")]
_Years = Annotated[Span, Scalar("a year", parse_years, remedy="write '2026', or '2026:2028'")]


def _zone_name(text: str) -> str:
    zone(text)
    return text


_Location = Annotated[str, Scalar("a time zone", _zone_name, remedy="write Europe/Berlin, UTC, or Local")]


class TimesDoc(msgspec.Struct, frozen=True):
    """From a time of the day to another on the same day."""

    start_time: Annotated[_TimeOfDay, Meta(description="When it begins, as '02:00'.")]
    end_time: Annotated[_TimeOfDay, Meta(description="When it is over, as '04:00'; '24:00' at the latest.")]

    def violations(self) -> Iterator[Violation]:
        """What cannot be meant."""
        if self.start_time >= self.end_time:
            remedy = "write two ranges when it goes over midnight: up to '24:00', and from '00:00'"
            yield Violation(("end_time",), "contradiction", "this ends before it begins", remedy)


class TimeIntervalDoc(msgspec.Struct, frozen=True):
    """A set of moments, as in Alertmanager's time_intervals: what is not given leaves everything open."""

    times: Annotated[tuple[TimesDoc, ...], Meta(description="Times of the day.")] = ()
    weekdays: Annotated[tuple[_Weekdays, ...], Meta(description="Days of the week: [saturday, sunday].")] = ()
    days_of_month: Annotated[tuple[_Days, ...], Meta(description="Days of the month; -1 is its last.")] = ()
    months: Annotated[tuple[_Months, ...], Meta(description="Months, by name or number.")] = ()
    years: Annotated[tuple[_Years, ...], Meta(description="Years.")] = ()
    location: Annotated[_Location, Meta(description="The time zone; UTC unless given.")] = "UTC"

    def made(self) -> TimeInterval:
        """The set of moments that this says."""
        times = tuple(Span(times.start_time, times.end_time) for times in self.times)
        return TimeInterval(times, self.weekdays, self.days_of_month, self.months, self.years, self.location)


class MaintenanceDoc(msgspec.Struct, frozen=True):
    """When services are left alone."""

    name: Annotated[Name, Meta(description="What to call the window.")]
    time_intervals: Annotated[tuple[TimeIntervalDoc, ...], Meta(description="When.")]
    match: Annotated[tuple[Matcher, ...], Meta(description="Which services, by their labels; every one if none.")] = ()
    comment: Annotated[str, Meta(description="Why, for those who read it.")] = ""

    def made(self) -> Maintenance:
        """The window that this says."""
        return Maintenance(
            self.name, tuple(interval.made() for interval in self.time_intervals), self.match, self.comment
        )

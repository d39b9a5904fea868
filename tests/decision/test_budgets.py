"""The arithmetic of budgets, against counting by hand."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from remediator.decision.budgets import failures, spent_until, tripped_until
from remediator.model.incident import IncidentSummary, Verdict
from remediator.model.rules import Rate

TIMES = st.lists(st.integers(0, 300).map(float), max_size=12)
RATES = st.builds(Rate, st.integers(1, 4), st.integers(1, 100).map(float))


def closings(*verdicts: Verdict, relapses: tuple[int, ...] = ()) -> list[IncidentSummary]:
    """Incidents 1, 2, … that closed at 100, 200, …; each of `relapses` relapsed from the one before it."""
    return [
        IncidentSummary(number, "checkout", number * 100.0, verdict, number - 1 if number in relapses else None)
        for number, verdict in enumerate(verdicts, 1)
    ]


@given(RATES, TIMES, st.integers(0, 300).map(float))
def test_a_rate_has_room_exactly_when_fewer_starts_lie_in_its_window(
    rate: Rate, starts: list[float], now: float
) -> None:
    starts = [start for start in starts if start <= now]
    inside = [start for start in starts if start > now - rate.window]
    until = spent_until(rate, starts, now)
    assert (until is None) == (len(inside) < rate.count)
    if until is not None:
        assert until > now
        assert spent_until(rate, starts, until) is None
        assert spent_until(rate, starts, until - 0.5) is not None


def test_a_recovery_that_lasts_resets_what_went_before() -> None:
    story = closings(Verdict.EXHAUSTED, Verdict.EXHAUSTED, Verdict.RECOVERED, Verdict.EXHAUSTED)
    assert failures(story, None) == [400.0]


def test_a_recovery_that_does_not_last_counts_as_a_failure_and_resets_nothing() -> None:
    story = closings(Verdict.EXHAUSTED, Verdict.RECOVERED, Verdict.EXHAUSTED, relapses=(3,))
    assert failures(story, None) == [100.0, 200.0, 300.0]
    assert failures(story[:2], relapse_of=2) == [100.0, 200.0]
    assert failures(story[:2], relapse_of=None) == []


def test_what_was_passed_over_has_not_failed() -> None:
    first, second = closings(Verdict.EXHAUSTED, Verdict.EXHAUSTED)
    assert failures([msgspec.structs.replace(first, ran=False), second], None) == [200.0]


def test_what_ends_without_a_command_says_nothing() -> None:
    story = closings(Verdict.EXHAUSTED, Verdict.CLEARED, Verdict.DISMISSED, Verdict.SUPERSEDED)
    assert failures(story, None) == [100.0]


def test_a_breaker_opens_for_its_window_and_half_open_one_failure_opens_it_again() -> None:
    rate = Rate(3, 600.0)
    assert tripped_until(rate, [0.0, 100.0]) is None
    assert tripped_until(rate, [0.0, 100.0, 200.0]) == 800.0
    assert tripped_until(rate, [0.0, 100.0, 700.0]) is None
    assert tripped_until(rate, [0.0, 100.0, 200.0, 900.0]) == 1500.0


@given(RATES, TIMES.map(sorted))
def test_a_breaker_never_stays_open_for_ever(rate: Rate, ends: list[float]) -> None:
    until = tripped_until(rate, ends)
    if until is not None:
        assert until <= ends[-1] + rate.window
        assert len(ends) >= rate.count

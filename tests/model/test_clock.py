"""The clock: steady whatever is done to the machine's, and never far from it for long."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual import VirtualClock

from remediator.errors import StoreError
from remediator.model.clock import Backoff, SystemClock, retry

T0 = 1_763_942_400.0


class Machine:
    """A machine whose clocks are set by hand."""

    def __init__(self) -> None:
        self.wall, self.steady = T0, 1000.0
        self.clock = SystemClock(lambda: self.wall, lambda: self.steady)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def test_it_tells_the_time() -> None:
    machine = Machine()
    assert machine.clock.now() == T0
    machine.passes(2.5)
    assert machine.clock.now() == T0 + 2.5


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_clock_that_is_set_by_an_hour_makes_no_deadline_early_late_or_endless(step: float) -> None:
    machine = Machine()
    deadline = machine.clock.now() + 60.0
    machine.wall += step
    assert machine.clock.now() == T0
    assert machine.clock.skew == -step
    took = 0.0
    while machine.clock.now() < deadline:
        machine.passes(0.5)
        took += 0.5
    assert 59.5 <= took <= 60.5
    # In the end it tells the machine's time again.
    for _ in range(210):
        machine.passes(3600.0)
        machine.clock.now()
    assert machine.clock.skew == 0.0
    assert machine.clock.now() == machine.wall


def test_what_a_suspended_machine_sleeps_through_has_passed() -> None:
    machine = Machine()
    machine.passes(3600.0)
    assert machine.clock.now() == T0 + 3600.0


def test_another_wall_time_is_taken_over_at_once() -> None:
    machine = Machine()
    machine.clock.follow(lambda: machine.steady + 5_000.0)
    assert machine.clock.now() == 6_000.0
    machine.passes(1.0)
    assert machine.clock.now() == 6_001.0


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(-1e5, 1e5)), max_size=20))
def test_it_never_goes_back_and_never_much_faster_or_slower(moves: list[tuple[float, float]]) -> None:
    machine = Machine()
    before = machine.clock.now()
    for passes, step in moves:
        machine.passes(passes)
        machine.wall += step
        now = machine.clock.now()
        assert 0.9949 * passes - 1e-6 <= now - before <= 1.0051 * passes + 1e-6
        before = now


def test_pauses_double_up_to_the_longest_and_jitter_halves_them_at_most() -> None:
    assert [Backoff(0.5, 60.0).pause(failures) for failures in (1, 2, 3, 8, 500)] == [0.5, 1.0, 2.0, 60.0, 60.0]
    assert Backoff(4.0, 4.0, jitter=lambda: 0.0).pause(9) == 2.0
    assert Backoff(4.0, 4.0, jitter=lambda: 1.0).pause(9) == 4.0


async def test_what_fails_is_attempted_again_after_a_pause_until_it_succeeds_or_is_given_up() -> None:
    clock, failures = VirtualClock(start=T0), []

    async def attempt() -> float:
        if clock.now() < T0 + 7.0:
            raise StoreError("cannot write")
        return clock.now() - T0

    task = asyncio.ensure_future(
        retry(clock, Backoff(1.0, 60.0), attempt, StoreError, lambda *said: failures.append(said))
    )
    await clock.run_for(10)
    assert task.result() == 7.0
    assert [(str(error), number) for error, number in failures] == [("cannot write", number) for number in (1, 2, 3)]

    def give_up(error: Exception, failures: int) -> None:
        raise error

    clock = VirtualClock(start=T0)
    with pytest.raises(StoreError):
        await retry(clock, Backoff(1.0, 60.0), attempt, StoreError, give_up)
    with pytest.raises(StoreError):
        await retry(clock, Backoff(1.0, 60.0), attempt, ValueError, give_up)

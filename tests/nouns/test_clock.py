"""The clock: steady whatever is done to the machine's, and never far from it for long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.model.clock import SystemClock

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

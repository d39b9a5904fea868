"""Panic: when so much of a fleet turns bad at once that it is not the services."""

from __future__ import annotations

from cases import NOW, judgement
from hypothesis import given
from hypothesis import strategies as st

from remediator.decision.case import Panic
from remediator.engine.fleet import LEAST, WITHIN, Fleet
from remediator.model.health import Health
from remediator.model.rules import Share

HALF = Share(50.0, percent=True)


def fleet_of(total: int, *since: float) -> tuple[Fleet, list[str]]:
    names = [f"s{number}" for number in range(total)]
    fleet = Fleet()
    for name, at in zip(names, since, strict=False):
        fleet.judged(name, judgement(Health.FAILED, since=at))
    return fleet, names


def test_more_than_the_share_within_a_minute_is_a_panic() -> None:
    fleet, names = fleet_of(10, *(NOW - 60 + n for n in range(6)))
    assert fleet.panic(HALF, lambda: names, NOW) == Panic(6, 10, NOW - 60)
    assert fleet.panicked_at == NOW


def test_half_of_the_fleet_is_not_more_than_half() -> None:
    fleet, names = fleet_of(10, *([NOW] * 5))
    assert fleet.panic(HALF, lambda: names, NOW) is None
    assert fleet.panicked_at is None


def test_one_after_another_is_no_panic() -> None:
    fleet, names = fleet_of(10, *(NOW - n * 30 for n in range(8)))
    assert fleet.panic(HALF, lambda: names, NOW) is None


def test_who_turns_bad_at_the_time_of_a_look_is_seen_by_the_next_one_at_that_time() -> None:
    fleet, names = fleet_of(4, NOW, NOW)
    assert fleet.panic(HALF, lambda: names, NOW) is None
    fleet.turned_bad("s3", NOW)
    assert fleet.panic(HALF, lambda: names, NOW) == Panic(3, 4, NOW)
    fleet.judged("s3", judgement(Health.HEALTHY, since=NOW))
    assert fleet.panic(HALF, lambda: names, NOW) is None
    assert set(fleet.bad) == {"s0", "s1"}


def test_it_takes_three_however_small_the_fleet() -> None:
    fleet, names = fleet_of(2, NOW, NOW)
    assert fleet.panic(Share(1.0), lambda: names, NOW) is None
    fleet, names = fleet_of(3, NOW, NOW, NOW)
    assert fleet.panic(Share(1.0), lambda: names, NOW) == Panic(3, 3, NOW)


def test_it_lasts_while_they_are_bad_and_ends_as_they_recover() -> None:
    fleet, names = fleet_of(4, *([NOW] * 4))
    assert fleet.panic(HALF, lambda: names, NOW + 3600) is not None
    fleet.judged("s0", judgement(Health.HEALTHY))
    fleet.judged("s1", judgement(Health.UNKNOWN))
    assert fleet.panic(HALF, lambda: names, NOW + 3601) is None
    assert fleet.panicked_at == NOW + 3600


def test_a_service_counts_from_when_it_is_said_to_be_bad_before_it_is_judged() -> None:
    fleet, names = fleet_of(4)
    for name in names:
        fleet.turned_bad(name, NOW)
    assert fleet.panic(HALF, lambda: names, NOW) is not None


@given(
    st.lists(st.integers(0, 300).map(float), max_size=12),
    st.integers(0, 8),
    st.one_of(
        st.integers(1, 6).map(lambda n: Share(float(n))), st.integers(1, 100).map(lambda n: Share(n, percent=True))
    ),
)
def test_it_is_as_counting_every_minute_says(since: list[float], others: int, share: Share) -> None:
    fleet, names = fleet_of(len(since) + others, *since)
    most = share.of(len(names)) if names else 0
    worst = max((sum(at <= other <= at + WITHIN for other in since) for at in since), default=0)
    panic = fleet.panic(share, lambda: names, 1000.0)
    assert (panic is not None) == (worst >= LEAST and worst > most)
    assert panic is None or panic.total == len(names)


def test_a_panic_is_one_of_the_services_that_one_prometheus_sees() -> None:
    fleet = Fleet()
    us, eu = {f"us-{number}" for number in range(4)}, {f"eu-{number}" for number in range(20)}
    for name in ("us-0", "us-1", "us-2", "eu-0"):
        fleet.turned_bad(name, NOW)
    assert fleet.panic(HALF, lambda: us, NOW, "us") == Panic(3, 4, NOW)
    assert fleet.panic(HALF, lambda: eu, NOW, "eu") is None
    assert (fleet.panicked_by("us"), fleet.panicked_by("eu"), fleet.panicked_at) == (NOW, None, NOW)

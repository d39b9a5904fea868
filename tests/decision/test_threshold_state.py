"""`for` and `keep_for` on one service and threshold, against their definition over the whole history; the sentences."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.decision.threshold_state import advance, beyond, format_value, judge_value, reading
from remediator.model.health import Health, QueryStatus, parse_comparison
from remediator.model.rules import Threshold

SERIES = {"service": "checkout"}
VALUES = {Health.HEALTHY: 0.01, Health.DEGRADED: 0.07, Health.FAILED: 0.2}


def threshold(for_=0.0, keep_for=0.0, degraded=">= 0.05", failed="> 0.10", unit="ratio"):
    return Threshold(
        "error_ratio",
        "expr",
        degraded=parse_comparison(degraded) if degraded else None,
        failed=parse_comparison(failed) if failed else None,
        for_=for_,
        keep_for=keep_for,
        unit=unit,
    )


@dataclass(frozen=True)
class ThresholdEvaluation:
    """One look: what the value says by itself, or None when nothing was seen."""

    at: float
    health: Health | None
    gap: bool = False


def looked(rule, *looks, query_status=QueryStatus.NO_DATA):
    """The tracks after each of the looks."""
    tracks, track = [], None
    for look in looks:
        if look.health is None:
            track = advance(track, rule, look.at, Health.UNKNOWN, query_status, None, SERIES, gap=look.gap)
        else:
            value = VALUES[look.health]
            track = advance(track, rule, look.at, look.health, QueryStatus.SEEN, value, SERIES, gap=look.gap)
        tracks.append(track)
    return tracks


def at(*healths, every=5.0, start=100.0):
    return [ThresholdEvaluation(start + every * index, health) for index, health in enumerate(healths)]


H, D, F, U = Health.HEALTHY, Health.DEGRADED, Health.FAILED, None

histories = st.lists(
    st.tuples(
        st.sampled_from([1.0, 4.0, 5.0, 10.0, 15.0]),
        st.sampled_from([H, H, D, F, F, U]),
        st.sampled_from([False, False, False, False, True]),
    ),
    min_size=1,
    max_size=25,
)


def counts(history, index, levels, for_, keep_for):
    """The definition: at some look the breach had been seen without a break for `for`, and since then no look has seen
    it gone for as long as `keep_for`."""

    def breached(i):
        return history[i].health in levels

    def whole(i):
        start = i
        while start > 0 and not history[start].gap and breached(start - 1):
            start -= 1
        return breached(i) and history[i].at - history[start].at >= for_

    def ended(i):
        if history[i].health is None or breached(i):
            return False
        last = max(history[j].at for j in range(i) if breached(j))
        return history[i].at - last >= keep_for

    return any(whole(i) and not any(ended(j) for j in range(i + 1, index + 1)) for i in range(index + 1))


@given(histories, st.sampled_from([0.0, 5.0, 15.0]), st.sampled_from([0.0, 10.0, 30.0]))
def test_for_and_keep_for_are_what_they_are_defined_to_be(steps, for_, keep_for):
    now, history = 1000.0, []
    for step, health, gap in steps:
        now += step
        history.append(ThresholdEvaluation(now, health, gap and bool(history)))
    tracks = looked(threshold(for_, keep_for), *history)
    for index, (look, track) in enumerate(zip(history, tracks, strict=True)):
        if look.health is None:
            expected = Health.UNKNOWN
        elif counts(history, index, (F,), for_, keep_for):
            expected = Health.FAILED
        elif counts(history, index, (D, F), for_, keep_for):
            expected = Health.DEGRADED
        else:
            expected = Health.HEALTHY
        assert track.health is expected, (index, history)


@given(histories, st.sampled_from([0.0, 5.0, 15.0]), st.sampled_from([0.0, 10.0, 30.0]))
def test_since_never_lies_in_the_future_and_healthy_is_only_claimed_for_time_seen_healthy(steps, for_, keep_for):
    now, history = 1000.0, []
    for step, health, gap in steps:
        now += step
        history.append(ThresholdEvaluation(now, health, gap and bool(history)))
    for index, track in enumerate(looked(threshold(for_, keep_for), *history)):
        assert track.since <= history[index].at
        if track.health is Health.HEALTHY:
            claimed = [look for look in history[: index + 1] if look.at >= track.since]
            assert all(look.health is H for look in claimed) or track.pending
            assert not any(look.gap for look in claimed[1:])
        if track.pending and track.health is Health.HEALTHY:
            assert track.since == history[index].at
        # What counts as failed counts as degraded too, and an alert's beginning is never in doubt.
        if track.failed.began is not None:
            assert track.degraded.began is not None
            assert track.degraded.began <= track.failed.began


def healths(tracks):
    return [track.health for track in tracks]


def test_a_breach_counts_once_it_has_held():
    tracks = looked(threshold(for_=10), *at(H, F, F, F, H))
    assert healths(tracks) == [H, H, H, F, H]
    assert tracks[3].since == 105.0
    assert tracks[2].pending
    assert tracks[4].since == 120.0


def test_a_breach_that_turns_worse_waits_for_its_own_time():
    assert healths(looked(threshold(for_=10), *at(D, D, D, F, F, F))) == [H, H, D, D, D, F]


def test_a_failed_value_is_at_least_degraded_for_the_degraded_clock():
    assert healths(looked(threshold(for_=10), *at(F, D, F, D))) == [H, H, D, D]


def test_what_is_not_seen_breaks_for_and_does_not_end_keep_for():
    assert healths(looked(threshold(for_=10), *at(F, F, U, F, F, F))) == [
        H, H, Health.UNKNOWN, H, H, F,
    ]  # fmt: skip
    kept = looked(threshold(keep_for=30), *at(F, U, H, H))
    assert healths(kept) == [F, Health.UNKNOWN, F, F]
    assert kept[-1].kept


def test_a_breach_that_was_not_seen_to_end_goes_on_at_once():
    tracks = looked(threshold(for_=10), *at(F, F, F, U, U, F))
    assert healths(tracks) == [H, H, F, Health.UNKNOWN, Health.UNKNOWN, F]
    assert tracks[-1].degraded.began == 100.0


def test_keep_for_counts_from_the_last_breach():
    tracks = looked(threshold(keep_for=10), *at(F, H, F, H, H, H))
    assert healths(tracks) == [F, F, F, F, H, H]


def test_a_failed_breach_that_is_kept_falls_to_degraded_when_its_time_is_over():
    assert healths(looked(threshold(keep_for=10), *at(F, D, D, D))) == [F, F, D, D]


def test_a_gap_in_looking_breaks_for():
    gapped = [
        ThresholdEvaluation(100.0, F),
        ThresholdEvaluation(200.0, F, gap=True),
        ThresholdEvaluation(205.0, F),
        ThresholdEvaluation(210.0, F),
    ]
    assert healths(looked(threshold(for_=10), *gapped)) == [H, H, H, F]


def test_a_series_that_goes_missing_is_remembered_from_its_first_absence():
    tracks = looked(threshold(), *at(H, U, U))
    assert [track.absent for track in tracks] == [None, 105.0, 105.0]
    assert tracks[1].since == tracks[2].since == 105.0


def test_a_track_that_stays_as_it_is_is_the_same_object():
    rule = threshold()
    track = advance(None, rule, 100.0, H, QueryStatus.SEEN, 0.01, SERIES)
    assert advance(track, rule, 105.0, H, QueryStatus.SEEN, 0.01, SERIES) is track
    unseen = advance(track, rule, 110.0, Health.UNKNOWN, QueryStatus.TIMEOUT, None, SERIES)
    assert advance(unseen, rule, 115.0, Health.UNKNOWN, QueryStatus.TIMEOUT, None, SERIES) is unseen


@pytest.mark.parametrize(
    ("value", "health", "query_status"),
    [
        (0.2, F, QueryStatus.SEEN),
        (0.1, D, QueryStatus.SEEN),
        (0.05, D, QueryStatus.SEEN),
        (0.049, H, QueryStatus.SEEN),
        (float("nan"), Health.UNKNOWN, QueryStatus.NOT_A_NUMBER),
        (float("inf"), Health.UNKNOWN, QueryStatus.INFINITE),
        (float("-inf"), Health.UNKNOWN, QueryStatus.INFINITE),
    ],
)
def test_failed_is_judged_first_and_what_is_no_number_says_nothing(value, health, query_status):
    assert judge_value(threshold(), value) == (health, query_status)


def test_of_two_values_the_one_further_beyond_its_bound_is_worse():
    above, below = threshold(), threshold(degraded="< 5", failed="< 2")
    assert beyond(above, F, 0.9) > beyond(above, F, 0.2)
    assert beyond(above, D, 0.09) > beyond(above, D, 0.06)
    assert beyond(above, H, 0.04) > beyond(above, H, 0.01)
    assert beyond(below, F, 0.0) > beyond(below, F, 1.0)
    exact = threshold(degraded=None, failed="!= 3")
    assert beyond(exact, F, 9.0) > beyond(exact, F, 1.0)


def sentence(rule, *looks, error="", query_status=QueryStatus.NO_DATA):
    return reading(rule, looked(rule, *looks, query_status=query_status)[-1], looks[-1].at, error).text


@pytest.mark.parametrize(
    ("rule", "looks", "text"),
    [
        (threshold(), at(H), "error_ratio 1% (healthy)"),
        (threshold(), at(F, F, F, F), "error_ratio 20% > 10% for 15s (failed)"),
        (threshold(), at(D, D), "error_ratio 7% >= 5% for 5s (degraded)"),
        (threshold(for_=15), at(H, F, F), "error_ratio 20% > 10% for 5s of 15s, pending (healthy)"),
        (threshold(for_=15), at(D, D, D, D, F), "error_ratio 20% > 10% for 0s of 15s, pending (degraded)"),
        (threshold(keep_for=30), at(F, H, H), "error_ratio 1%, was > 10% 10s ago, which is kept for 30s (failed)"),
        (threshold(keep_for=30), at(F, D), "error_ratio 7%, was > 10% 5s ago, which is kept for 30s (failed)"),
        (threshold(), at(F, U, U), "error_ratio has had no series for it for 5s"),
        (threshold(degraded=None), at(F), "error_ratio 20% > 10% (failed)"),
        (threshold(degraded="> 0.05", failed=None), at(D), "error_ratio 7% > 5% (degraded)"),
    ],
)
def test_sentences(rule, looks, text):
    assert sentence(rule, *looks) == text


def test_sentences_of_what_is_not_seen():
    assert sentence(threshold(), *at(H, U), query_status=QueryStatus.TIMEOUT, error="no answer within 5s") == (
        "error_ratio cannot be seen: no answer within 5s"
    )
    for value, word in ((float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf")):
        health, query_status = judge_value(threshold(), value)
        track = advance(None, threshold(), 100.0, health, query_status, value, SERIES)
        assert reading(threshold(), track, 100.0, "").text == f"error_ratio is {word}, which says nothing"
    partial = advance(None, threshold(), 100.0, Health.UNKNOWN, QueryStatus.PARTIAL, 0.2, SERIES)
    assert reading(threshold(), partial, 100.0, "a store is away").text == (
        "error_ratio is 20% by data that may be incomplete: a store is away"
    )


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.2, "ratio", "20%"),
        (0.12345, "ratio", "12.3%"),
        (0.0, "ratio", "0%"),
        (-0.5, "ratio", "-50%"),
        (12.5, "ratio", "1250%"),
        (45.0, "percent", "45%"),
        (0.25, "seconds", "250ms"),
        (1.5, "seconds", "1.5s"),
        (0.0, "seconds", "0s"),
        (90.0, "seconds", "90s"),
        (3600.0, "seconds", "1h"),
        (512.0, "bytes", "512B"),
        (1536.0, "bytes", "1.5KiB"),
        (3.5 * 1024**3, "bytes", "3.5GiB"),
        (12345678.0, "", "12345678"),
        (17.0, "requests", "17 requests"),
        (0.00012, "", "0.00012"),
        (1e-12, "", "1e-12"),
        (1e18, "", "1e+18"),
        (9.999, "", "10"),
    ],
)
def test_values_in_their_unit(value, unit, text):
    assert format_value(value, unit) == text


def test_a_value_and_its_bound_are_told_apart():
    rule = threshold()
    track = advance(None, rule, 100.0, F, QueryStatus.SEEN, 0.100001, SERIES)
    assert reading(rule, track, 100.0, "").text == "error_ratio 10.0001% > 10% (failed)"


@given(
    st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(["", "ratio", "seconds", "bytes", "percent", "x"])
)
def test_every_number_can_be_shown(value, unit):
    assert format_value(value, unit)

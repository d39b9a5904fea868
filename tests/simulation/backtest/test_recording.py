"""Recordings: compact, and the same afterwards."""

from __future__ import annotations

import math
from array import array

from hypothesis import given
from hypothesis import strategies as st

from remediator.clients.prometheus.client import RangeSeries
from remediator.decision.threshold_state import judge_value
from remediator.model.health import QueryStatus, parse_comparison
from remediator.model.rules import Threshold
from remediator.simulation.backtest.data.recording import (
    Recorded,
    Recording,
    Run,
    UnseenSpan,
    decode,
    encode,
    joined,
    recorded,
    turns,
    value_at,
)

THRESHOLDS = [
    Threshold("high", "x", degraded=parse_comparison(">= 0.05"), failed=parse_comparison("> 0.1")),
    Threshold("low", "x", failed=parse_comparison("< 0.05")),
    Threshold("exact", "x", degraded=parse_comparison("!= 0"), failed=parse_comparison("== 1")),
]
SAMPLES = st.one_of(
    st.none(), st.sampled_from([0.0, 0.05, 0.1, 0.2, 1.0, math.nan, math.inf, -math.inf]), st.floats(0, 0.2)
)
SERIES = st.lists(SAMPLES, max_size=120)


def line(values: list[float | None], start: int = 0) -> RangeSeries:
    return RangeSeries({"service": "checkout"}, [(start + 15.0 * i, v) for i, v in enumerate(values) if v is not None])


def alike(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and math.isnan(one) and math.isnan(other))


@given(SERIES)
def test_every_value_is_where_it_was(values: list[float | None]) -> None:
    recording = recorded([line(values)], 0, 15, len(values))
    runs = recording.series[0].runs
    assert all(alike(value_at(runs, index), value) for index, value in enumerate(values))
    assert value_at(runs, len(values)) is None
    assert value_at(runs, -1) is None


@given(SERIES)
def test_a_file_has_all_of_it(values: list[float | None]) -> None:
    recording = recorded([line(values), RangeSeries({}, [(0.0, 1.0)])], 0, 15, max(1, len(values)))
    assert str(decode(encode(recording))) == str(recording)


def test_what_was_not_seen_is_kept_and_joined() -> None:
    parts = [
        Recording(
            0,
            15,
            4,
            [],
            unseen=[UnseenSpan(0, 1, QueryStatus.PARTIAL, "away"), UnseenSpan(3, 4, QueryStatus.EXECUTION, "no")],
        ),
        Recording(
            60,
            15,
            2,
            [],
            unseen=[UnseenSpan(0, 1, QueryStatus.EXECUTION, "no"), UnseenSpan(1, 2, QueryStatus.EXECUTION, "other")],
        ),
    ]
    whole = decode(encode(joined(parts)))
    assert whole.unseen == [
        UnseenSpan(0, 1, QueryStatus.PARTIAL, "away"),
        UnseenSpan(3, 5, QueryStatus.EXECUTION, "no"),
        UnseenSpan(5, 6, QueryStatus.EXECUTION, "other"),
    ]
    assert [whole.seen_from(step) for step in range(6)] == [1, 1, 2, 6, 6, 6]
    assert [whole.border_after(at) for at in (0, 15, 59, 60, 75)] == [15, 45, 75, 75, 90]
    assert whole.border_after(90) == math.inf


@given(SERIES, st.integers(1, 119))
def test_halves_make_a_whole(values: list[float | None], middle: int) -> None:
    middle = min(middle, len(values))
    first = recorded([line(values[:middle])], 0, 15, middle)
    second = recorded([line(values[middle:], 15 * middle)], 15 * middle, 15, len(values) - middle)
    whole = recorded([line(values)], 0, 15, len(values))
    together = joined([first, second])
    assert (together.count, together.start) == (whole.count, 0)
    for one in together.series:
        assert str(one.runs) == str(whole.series[0].runs)


def test_a_series_that_only_one_half_has() -> None:
    first = Recording(0, 15, 2, [Recorded({"a": "1"}, [Run(0, array("d", [1, 2]))])])
    second = Recording(30, 15, 2, [Recorded({"a": "2"}, [Run(1, array("d", [3]))])])
    together = joined([first, second])
    assert [(one.labels, [run.first for run in one.runs]) for one in together.series] == [
        ({"a": "1"}, [0]),
        ({"a": "2"}, [3]),
    ]


@given(SERIES)
def test_turns_are_where_a_value_is_judged_otherwise(values: list[float | None]) -> None:
    recording = recorded([line(values)], 0, 15, len(values))
    for threshold in THRESHOLDS:
        judged = [None if value is None else judge_value(threshold, value) for value in values]
        needed = {i for i, (before, now) in enumerate(zip([None, *judged], judged, strict=False)) if before != now}
        found = turns(recording.series[0].runs, threshold)
        assert found == sorted(set(found))
        assert needed <= set(found)
        # What comes or goes is a turn, whatever it is judged; everything else is one only if it is judged otherwise.
        gone = {i for i in range(1, len(values) + 1) if values[i - 1] is not None and [*values, None][i] is None}
        assert set(found) <= needed | gone | {len(values)}

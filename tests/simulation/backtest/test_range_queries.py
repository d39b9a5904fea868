"""What Prometheus could not answer: found closely, with a bounded number of queries, and the reason kept."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from real.prometheus import RealPrometheus
from simulation.backtest.remembered import START, Remembered

from remediator.clients.http_options import HttpClient
from remediator.clients.prometheus.client import Prometheus, Range
from remediator.errors import RemoteError
from remediator.metrics import Metrics
from remediator.model.health import QueryStatus
from remediator.simulation.backtest.data import range_queries as asking
from remediator.simulation.backtest.data.history import History
from remediator.simulation.backtest.data.range_queries import FAILED, RangeQueries
from remediator.simulation.backtest.data.recording import Recording, UnseenSpan, value_at

DAY = 86_400
NOON = int(time.time()) // 86_400 * 86_400 - 43_200


def asked(remembered: Remembered, seconds: int = DAY) -> Recording:
    return RangeQueries(remembered, 15).recording("load", START, START + seconds)  # type: ignore[arg-type]


def load(**labels: str) -> Remembered:
    remembered = Remembered()
    remembered.has("load", lambda at: float(at), **labels)
    return remembered


def within(since: int, until: int) -> Callable[[int], bool]:
    return lambda at: since <= at < until


@pytest.mark.parametrize("since", [0, 15, 7215, DAY])
def test_a_single_step_that_fails_is_the_only_one_unseen(since: int) -> None:
    remembered = load()
    remembered.fails("load", within(since, since + 15))
    found = asked(remembered)
    step = since // 15
    assert found.unseen == [UnseenSpan(step, step + 1, QueryStatus.EXECUTION, "many-to-many")]
    assert found.count == DAY // 15 + 1
    (one,) = found.series
    for index in range(found.count):
        assert value_at(one.runs, index) == (None if index == step else index * 15)
    assert len(remembered.asked) < 40


def test_what_fails_for_minutes_is_found_to_the_step() -> None:
    remembered = load()
    remembered.fails("load", within(7200, 7500))
    remembered.fails("load", within(50_000, 50_040), error="duplicate series")
    assert asked(remembered).unseen == [
        UnseenSpan(480, 500, QueryStatus.EXECUTION, "many-to-many"),
        UnseenSpan(3334, 3336, QueryStatus.EXECUTION, "duplicate series"),
    ]


def test_what_fails_for_hours_is_found_to_the_step() -> None:
    remembered = load()
    remembered.fails("load", within(10_005, 40_005))
    assert asked(remembered).unseen == [UnseenSpan(667, 2667, QueryStatus.EXECUTION, "many-to-many")]
    assert len(remembered.asked) <= 2 * FAILED + 8


def test_what_fails_all_through_costs_little() -> None:
    remembered = load()
    remembered.fails("load", lambda at: True)
    assert asked(remembered).unseen == [UnseenSpan(0, DAY // 15 + 1, QueryStatus.EXECUTION, "many-to-many")]
    assert len(remembered.asked) < 10


def test_what_fails_again_and_again_costs_no_more_than_the_bound() -> None:
    remembered = load()
    remembered.fails("load", lambda at: at % 900 == 0)
    found = asked(remembered)
    assert len(remembered.asked) <= 2 * FAILED + 8
    # Every step that fails is unseen, and those that are not have their value.
    for index in range(found.count):
        seen = found.unseen_at(index) is None
        assert not seen or index * 15 % 900
        assert not seen or value_at(found.series[0].runs, index) == index * 15


def test_warnings_make_their_steps_incomplete_and_leave_the_values() -> None:
    remembered = load()
    remembered.warns("load", within(7200, 7260))
    found = asked(remembered)
    assert found.unseen == [UnseenSpan(480, 484, QueryStatus.PARTIAL, "a store is away")]
    assert value_at(found.series[0].runs, 481) == 7215
    always = load()
    always.warns("load", lambda at: True)
    assert asked(always).unseen == [UnseenSpan(0, DAY // 15 + 1, QueryStatus.PARTIAL, "a store is away")]
    assert len(always.asked) < 10


def test_remarks_about_the_expression_leave_its_steps_seen() -> None:
    class Remarking(Remembered):
        def query_range_blocking(self, expr: str, start: int, end: int, step: int) -> Range:
            answer = super().query_range_blocking(expr, start, end, step)
            return msgspec.structs.replace(answer, remarks=("PromQL info: metric might not be a counter",))

    remarking = Remarking()
    remarking.has("load", lambda at: float(at))
    assert asked(remarking).unseen == []


def test_too_many_samples_are_asked_for_in_parts_however_many_it_takes() -> None:
    class Small(Remembered):
        def query_range_blocking(self, expr: str, start: int, end: int, step: int) -> Range:
            if end - start > 30 * step:
                self.asked.append(expr)
                return Range(QueryStatus.EXECUTION, error="Prometheus says execution: too many samples")
            return super().query_range_blocking(expr, start, end, step)

    remembered = Small()
    remembered.has("load", lambda at: float(at))
    found = asked(remembered)
    assert len(remembered.asked) > 2 * FAILED
    assert (found.unseen, len(found.series[0].runs)) == ([], 1)
    # When it is too much at any time, that is so.
    remembered.fails("load", lambda at: True, "Prometheus says execution: too many samples")
    remembered.asked.clear()
    assert len(asked(remembered).unseen) == 1
    assert len(remembered.asked) < 10


@pytest.mark.parametrize(
    ("query_status", "at_most", "sentence"),
    [
        (QueryStatus.BAD_DATA, 1, "cannot replay load: no$"),
        (QueryStatus.UNREACHABLE, 3, "cannot replay load: no; what was answered so far is kept: run it again to go on"),
        (QueryStatus.TIMEOUT, 11, "cannot replay load: no; what was answered so far is kept: run it again to go on"),
        (QueryStatus.BAD_ANSWER, 11, "cannot replay load: no$"),
    ],
)
def test_what_says_nothing_of_the_time_ends_it(
    monkeypatch: pytest.MonkeyPatch, query_status: QueryStatus, at_most: int, sentence: str
) -> None:
    monkeypatch.setattr(asking, "_RETRIES", (0.0, 0.0))
    remembered = load()
    remembered.fails("load", lambda at: True, "no", query_status)
    with pytest.raises(RemoteError, match=sentence):
        asked(remembered)
    assert len(remembered.asked) <= at_most


def test_unseen_parts_are_told_of_once_and_asked_for_again(tmp_path: Path) -> None:
    remembered = load(service="a")
    # The last of these is the last step of one stretch, and the first of the next.
    remembered.fails("load", within(14_400 - 60, 14_415), "Prometheus says execution: many-to-many.")
    remembered.fails("load", within(50_010, 50_040), "another")
    first = remembered.history(tmp_path)
    first.gather(["load"], lambda: None)
    for _ in range(2):
        for stretch in first.stretches():
            first.recording("load", *stretch)
    assert first.remarks == [
        "For 1m45s in all load was not answered in full, and is taken as unseen there: "
        "Prometheus says execution: many-to-many."
    ]
    first.close()
    again = remembered.history(tmp_path)
    again.gather(["load"], lambda: None)
    # Three of the six stretches.
    assert 0 < again.asked < first.asked
    assert len(list(tmp_path.iterdir())) == 6


def open_metrics() -> str:
    """A rollout, during which there are two instances of what there is to be one of."""
    lines = ["# TYPE load gauge", "# TYPE info gauge"]
    samples: dict[str, list[str]] = {"load": [], "info": []}
    for index in range(240):
        at = NOON + 15 * index
        samples["load"].append(f'load{{service="a"}} {index} {at}')
        samples["info"].append(f'info{{service="a",version="{1 if index < 120 else 2}"}} 1 {at}')
    return "\n".join([lines[0], *samples["load"], lines[1], *samples["info"], "# EOF", ""])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPrometheus]:
    with RealPrometheus(tmp_path_factory.mktemp("prometheus"), history=open_metrics()) as running:
        yield running


def test_a_rollout_hides_what_is_matched_with_it_until_the_old_is_gone(server: RealPrometheus, tmp_path: Path) -> None:
    prometheus = Prometheus(HttpClient(server.url), query_timeout=10, metrics=Metrics())
    history = History(prometheus, server.url, tmp_path, NOON, NOON + 3600 - 15, 15, 3600)
    found = history.recording("load * on (service) info", *history.stretches()[0])
    for member in prometheus._members:
        member.close()
    (part,) = found.unseen
    # What is not scraped any more is seen for five minutes more.
    assert (part.first - found.step_at(NOON), part.end - found.step_at(NOON)) == (120, pytest.approx(140, abs=1))
    assert (part.query_status, part.error[:64]) == (
        QueryStatus.EXECUTION,
        "Prometheus says execution: found duplicate series for the match ",
    )
    assert re.match(r"For [45]m\w* in all load \* on \(service\) info was not answered in full", history.remarks[0])

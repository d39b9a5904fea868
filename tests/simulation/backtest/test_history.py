"""What Prometheus remembers, asked of a real one: in stretches, in halves when that is too much, and only once."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from real.prometheus import RealPrometheus
from simulation.backtest.remembered import START, Remembered

from remediator.clients.http_options import HttpClient
from remediator.clients.prometheus.client import Prometheus, Range
from remediator.errors import RemediatorError, RemoteError
from remediator.metrics import Metrics
from remediator.model.health import QueryStatus
from remediator.rules.loader import load_rules
from remediator.simulation.backtest.data import history as history_module
from remediator.simulation.backtest.data.history import History, open_folder
from remediator.simulation.backtest.data.recording import value_at
from remediator.simulation.backtest.data.retention import _counts, beginning, plain_conditions, stretch_for

NOON = int(time.time()) // 86_400 * 86_400 - 43_200
HOURS = 6


def open_metrics() -> str:
    """Two services over six hours, a point each 15 s; the second is missing in the middle."""
    lines = ["# TYPE load gauge"]
    for index in range(HOURS * 240):
        lines.append(f'load{{service="a"}} {index} {NOON + 15 * index}')
    for index in range(HOURS * 240):
        if not 300 <= index < 600:
            lines.append(f'load{{service="b"}} {-index} {NOON + 15 * index}')
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPrometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with RealPrometheus(folder, history=open_metrics(), flags=["--query.max-samples=1000"]) as running:
        yield running


@pytest.fixture
def prometheus(server: RealPrometheus) -> Iterator[Prometheus]:
    client = Prometheus(HttpClient(server.url), query_timeout=10, metrics=Metrics())
    yield client
    for member in client._members:
        member.close()


def history(prometheus: Prometheus, url: str, folder: Path, *, stretch: int = 3 * 3600) -> History:
    return History(prometheus, url, folder, NOON, NOON + HOURS * 3600 - 60, 15, stretch)


def test_every_point_is_there_though_no_answer_has_them_all(
    prometheus: Prometheus, server: RealPrometheus, tmp_path: Path
) -> None:
    asked = history(prometheus, server.url, tmp_path)
    told: list[int] = []
    asked.gather(["load"], lambda: told.append(1))
    assert len(told) == len(asked.stretches()) == 2
    # Three hours of two series are 1,442 points, which the server only answers in parts.
    assert asked.asked > 2
    for start, end in asked.stretches():
        recording = asked.recording("load", start, end)
        assert recording.count == (end - start) // 15 + 1
        series = {one.labels["service"]: one.runs for one in recording.series}
        for index in range(recording.count):
            at = (start - NOON) // 15 + index
            assert value_at(series["a"], index) == at
            # A series that is not scraped any more is seen for five minutes more.
            if not 300 <= at < 600:
                assert value_at(series["b"], index) == -at
            elif at >= 321:
                assert value_at(series["b"], index) is None


def test_nothing_is_asked_twice(prometheus: Prometheus, server: RealPrometheus, tmp_path: Path) -> None:
    history(prometheus, server.url, tmp_path).gather(["load"], lambda: None)
    again = history(prometheus, server.url, tmp_path)
    again.gather(["load"], lambda: None)
    assert again.asked == 0
    other = history(prometheus, "http://another.example", tmp_path)
    other.gather(["load"], lambda: None)
    assert other.asked > 0


def test_what_is_kept_is_counted_and_asked_again_when_told_so(tmp_path: Path) -> None:
    remembered = Remembered()
    remembered.has("load", lambda at: 1.0, service="a")
    first = remembered.history(tmp_path)
    first.gather(["load"], lambda: None)
    assert (first.kept, first.answers) == ([], 6)
    paths = sorted(tmp_path.iterdir())
    for path in paths:
        os.utime(path, (START, START))
    remembered.has("load", lambda at: 2.0, service="b")
    remembered.has("other", lambda at: 1.0, service="a")
    again = remembered.history(tmp_path)
    again.gather(["load", "other"], lambda: None)
    assert (again.kept, again.answers, again.asked) == ([START] * 6, 12, 6)
    refreshed = remembered.history(tmp_path, refresh=True)
    refreshed.gather(["load"], lambda: None)
    assert (refreshed.kept, refreshed.answers, refreshed.asked) == ([], 6, 6)
    # Once is enough, and it is there for the next one.
    assert len(refreshed.recording("load", *refreshed.stretches()[0]).series) == 2
    refreshed.condition("other", START + 100)
    assert refreshed.asked == 7
    third = remembered.history(tmp_path)
    assert [len(third.recording("load", *stretch).series) for stretch in third.stretches()] == [2] * 6


def test_a_damaged_file_is_asked_for_again(prometheus: Prometheus, server: RealPrometheus, tmp_path: Path) -> None:
    asked = history(prometheus, server.url, tmp_path)
    asked.gather(["load"], lambda: None)
    whole = [asked.recording("load", *stretch) for stretch in asked.stretches()]
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert [str(asked.recording("load", *stretch)) for stretch in asked.stretches()] == [str(one) for one in whole]


def test_a_stretch_is_as_long_as_the_server_can_answer(prometheus: Prometheus) -> None:
    many = 'load{service="a"} * on () group_left (le) histogram_buckets'
    assert stretch_for(prometheus, ["load"], [NOON + 3600], 15) == 86_400
    assert stretch_for(prometheus, ["load"], [NOON + 3600], 1) == 10_800
    assert stretch_for(prometheus, [many], [NOON + 3600], 7) == 43_200 // 7 * 7
    assert stretch_for(prometheus, ["1 + 1"], [NOON + 3600], 15) == 86_400


def test_a_comment_does_not_hide_how_many_series_there_are(prometheus: Prometheus) -> None:
    some = 'load * 0 or label_replace(load, "n", "1", "", "")'
    for expr in (some, f"{some} # the worst"):
        assert list(_counts(prometheus, expr, [NOON + 3600], 15)) == [4]


def test_what_cannot_be_counted_at_a_time_is_counted_at_others(prometheus: Prometheus) -> None:
    # Two series instead of one until the second is gone.
    assert list(_counts(prometheus, "load * on () load", [NOON, NOON + 7200], 15)) == [1]


def test_infinite_is_a_value_and_a_label_alike(prometheus: Prometheus) -> None:
    expr = 'label_replace(load{service="a"} / 0, "le", "+Inf", "", "")'
    (line,) = prometheus.query_range_blocking(expr, NOON + 3600, NOON + 3630, 15).lines
    assert line.labels["le"] == "+Inf"
    assert [value for _, value in line.points] == [math.inf] * 3


def test_what_prometheus_refuses_is_said(prometheus: Prometheus, server: RealPrometheus, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match=r"cannot replay sum by \(load: Prometheus says bad_data"):
        history(prometheus, server.url, tmp_path).gather(["sum by (load"], lambda: None)


def test_what_is_young_is_asked_for_again(tmp_path: Path) -> None:
    now = int(time.time()) // 15 * 15
    remembered = Remembered()
    remembered.has("load", lambda at: 1.0, service="a")
    first = History(remembered, "http://remembered", tmp_path, now - 3600, now, 15, 1800)  # type: ignore[arg-type]
    first.gather(["load"], lambda: None)
    old = len([end for _, end in first.stretches() if end <= now - 600])
    first.close()
    assert len(list(tmp_path.iterdir())) == old
    again = History(remembered, "http://remembered", tmp_path, now - 3600, now, 15, 1800)  # type: ignore[arg-type]
    again.gather(["load"], lambda: None)
    assert again.asked == len(again.stretches()) - old


def test_what_was_not_complete_is_said_and_asked_for_again(tmp_path: Path) -> None:
    class Partial(Remembered):
        def query_range_blocking(self, expr: str, start: int, end: int, step: int) -> Range:
            answer = super().query_range_blocking(expr, start, end, step)
            return msgspec.structs.replace(answer, warnings=("a store is away",))

    remembered = Partial()
    remembered.has("load", lambda at: 1.0, service="a")
    asked = remembered.history(tmp_path)
    asked.gather(["load"], lambda: None)
    assert list(asked.warnings) == ["a store is away"]
    asked.close()
    assert list(tmp_path.iterdir()) == []


def test_where_data_begin_is_found_to_the_hour_with_few_questions(
    prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    remembers = prometheus.remembers_blocking
    monkeypatch.setattr(prometheus, "remembers_blocking", lambda *span: asked.append(1) or remembers(*span))
    end = NOON + HOURS * 3600
    assert NOON - 3600 < beginning(prometheus, NOON - 50 * 365 * 86_400, end, 15) <= NOON
    assert len(asked) < 25
    asked.clear()
    assert beginning(prometheus, NOON + 3600, end, 15) == NOON + 3600
    assert len(asked) == 1
    assert beginning(prometheus, NOON - 3_600_000, NOON - 1_800_000, 15) == NOON - 1_800_000 - 86_400


def test_who_cannot_say_where_data_begin_is_asked_of_everything() -> None:
    class Silent(Remembered):
        def remembers_blocking(self, start: int, end: int) -> None:
            return None

    assert beginning(Silent(), 0, START, 15) == 0  # type: ignore[arg-type]


def test_it_begins_with_the_first_of_what_is_remembered(tmp_path: Path) -> None:
    remembered = Remembered()
    remembered.has("load", lambda at: 1.0 if at >= 40_000 else None, service="a")
    remembered.has("late", lambda at: 1.0 if at >= 50_000 else None, service="a")
    asked = remembered.history(tmp_path)
    asked.gather(["late", "load"], lambda: None)
    assert (asked.start, asked.remembered_from) == (START + 40_005, START + 40_005)
    assert asked.remarks == [
        "Prometheus remembers nothing of it before 2023-11-15 11:06Z: the backtest begins there, not at 2023-11-15 00:00Z."
    ]
    # A window that has to fill is no reason to begin later.
    remembered.has("window", lambda at: 1.0 if at >= 600 else None, service="a")
    asked = remembered.history(tmp_path)
    asked.gather(["window"], lambda: None)
    assert (asked.start, asked.remembered_from, asked.remarks) == (START, START, [])
    asked = remembered.history(tmp_path)
    asked.gather(["nothing"], lambda: None)
    assert (asked.start, asked.remembered_from) == (START, START)


def test_stretches_lie_on_a_grid(tmp_path: Path) -> None:
    remembered = Remembered()
    early, late = remembered.history(tmp_path, 86_400), remembered.history(tmp_path, 90_000)
    assert early.stretches()[0] == (START, START + 4 * 3600)
    assert set(early.stretches()) <= set(late.stretches())
    ends = [end for _, end in late.stretches()]
    assert [start for start, _ in late.stretches()[1:]] == ends[:-1]
    assert ends[-1] == START + 90_000


def test_conditions_are_held_by_how_many_points_they_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "_CONDITIONS", 3000)
    remembered = Remembered()
    for expr in ("a", "b", "c"):
        remembered.has(expr, lambda at: 1.0)
    for service in range(10):
        remembered.has("many", lambda at: 1.0, service=str(service))
    asked = remembered.history(tmp_path)
    read: list[str] = []
    recording = asked.recording
    monkeypatch.setattr(asked, "recording", lambda expr, *stretch: read.append(expr) or recording(expr, *stretch))
    # A stretch of one series is 961 points.
    for expr in ("a", "b", "c", "a", "b", "c"):
        assert len(asked.condition(expr, START + 60).series) == 1
    assert read == ["a", "b", "c"]
    for _ in range(2):
        assert len(asked.condition("many", START + 60).series) == 10
    assert read == ["a", "b", "c", "many"]
    asked.condition("c", START + 60)
    assert read == ["a", "b", "c", "many", "c"]


def test_a_condition_that_cannot_be_had_is_not_asked_for_again(tmp_path: Path) -> None:
    remembered = Remembered()
    remembered.fails("a", lambda at: at < 14_400, "no", QueryStatus.BAD_DATA)
    asked = remembered.history(tmp_path)
    for _ in range(3):
        with pytest.raises(RemoteError, match="cannot replay a: no"):
            asked.condition("a", START + 60)
    assert asked.asked == 1
    assert asked.condition("a", START + 15_000).series == []


def test_conditions_without_templates_are_counted(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text("""
runbooks:
  - name: web
    steps:
      - {restart: , unless: 'busy > 0', if: 'up{service="{{ service.name }}"}'}
      - {scale: {by: 1, max: 3, replicas: 'count(up)'}, if: 'absent(guard(rollout_in_progress))'}
""")
    book, _ = load_rules([tmp_path / "rules.yml"], service_label="service")
    assert list(plain_conditions(book)) == ["busy > 0", "count(up)"]


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(RemediatorError, match="cannot use the folder"):
        open_folder(file / "below")


def test_only_what_was_kept_here_is_deleted(tmp_path: Path) -> None:
    old = time.time() - 8 * 86_400
    theirs = ["notes.txt", ".hidden", "mine.recording", "rules.yml"]
    for name in (*theirs, f"{'0' * 64}.recording", "part-x_1.recording"):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (old, old))
    open_folder(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(theirs)


def test_what_was_not_there_is_asked_for_again(tmp_path: Path) -> None:
    remembered = Remembered()
    first = remembered.history(tmp_path)
    first.gather(["load"], lambda: None)
    first.close()
    remembered.has("load", lambda at: 1.0, service="a")
    again = remembered.history(tmp_path)
    again.gather(["load"], lambda: None)
    assert len(again.recording("load", *again.stretches()[0]).series) == 1

"""promtool's notation of values over time."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.simulation.ruletest.series_notation import NotationError, parse_values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1", [1]),
        ("-2+4x3", [-2, 2, 6, 10]),
        ("1-2x4", [1, -1, -3, -5, -7]),
        ("1x4", [1, 1, 1, 1, 1]),
        ("0x10 1", [0] * 11 + [1]),
        ("1 _x3 stale", [1, None, None, None, None]),
        ("_ 1e-3 +5 .5 1.", [None, 0.001, 5, 0.5, 1]),
        ("Inf -inf", [math.inf, -math.inf]),
        (" 3\t4\n5 ", [3, 4, 5]),
        ("_x0 1x0", [1]),
        ("0+0.02x2", [0, 0.02, 0.04]),
    ],
)
def test_values(text: str, values: list[float | None]) -> None:
    assert parse_values(text) == values


def test_not_a_number_is_a_value() -> None:
    (value,) = parse_values("NaN")
    assert value is not None
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("", 0, "there are no values here"),
        ("1 2,3", 2, "'2,3' is none of a number"),
        ("1 1 1 x", 6, "'x' is none of a number"),
        ("0 20%", 2, "'20%' is not a number: write it as a ratio, such as 0.2"),
        ("1+2", 0, "does not say how often: write 1\\+2x10"),
        ("0x1f", 0, "'0x1f' is none of"),
        ("1+-2x3", 0, "none of"),
        ("1 x3", 2, "none of"),
        ("5x1000000", 0, "more than 1000000 values"),
        ("1x999998 1x1", 9, "more than 1000000 values"),
        ("Stale", 0, "none of"),
    ],
)
def test_errors_have_a_place(text: str, offset: int, message: str) -> None:
    with pytest.raises(NotationError, match=message) as caught:
        parse_values(text)
    assert caught.value.offset == offset


numbers = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False).map(lambda number: f"{number:.6g}")
steps = st.floats(min_value=0, max_value=1e3, allow_nan=False).map(lambda number: f"{number:.6g}")
items = st.one_of(
    numbers,
    st.builds("{}x{}".format, numbers, st.integers(0, 5)),
    st.builds("{}{}{}x{}".format, numbers, st.sampled_from("+-"), steps, st.integers(0, 5)),
    st.just("_"),
    st.builds("_x{}".format, st.integers(0, 5)),
    st.just("stale"),
)


@given(st.lists(items, min_size=1, max_size=8))
def test_a_sequence_is_its_items_one_after_another(words: list[str]) -> None:
    whole = " ".join(words)
    apart: list[float | None] = []
    for word in words:
        try:
            apart += parse_values(word)
        except NotationError:
            assert word == "_x0"
    if apart:
        assert parse_values(whole) == apart


@given(st.text(alphabet="0123456789+-.xe_ staleInfNa", max_size=20))
def test_any_text_gives_values_or_an_error_within_it(text: str) -> None:
    place, said = 0, "it is fine"
    try:
        parse_values(text)
    except NotationError as error:
        place, said = error.offset, str(error)
    assert 0 <= place <= len(text)
    assert said


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, of the package prometheus")
@settings(max_examples=25)
@given(st.lists(items, min_size=1, max_size=5))
def test_promtool_reads_the_same(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> None:
    text = " ".join(words)
    try:
        values = parse_values(text)
    except NotationError:
        return
    present = [value for value in values if value is not None]
    asked = {"count_over_time(a[1h])": len(present), "sum_over_time(a[1h])": math.fsum(present)}
    file: Path = tmp_path_factory.mktemp("promtool") / "test.yml"
    test = {
        "interval": "1m",
        "input_series": [{"series": "a", "values": text}],
        "promql_expr_test": [{"expr": expr, "eval_time": "59m"} for expr in asked],
    }
    file.write_text(json.dumps({"rule_files": [], "tests": [test]}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, timeout=240)
    found = re.findall(r'expr: "(.*)", time: 59m,\s+exp: nil\s+got: \{\} (\S+)', done.stdout + done.stderr)
    if not present:
        assert found == []
        return
    assert {expr: float(value) for expr, value in found} == pytest.approx(asked, rel=1e-9, abs=1e-6)

"""Values of expressions over time, computed by the real PromQL engine: promtool evaluates them over given series.

The expressions become promtool unit tests that expect no result. promtool then reports each result that it got (checked
with 2.42, the version of Debian 12), and reports nothing where the result is empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from remediator.clients.promtool import ask_promtool
from remediator.errors import RemoteError
from remediator.model.durations import format_duration
from remediator.simulation.scripted import Sample

Labels = tuple[tuple[str, str], ...]

TIMEOUT = 120.0
"""The most seconds that promtool may take."""

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_ASKED = re.compile(rf"\s*expr: ({_QUOTED}), time: (\w+),(?: err: (.*))?")
_GOT = re.compile(r"\s*got: ?(.*)")
_SERIES = re.compile(rf"([a-zA-Z_:][\w:]*)?\{{((?:[^{{}}\"]|{_QUOTED})*)\}} (\S+?)(?:, |$)")
_LABEL = re.compile(rf"([a-zA-Z_]\w*|{_QUOTED})=({_QUOTED})")
_QUOTED_METRIC = re.compile(rf"({_QUOTED})(?:,|$)")


def evaluate(
    exprs: Iterable[str], series: Sequence[tuple[str, str]], interval: float, step: float, until: float
) -> dict[str, dict[Labels, list[Sample]]]:
    """The values of each expression's series at 0, `step`, 2 * `step`, … up to `until` seconds, None where there is none.

    `series` are pairs of a series and its values in promtool's notation, `interval` seconds apart. RemoteError when
    there is no promtool, or it refuses the series or an expression.
    """
    wanted = {_quoted(expr): expr for expr in exprs}
    times = [index * step for index in range(int(until / step) + 1)]
    asked = {format_duration(time): index for index, time in enumerate(times)}
    test = {
        "interval": format_duration(interval),
        "input_series": [{"series": name, "values": values} for name, values in series],
        "promql_expr_test": [{"expr": expr, "eval_time": time} for expr in wanted.values() for time in asked],
    }
    answers: dict[str, dict[Labels, list[Sample]]] = {expr: {} for expr in wanted.values()}
    current, index = "", 0
    said = _run({"rule_files": [], "tests": [test]})
    for line in said.splitlines():
        if found := _ASKED.match(line):
            current, index = wanted[found[1]], asked[found[2]]
            if found[3]:
                raise RemoteError(f"cannot evaluate {current!r} at {found[2]}: {found[3]}", retry=False)
        elif (found := _GOT.match(line)) and current:
            for one in _SERIES.finditer(found[1]):
                labels = {_label_name(name): _unquoted(text) for name, text in _LABEL.findall(one[2])}
                if one[1]:
                    labels["__name__"] = one[1]
                elif metric := _QUOTED_METRIC.match(one[2]):
                    labels["__name__"] = _unquoted(metric[1])
                values = answers[current].setdefault(tuple(sorted(labels.items())), [None] * len(times))
                values[index] = float(one[3])
    return answers


def _label_name(text: str) -> str:
    """A label name as Prometheus 3 prints it: in quotes unless it is a plain one."""
    return _unquoted(text) if text.startswith('"') else text


def _run(document: object) -> str:
    """promtool's output for a test file."""
    try:
        code, said = ask_promtool("test", document, TIMEOUT)
    except RemoteError as error:
        raise RemoteError(f"cannot evaluate promql: {error}", retry=False) from None
    if code and not _ASKED.search(said):
        reason = " ".join(line.strip() for line in said.splitlines() if line.strip() and "Unit Testing" not in line)
        raise RemoteError(f"cannot evaluate promql: promtool says {reason.replace('FAILED:', '').strip()}", retry=False)
    return said


def _quoted(text: str) -> str:
    # The same as Go's %q for the characters of expressions.
    return json.dumps(text, ensure_ascii=False)


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]

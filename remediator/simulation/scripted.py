"""The scripted environment of a simulation: a Prometheus whose answers are a script, and calls that are only recorded.

Series are the results of queries, by the text of the expression. A value holds until the next one. An expression without
any series has an empty answer. A condition that a script says nothing of is false.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from remediator.actions.command import result_of
from remediator.actions.http import status_text
from remediator.clients.prometheus.client import Answer, Series
from remediator.decision.threshold_state import judge_value
from remediator.model.action import Call, Outcome, Result
from remediator.model.durations import format_duration
from remediator.model.health import QueryStatus
from remediator.model.rules import Threshold

Sample = float | None
"""A value of a series. None: the series does not exist at that time."""


class Effect(msgspec.Struct, frozen=True):
    """What one call does. It takes `takes` seconds, exits, prints `output`, and calls `then` at its end, however it ended.
    A call that hangs ends at its timeout and changes nothing."""

    takes: float = 1.0
    exit_code: int = 0
    output: str = ""
    hangs: bool = False
    then: Callable[[], object] = lambda: None


class Ran(msgspec.Struct, frozen=True):
    """A call that was made at `at`, in seconds since the epoch."""

    at: float
    call: Call

    @property
    def text(self) -> str:
        """The command as one would type it, or the request."""
        return str(self.call)


class Values(Protocol):
    """One series over time."""

    @property
    def labels(self) -> dict[str, str]: ...

    def at(self, now: float) -> Sample:
        """Its value at a time."""
        ...

    def after(self, now: float) -> Iterable[tuple[float, Sample]]:
        """Times and values still to come, soonest first. Values that are certainly judged like the one before may be left
        out."""
        ...


class ScriptedSeries:
    """A scripted series: the times at which its value changes, and the values."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = dict(labels)
        self._times: list[float] = []
        self._values: list[Sample] = []

    def put(self, at: float, values: Iterable[Sample], interval: float) -> None:
        """Set the values from `at` on, one per interval. They replace later values, and the last one stays."""
        keep = bisect_left(self._times, at)
        del self._times[keep:], self._values[keep:]
        before = self._values[-1] if self._values else math.nan
        for index, value in enumerate(values):
            if value != before:
                self._times.append(at + index * interval)
                self._values.append(value)
            before = value

    def at(self, now: float) -> Sample:
        index = bisect_right(self._times, now)
        return self._values[index - 1] if index else None

    def after(self, now: float) -> Iterable[tuple[float, Sample]]:
        index = bisect_right(self._times, now)
        return zip(self._times[index:], self._values[index:], strict=True)


class ScriptedEnvironment:
    """Everything outside remediator. `ran` lists every call that was made, in order."""

    def __init__(self) -> None:
        self.ran: list[Ran] = []
        self.under_way = 0
        self.most_under_way = 0
        self.asked = 0
        """How many queries were asked."""
        self.changes = 0
        """How often the script has changed what Prometheus answers."""
        self.changed_at = -math.inf
        """When the script last changed it."""
        self.lines: dict[str, dict[tuple[tuple[str, str], ...], Values]] = {}
        self.watch: Callable[[], None] = lambda: None
        """Called at each change of the script."""
        self._loop = asyncio.get_running_loop()
        self._refusals: dict[str, tuple[QueryStatus, str]] = {}
        self._effects: list[tuple[Callable[[Call], bool], list[Effect]]] = []
        self._known_as: list[tuple[re.Pattern[str], str]] = []
        self._conditions: set[str] = set()

    @property
    def now(self) -> float:
        """The time, in seconds since the epoch."""
        return self._loop.time()

    # Prometheus.

    def put(self, expr: str, labels: Mapping[str, str], values: Iterable[Sample], interval: float = 60.0) -> None:
        """Set the values of a series in a query's answer from now on, one per interval. The last one stays."""
        lines = self.lines.setdefault(expr.strip(), {})
        key = tuple(sorted(labels.items()))
        line = lines.get(key)
        if not isinstance(line, ScriptedSeries):
            line = lines[key] = ScriptedSeries(labels)
        line.put(self.now, values, interval)
        self.changed()

    def know_as(self, pattern: re.Pattern[str], expr: str) -> None:
        """Answer queries that match the pattern, such as a rendered template, with the answer of this expression."""
        self._known_as.append((pattern, expr.strip()))

    def know_condition(self, expr: str) -> None:
        """Answer this condition with a 0 for as long as nothing has ever been set for it."""
        self._conditions.add(expr.strip())

    def refuse(self, expr: str, query_status: QueryStatus, error: str = "") -> None:
        """Refuse a query from now on, or answer it again when `query_status` is SEEN. The expression '' stands for all."""
        self._refusals.pop(expr.strip(), None)
        if query_status is not QueryStatus.SEEN:
            self._refusals[expr.strip()] = (query_status, error or f"Prometheus: {query_status}")
        self.changed()

    def answer(self, expr: str) -> Answer:
        """Prometheus' present answer to a query."""
        self.asked += 1
        now, expr = self.now, expr.strip()
        if expr not in self.lines:
            expr = next((known for pattern, known in self._known_as if pattern.fullmatch(expr)), expr)
        refusal = self._refusals.get("") or self._refusals.get(expr)
        if refusal is not None:
            return Answer(now, refusal[0], error=refusal[1])
        if expr in self._conditions and expr not in self.lines:
            return Answer(now, QueryStatus.SEEN, [Series({}, 0.0)], kind="scalar")
        series = [
            Series(line.labels, value)
            for line in self.lines.get(expr, {}).values()
            if (value := line.at(now)) is not None
        ]
        return Answer(now, QueryStatus.SEEN, series, kind="vector")

    def steady_until(self, threshold: Threshold, since: float) -> float:
        """The time of the next value that this threshold judges differently from the one before it."""
        lines = self.lines.get(threshold.expr.strip(), {}).values()
        return min((_changes(threshold, line, since) for line in lines), default=math.inf)

    async def query(self, expr: str) -> Answer:
        """The same answer, as the engine asks for it."""
        return self.answer(expr)

    def changed(self) -> None:
        """Note that the script changed what Prometheus answers from now on."""
        self.changes += 1
        self.changed_at = self.now
        self.watch()

    # Commands and requests.

    def on(self, matches: Callable[[Call], bool], effects: Sequence[Effect]) -> None:
        """Set what matching calls do: one effect after another, and the last one stays. Later settings win."""
        self._effects.insert(0, (matches, list(effects)))

    async def run(self, call: Call) -> Result:
        """Make a call: record it, let its time pass, and apply its effect. Every target can be reached."""
        if call.probe:
            return result_of(0, "")
        self.ran.append(Ran(self.now, call))
        effect = self._effect_of(call)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        too_long = effect.hangs or effect.takes > call.timeout
        try:
            await asyncio.sleep(call.timeout if too_long else effect.takes)
        finally:
            self.under_way -= 1
        if too_long:
            limit = format_duration(call.timeout)
            text = f"timed out after {limit} and was ended" if call.http is None else f"no answer within {limit}"
            return Result(Outcome.TIMED_OUT, text, None, effect.output)
        effect.then()
        if call.http is not None:
            # Its "exit code" is the status; 0 stands for 200.
            status = effect.exit_code or 200
            good = status in call.http.expect if call.http.expect else 200 <= status < 300
            outcome = Outcome.SUCCEEDED if good else Outcome.FAILED
            return Result(outcome, f"answered {status_text(status)}", None, effect.output)
        return result_of(effect.exit_code, effect.output)

    def _effect_of(self, call: Call) -> Effect:
        for matches, effects in self._effects:
            if matches(call):
                return effects.pop(0) if len(effects) > 1 else effects[0]
        return Effect()


def _changes(threshold: Threshold, line: Values, since: float) -> float:
    """The time of a series' next value that this threshold judges differently from its value at `since`."""
    later = iter(line.after(since))
    first = next(later, None)
    if first is None:
        return math.inf
    before = _judged(threshold, line.at(since))
    for time, value in itertools.chain([first], later):
        if _judged(threshold, value) != before:
            return time
    return math.inf


def _judged(threshold: Threshold, value: Sample) -> object:
    return None if value is None else judge_value(threshold, value)

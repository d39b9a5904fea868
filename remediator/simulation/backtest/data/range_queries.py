"""Range queries of an expression over a stretch.

A stretch is asked in parts when it is too much for one answer, and when it fails, to find out which steps fail. The number
of queries is bounded.
"""

from __future__ import annotations

import time
from bisect import insort

import msgspec

from remediator.clients.prometheus.client import Prometheus, Range
from remediator.errors import RemoteError
from remediator.model.health import QueryStatus
from remediator.simulation.backtest.data.prometheus_sources import PrometheusSources
from remediator.simulation.backtest.data.recording import Recording, UnseenSpan, joined, recorded

FAILED = 64
"""After this many failed queries of an expression in a stretch, the parts that still fail count as unseen."""
_LEAST = 8
"""A part of this few steps is small enough for every Prometheus."""
_SPREAD = 8
"""When a stretch fails and this many single steps spread over it fail too, all of it counts as failing."""
_RETRIES = (1.0, 3.0)
"""Seconds to wait before each repetition when Prometheus could not be reached."""
_TOO_MUCH = (QueryStatus.TIMEOUT, QueryStatus.BAD_ANSWER)
_TOO_MANY_SAMPLES = "too many samples"
"""Part of Prometheus' message when a query exceeds --query.max-samples. Its errorType is that of any other error."""


class RangeQueries:
    """Asks Prometheus for the values of expressions every `step` seconds.

    Raises RemoteError when Prometheus cannot be reached, cannot answer even a few steps in time, or rejects an expression.
    """

    def __init__(self, prometheus: Prometheus | PrometheusSources, step: int) -> None:
        self.asked = 0
        """The number of range queries so far."""
        self.warnings: dict[str, None] = {}
        """Prometheus' warnings, each once: a part of the data may be missing."""
        self._prometheus = prometheus
        self._step = step

    def recording(self, expr: str, start: int, end: int) -> Recording:
        """The values of an expression from start to end, both in seconds. Steps with an error or a warning are unseen."""
        asks = [(start, end)]
        parts: list[Recording] = []
        failed = 0
        while asks:
            first, last = asks.pop()
            answer = self._ask(expr, first, last)
            found = self._recorded(answer, first, last)
            if found.unseen and (first, last) == (start, end) and self._fails_throughout(expr, answer, start, end):
                return found
            if _too_much(answer) and found.count > _LEAST:
                asks += self._halves(first, last)
            else:
                failed += bool(found.unseen)
                insort(parts, found, key=lambda part: part.start)
            if not asks and failed < FAILED and (part := _telling(parts)) is not None:
                parts.remove(part)
                asks += self._halves(part.start, part.start + (part.count - 1) * self._step)
        return joined(parts)

    def _ask(self, expr: str, start: int, end: int) -> Range:
        for wait in (*_RETRIES, 0.0):
            answer = self._prometheus.query_range_blocking(expr, start, end, self._step)
            self.asked += 1
            if answer.query_status is not QueryStatus.UNREACHABLE:
                break
            time.sleep(wait)
        self.warnings.update(dict.fromkeys(answer.warnings))
        hopeless = answer.query_status in _TOO_MUCH and (end - start) // self._step < _LEAST
        if hopeless or answer.query_status in (QueryStatus.UNREACHABLE, QueryStatus.BAD_DATA):
            later = answer.query_status in (QueryStatus.UNREACHABLE, QueryStatus.TIMEOUT)
            remedy = "; what was answered so far is kept: run it again to go on" if later else ""
            raise RemoteError(f"cannot replay {shown(expr)}: {answer.error}{remedy}", retry=True)
        return answer

    def _fails_throughout(self, expr: str, whole: Range, start: int, end: int) -> bool:
        """Whether single steps spread over the stretch fail in the same way as the whole."""
        if whole.query_status in _TOO_MUCH:
            return False
        steps = (end - start) // self._step
        places = {start + steps * place // (_SPREAD - 1) * self._step for place in range(_SPREAD)}
        ones = (self._ask(expr, at, at) for at in sorted(places))
        return all(
            one.query_status is whole.query_status and bool(one.warnings) == bool(whole.warnings) for one in ones
        )

    def _halves(self, start: int, end: int) -> list[tuple[int, int]]:
        middle = start + (end - start) // self._step // 2 * self._step
        # The list is a stack: the earlier half is last, so it is asked first.
        return [(middle + self._step, end), (start, middle)]

    def _recorded(self, answer: Range, start: int, end: int) -> Recording:
        count = (end - start) // self._step + 1
        found = recorded(answer.lines, start, self._step, count)
        if answer.query_status is not QueryStatus.SEEN:
            unseen = UnseenSpan(0, count, answer.query_status, answer.error)
        elif answer.warnings:
            unseen = UnseenSpan(0, count, QueryStatus.PARTIAL, "; ".join(answer.warnings))
        else:
            return found
        return msgspec.structs.replace(found, unseen=[unseen])


def shown(expr: str) -> str:
    """The expression for a sentence: on one line, shortened."""
    line = " ".join(expr.split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def _too_much(answer: Range) -> bool:
    return answer.query_status in _TOO_MUCH or (
        answer.query_status is QueryStatus.EXECUTION and _TOO_MANY_SAMPLES in answer.error
    )


def _telling(parts: list[Recording]) -> Recording | None:
    """The failing part to split next. None when every failing part is a single step.

    It is the largest beside a part that does not fail, because trouble began or ended there, otherwise the largest.
    """
    best, rank = None, (False, 1)
    for index, part in enumerate(parts):
        beside = any(not other.unseen for other in parts[max(0, index - 1) : index + 2])
        if part.unseen and part.count > 1 and (beside, part.count) > rank:
            best, rank = part, (beside, part.count)
    return best

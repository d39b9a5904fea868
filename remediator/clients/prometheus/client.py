"""The PromQL client: queries through prometheus-api-client. A failed query is a named outcome, not an exception."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from prometheus_api_client import PrometheusConnect

from remediator.clients.http_options import HttpClient
from remediator.clients.prometheus.answer import Answer, QueryFailure, QueryResult, Range, RangeSeries, Series
from remediator.clients.prometheus.session import Session
from remediator.metrics import Metrics
from remediator.model.health import QueryStatus

__all__ = ["Answer", "Prometheus", "Range", "RangeSeries", "Series"]

A = TypeVar("A", Answer, Range)
_PASSED_OVER = (QueryStatus.UNREACHABLE, QueryStatus.TIMEOUT, QueryStatus.BAD_ANSWER)
"""The outcomes after which another member of a replicated pair may still answer."""

THREADS = 8
"""How many queries of `Prometheus.query` run in parallel."""


class Prometheus:
    """One Prometheus server, or a replicated pair of them with `urls`, which are asked in turn.

    Connections are kept. `query_timeout` is the limit of a whole query to one server, in seconds.
    """

    def __init__(
        self,
        client: HttpClient,
        *,
        query_timeout: float,
        metrics: Metrics,
        now: Callable[[], float] = time.time,
        method: str = "",
        urls: Sequence[str] = (),
    ) -> None:
        self._timeout = query_timeout
        self._now = now
        self._results = {query_status: metrics.queries.labels(query_status.value) for query_status in QueryStatus}
        self._duration = metrics.query_duration
        members = [msgspec.structs.replace(client, url=url.rstrip("/")) for url in urls or (client.url,)]
        self._members = [
            PrometheusConnect(member.url, session=Session(member, query_timeout, 2 * THREADS, method), method="POST")
            for member in members
        ]
        self._asked_first = 0
        """The member that answered last."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="promql")

    async def query(self, expr: str) -> Answer:
        """Evaluate an expression now."""
        at = self._now()
        loop = asyncio.get_running_loop()
        # The session has its own deadline. This one is for slow name resolution and for waiting for a thread.
        limit = self._timeout * len(self._members) + 0.5
        try:
            async with asyncio.timeout(limit):
                return await loop.run_in_executor(self._threads, self.query_blocking, expr)
        except TimeoutError:
            self._count(QueryStatus.TIMEOUT, limit)
            return Answer(at, QueryStatus.TIMEOUT, error=f"Prometheus was not asked within {limit:g}s")

    def query_blocking(self, expr: str) -> Answer:
        """Evaluate an expression now. Blocks; for worker threads."""
        at, started = self._now(), time.perf_counter()

        def ask(member: PrometheusConnect) -> Answer:
            try:
                result: QueryResult = member.custom_query(expr, self._params())
            except QueryFailure as unseen:
                return Answer(at, unseen.query_status, error=unseen.text)
            return Answer(at, QueryStatus.SEEN, result.series, "", result.warnings, result.remarks, result.kind)

        answer = self._in_turn(ask)
        self._count(_counted(answer), time.perf_counter() - started)
        return answer

    def query_range_blocking(self, expr: str, start: int, end: int, step: int) -> Range:
        """Evaluate an expression at `start`, `start` + `step`, … up to `end`, in seconds. Blocks; for worker threads."""
        started, first, last = time.perf_counter(), *(datetime.fromtimestamp(at, UTC) for at in (start, end))

        def ask(member: PrometheusConnect) -> Range:
            try:
                result: QueryResult = member.custom_query_range(expr, first, last, str(step), self._params())
            except QueryFailure as unseen:
                return Range(unseen.query_status, error=unseen.text)
            return Range(QueryStatus.SEEN, result.series, "", result.warnings, result.remarks)

        answer = self._in_turn(ask)
        self._count(_counted(answer), time.perf_counter() - started)
        return answer

    def remembers_blocking(self, start: int, end: int) -> bool | None:
        """Whether Prometheus has series between `start` and `end`, in seconds. None when that is unknown.

        Series just outside, in the same block of its storage, may count. Blocks; for worker threads.
        """
        started = time.perf_counter()

        def ask(member: PrometheusConnect) -> Range:
            try:
                # The session returns its whole decoded answer in place of the field `result`.
                result: QueryResult = member.get_label_names({"start": start, "end": end})["result"]
            except QueryFailure as unseen:
                return Range(unseen.query_status, error=unseen.text)
            return Range(QueryStatus.SEEN, result.series, "", result.warnings)

        answer = self._in_turn(ask)
        self._count(answer.query_status, time.perf_counter() - started)
        if answer.query_status is not QueryStatus.SEEN or (answer.warnings and not answer.lines):
            return None
        return bool(answer.lines)

    async def close(self) -> None:
        """Wait for running queries and close the connections."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        for member in self._members:
            member.close()

    def _in_turn(self, ask: Callable[[PrometheusConnect], A]) -> A:
        """The first whole answer of the members, beginning with the one that answered last; otherwise the first partial
        one, otherwise the first failure."""
        count, first = len(self._members), self._asked_first
        answers: list[A] = []
        for index in ((first + offset) % count for offset in range(count)):
            answer = ask(self._members[index])
            if answer.query_status not in _PASSED_OVER and not answer.warnings:
                self._asked_first = index
                return answer
            answers.append(answer)
        return next((answer for answer in answers if answer.warnings), answers[0])

    def _params(self) -> dict[str, str]:
        # Shorter than our own limit, so that Prometheus gives up first and says why.
        return {"timeout": f"{max(1, round(self._timeout * 900))}ms"}

    def _count(self, query_status: QueryStatus, seconds: float) -> None:
        self._results[query_status].inc()
        self._duration.observe(seconds)


def _counted(answer: Answer | Range) -> QueryStatus:
    """The status under which an answer is counted: one that may be incomplete is partial."""
    return QueryStatus.PARTIAL if answer.warnings else answer.query_status

"""The PromQL client: queries through prometheus-api-client. A failed query is a named outcome, not an exception."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from prometheus_api_client import PrometheusConnect

from remediator.clients.http_options import HttpClient
from remediator.clients.prometheus.answer import Answer, QueryFailure, QueryResult, Range, RangeSeries, Series
from remediator.clients.prometheus.session import Session
from remediator.metrics import Metrics
from remediator.model.health import QueryStatus

__all__ = ["Answer", "Prometheus", "Range", "RangeSeries", "Series"]

THREADS = 8
"""How many queries of `Prometheus.query` run in parallel."""


class Prometheus:
    """One Prometheus server, with kept connections. `query_timeout` is the limit of a whole query, in seconds."""

    def __init__(
        self,
        client: HttpClient,
        *,
        query_timeout: float,
        metrics: Metrics,
        now: Callable[[], float] = time.time,
        method: str = "",
    ) -> None:
        self._timeout = query_timeout
        self._now = now
        self._results = {sight: metrics.queries.labels(sight.value) for sight in QueryStatus}
        self._duration = metrics.query_duration
        self._session = Session(client, query_timeout, 2 * THREADS, method)
        self._connect = PrometheusConnect(client.url.rstrip("/"), session=self._session, method="POST")
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="promql")

    async def query(self, expr: str) -> Answer:
        """Evaluate an expression now."""
        at = self._now()
        loop = asyncio.get_running_loop()
        # The session has its own deadline. This one is for slow name resolution and for waiting for a thread.
        limit = self._timeout + 0.5
        try:
            async with asyncio.timeout(limit):
                return await loop.run_in_executor(self._threads, self.query_blocking, expr)
        except TimeoutError:
            self._count(QueryStatus.TIMEOUT, limit)
            return Answer(at, QueryStatus.TIMEOUT, error=f"Prometheus was not asked within {limit:g}s")

    def query_blocking(self, expr: str) -> Answer:
        """Evaluate an expression now. Blocks; for worker threads."""
        at, started = self._now(), time.perf_counter()
        try:
            result: QueryResult = self._connect.custom_query(expr, self._params())
            answer = Answer(at, QueryStatus.SEEN, result.series, "", result.warnings, result.remarks, result.kind)
        except QueryFailure as unseen:
            answer = Answer(at, unseen.sight, error=unseen.text)
        self._count(_counted(answer), time.perf_counter() - started)
        return answer

    def query_range_blocking(self, expr: str, start: int, end: int, step: int) -> Range:
        """Evaluate an expression at `start`, `start` + `step`, … up to `end`, in seconds. Blocks; for worker threads."""
        started, first, last = time.perf_counter(), *(datetime.fromtimestamp(at, UTC) for at in (start, end))
        try:
            result: QueryResult = self._connect.custom_query_range(expr, first, last, str(step), self._params())
            answer = Range(QueryStatus.SEEN, result.series, "", result.warnings, result.remarks)
        except QueryFailure as unseen:
            answer = Range(unseen.sight, error=unseen.text)
        self._count(_counted(answer), time.perf_counter() - started)
        return answer

    def remembers_blocking(self, start: int, end: int) -> bool | None:
        """Whether Prometheus has series between `start` and `end`, in seconds. None when that is unknown.

        Series just outside, in the same block of its storage, may count. Blocks; for worker threads.
        """
        started = time.perf_counter()
        try:
            # The session returns its decoded result in the shape of a response to a query.
            result: QueryResult = self._connect.get_label_names({"start": start, "end": end})["result"]
            sight = QueryStatus.SEEN
        except QueryFailure as unseen:
            result, sight = QueryResult("", [], (), ()), unseen.sight
        self._count(sight, time.perf_counter() - started)
        if sight is not QueryStatus.SEEN or (result.warnings and not result.series):
            return None
        return bool(result.series)

    async def close(self) -> None:
        """Wait for running queries and close the connections."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._connect.close()

    def _params(self) -> dict[str, str]:
        # Shorter than our own limit, so that Prometheus gives up first and says why.
        return {"timeout": f"{max(1, round(self._timeout * 900))}ms"}

    def _count(self, sight: QueryStatus, seconds: float) -> None:
        self._results[sight].inc()
        self._duration.observe(seconds)


def _counted(answer: Answer | Range) -> QueryStatus:
    """The status under which an answer is counted: one that may be incomplete is partial."""
    return QueryStatus.PARTIAL if answer.warnings else answer.sight

"""One contract for whatever answers as Prometheus does: real Prometheus, real VictoriaMetrics, recorded Thanos and Mimir."""

import asyncio
import contextlib
import json
import time
from urllib.parse import urlsplit

import pytest
from doubles.scripted import Scripted
from real.prometheus import Exposition, RealPrometheus, in_thread, until
from real.victoriametrics import RealVictoriaMetrics

from remediator.clients.http_options import HttpClient
from remediator.clients.prometheus.client import Prometheus
from remediator.metrics import Metrics
from remediator.model.health import QueryStatus

EXPOSITION = 'errors{service="checkout"} 0.25\nerrors{service="search"} 3\n'
BROKEN = "sum by (service (errors)"


def recorded(script):
    """A server that answers `script[expression]`: a body, or a status and a body."""

    def answer(request):
        if urlsplit(request.path).path.endswith("/labels"):
            request.answer({"status": "success", "data": ["__name__", "service"]})
            return
        if request.path.endswith("query_range"):
            request.answer(script["range"])
            return
        given = script[request.form["query"]]
        status, body = given if isinstance(given, tuple) else (200, given)
        request.answer(body, status)

    return Scripted(answer)


def vector(*series, **beside):
    result = [{"metric": {"__name__": "errors", "service": name}, "value": [1.5, value]} for name, value in series]
    return {"status": "success", "data": {"resultType": "vector", "result": result, **beside.pop("data", {})}, **beside}


RANGE = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [
            {"metric": {"__name__": "errors", "service": "checkout"}, "values": [[0, "0.25"]]},
            {"metric": {"__name__": "errors", "service": "search"}, "values": [[0, "3"]]},
        ],
    },
}
# As Thanos Query answers: its `analysis` beside the data, and warnings of stores and of the engine in one list.
THANOS = {
    "errors": vector(
        ("checkout", "0.25"), ("search", "3"), data={"analysis": {"name": "[noop]", "executionTime": "0s"}}
    ),
    "no_such_metric": vector(),
    "1 + 1": {"status": "success", "data": {"resultType": "scalar", "result": [1.5, "2"]}},
    BROKEN: (400, {"status": "error", "errorType": "bad_data", "error": "1:17: parse error: unexpected"}),
    "range": RANGE,
    "away": vector(
        ("checkout", "0.25"),
        warnings=["receive series from Addr: store:10901 LabelSets: {}: rpc error: code = Unavailable"],
    ),
    "remarked": vector(("checkout", "0.25"), warnings=['PromQL info: metric might not be a counter: "errors" (1:6)']),
}
# As Mimir answers: infos apart from warnings, errors with types of its own.
MIMIR = {
    "errors": vector(("checkout", "0.25"), ("search", "3")),
    "no_such_metric": vector(),
    "1 + 1": {"status": "success", "data": {"resultType": "scalar", "result": [1.5, "2"]}},
    BROKEN: (
        400,
        {"status": "error", "errorType": "bad_data", "error": 'invalid parameter "query": 1:17: parse error'},
    ),
    "range": RANGE,
    "away": vector(("checkout", "0.25"), warnings=["query result may contain partial data"], infos=[]),
    "remarked": vector(("checkout", "0.25"), infos=['PromQL info: metric might not be a counter: "errors" (1:6)']),
    "limited": (
        422,
        {"status": "error", "errorType": "execution", "error": "the query exceeded the maximum number of chunks"},
    ),
    "busy": (429, {"status": "error", "errorType": "too_many_requests", "error": "the request has been rate limited"}),
    "large": (
        413,
        {"status": "error", "errorType": "too_large_entry", "error": "trying to send message larger than max"},
    ),
    "stranger": (401, "no org id"),
}


@contextlib.asynccontextmanager
async def prometheus(folder):
    with Exposition(EXPOSITION) as exposition:
        async with RealPrometheus(folder, targets=[exposition.address]) as server:
            await until(in_thread(lambda: server.query("errors")))
            yield server.url


@contextlib.asynccontextmanager
async def victoriametrics(folder):
    async with RealVictoriaMetrics(folder) as server:
        await asyncio.to_thread(server.load, EXPOSITION)
        yield server.url


@contextlib.asynccontextmanager
async def thanos(folder):
    with recorded(THANOS) as server:
        yield server.url


@contextlib.asynccontextmanager
async def mimir(folder):
    with recorded(MIMIR) as server:
        yield server.url


@contextlib.asynccontextmanager
async def client_of(url):
    client = Prometheus(HttpClient(url), query_timeout=10.0, metrics=Metrics())
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("server", [prometheus, victoriametrics, thanos, mimir])
async def test_the_contract(server, tmp_path):
    async with server(tmp_path) as url, client_of(url) as client:

        async def both():
            return len((await client.query("errors")).series) == 2

        await until(both, within=30)
        answer = await client.query("errors")
        assert (answer.query_status, answer.kind, answer.warnings, answer.remarks) == (
            QueryStatus.SEEN,
            "vector",
            (),
            (),
        )
        assert {series.labels["service"]: series.value for series in answer.series} == {"checkout": 0.25, "search": 3.0}

        empty = await client.query("no_such_metric")
        assert (empty.query_status, empty.series, empty.condition()) == (QueryStatus.SEEN, [], None)

        two = await client.query("1 + 1")
        # VictoriaMetrics makes a vector of a number; both are true.
        assert (two.query_status, two.kind in ("scalar", "vector"), two.condition()) == (QueryStatus.SEEN, True, True)
        assert [series.value for series in two.series] == [2.0]

        broken = await client.query(BROKEN)
        assert broken.query_status in (QueryStatus.BAD_DATA, QueryStatus.EXECUTION)
        assert (broken.series, broken.condition()) == ([], None)
        assert broken.error.startswith("Prometheus says ")

        now = int(time.time()) // 15 * 15
        found = await asyncio.to_thread(client.query_range_blocking, "errors", now - 60, now + 60, 15)
        assert (found.query_status, found.warnings) == (QueryStatus.SEEN, ())
        assert {line.labels["service"]: line.points[-1][1] for line in found.lines} == {"checkout": 0.25, "search": 3.0}
        assert await asyncio.to_thread(client.remembers_blocking, now - 3600, now + 60) is True


@pytest.mark.parametrize("server", [thanos, mimir])
async def test_partial_answers_and_remarks(server, tmp_path):
    async with server(tmp_path) as url, client_of(url) as client:
        away = await client.query("away")
        assert (len(away.warnings), away.remarks, away.condition()) == (1, (), None)
        remarked = await client.query("remarked")
        assert (remarked.warnings, len(remarked.remarks), remarked.condition()) == ((), 1, True)


@pytest.mark.parametrize(
    ("expr", "query_status", "words"),
    [
        ("limited", QueryStatus.EXECUTION, "maximum number of chunks"),
        ("busy", QueryStatus.UNREACHABLE, "rate limited"),
        ("large", QueryStatus.BAD_ANSWER, "larger than max"),
        ("stranger", QueryStatus.BAD_ANSWER, "no org id"),
    ],
)
async def test_what_mimir_refuses_is_told_in_its_words(expr, query_status, words, tmp_path):
    async with mimir(tmp_path) as url, client_of(url) as client:
        answer = await client.query(expr)
    assert (answer.query_status, answer.series) == (query_status, [])
    assert words in answer.error


async def test_a_cluster_of_victoriametrics_that_lacks_a_storage_is_partial():
    body = {
        "status": "success",
        "isPartial": True,
        "data": {"resultType": "vector", "result": [{"metric": {"service": "checkout"}, "value": [1.5, "0.25"]}]},
        "stats": {"seriesFetched": "1", "executionTimeMsec": 2},
    }
    with Scripted(lambda request: request.answer(json.dumps(body))) as server:
        async with client_of(server.url) as client:
            answer = await client.query("errors")
    assert (answer.warnings, answer.condition()) == (("the server says that its answer is partial (isPartial)",), None)

"""The PromQL client against servers that answer as they like, over real sockets: every failure has its name."""

import asyncio
import base64
import contextlib
import json
import math
import socket
import time
from pathlib import Path

import pytest
from doubles.scripted import Authority, Scripted
from real.prometheus import HANGS

from remediator.clients.http_options import Authorization, BasicAuth, HttpClient, Secret, TlsConfig
from remediator.clients.prometheus import answer as answers
from remediator.clients.prometheus import session
from remediator.clients.prometheus.client import Answer, Prometheus, Series
from remediator.metrics import Metrics
from remediator.model.health import QueryStatus

PAYLOADS = Path(__file__).parents[2] / "payloads" / "promql-api"
VECTOR = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {"service": "checkout"}, "value": [1.5, "0.2"]}]},
}


@contextlib.asynccontextmanager
async def client_of(url, *, timeout=HANGS, metrics=None, **settings):
    client = Prometheus(HttpClient(url, **settings), query_timeout=timeout, metrics=metrics or Metrics())
    try:
        yield client
    finally:
        await client.close()


async def ask(script, expr="up", *, timeout=HANGS, tls=None, **settings):
    """One query to a server that answers by this script."""
    with Scripted(script, tls) as server:
        async with client_of(server.url, timeout=timeout, **settings) as client:
            return await client.query(expr)


@pytest.mark.parametrize("release", ["bookworm", "sid"])
@pytest.mark.parametrize(
    ("name", "status", "query_status", "kind", "count"),
    [
        ("vector", 200, QueryStatus.SEEN, "vector", 1),
        ("bool", 200, QueryStatus.SEEN, "vector", 4),
        ("empty", 200, QueryStatus.SEEN, "vector", 0),
        ("nan_inf", 200, QueryStatus.SEEN, "vector", 2),
        ("scalar", 200, QueryStatus.SEEN, "scalar", 1),
        ("string", 200, QueryStatus.BAD_ANSWER, "", 0),
        ("matrix", 200, QueryStatus.BAD_ANSWER, "", 0),
        ("range", 200, QueryStatus.BAD_ANSWER, "", 0),
        ("alerts", 200, QueryStatus.BAD_ANSWER, "", 0),
        ("noquery", 400, QueryStatus.BAD_DATA, "", 0),
        ("parse_error", 400, QueryStatus.BAD_DATA, "", 0),
        ("range_toomany", 400, QueryStatus.BAD_DATA, "", 0),
        ("exec_error", 422, QueryStatus.EXECUTION, "", 0),
    ],
)
async def test_recorded_answers(release, name, status, query_status, kind, count):
    body = (PAYLOADS / release / f"{name}.json").read_bytes()
    answer = await ask(lambda request: request.answer(body, status))
    assert (answer.query_status, answer.kind, len(answer.series)) == (query_status, kind, count)
    assert bool(answer.error) == (query_status is not QueryStatus.SEEN)


# What servers say beside the data: first what may be missing, then what the engine remarks about the expression.
PARTIAL = "the server says that its answer is partial (isPartial)"
STORE_AWAY = (
    "failed to receive any data in 30s from Addr: store:10901 LabelSets: {} Mint: 1 Maxt: 2: context deadline exceeded"
)
NO_STORE = "No StoreAPIs matched for this query"
MIMIR_PARTIAL = "query result may contain partial data"
RATE_INFO = 'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "err" (1:6)'
BUCKET_WARNING = (
    'PromQL warning: bucket label "le" is missing or has a malformed value of "" for metric name "up" (1:25)'
)


@pytest.mark.parametrize(
    ("beside", "warnings", "remarks"),
    [
        ({}, (), ()),
        ({"warnings": None, "infos": None, "isPartial": None}, (), ()),
        ({"isPartial": False, "stats": {"seriesFetched": "2"}}, (), ()),
        ({"isPartial": True}, (PARTIAL,), ()),
        ({"partial": True}, (PARTIAL,), ()),
        ({"warnings": [STORE_AWAY]}, (STORE_AWAY,), ()),
        ({"warnings": [NO_STORE]}, (NO_STORE,), ()),
        ({"warnings": [MIMIR_PARTIAL], "infos": [RATE_INFO]}, (MIMIR_PARTIAL,), (RATE_INFO,)),
        ({"warnings": [BUCKET_WARNING]}, (), (BUCKET_WARNING,)),
        # Releases before 2.54 had infos among the warnings.
        ({"warnings": [RATE_INFO, BUCKET_WARNING]}, (), (RATE_INFO, BUCKET_WARNING)),
        ({"warnings": [BUCKET_WARNING, STORE_AWAY], "isPartial": True}, (STORE_AWAY, PARTIAL), (BUCKET_WARNING,)),
        # Nobody knows what the omitted ones are about.
        (
            {"warnings": [BUCKET_WARNING, "3 more warning annotations omitted"]},
            ("3 more warning annotations omitted",),
            (BUCKET_WARNING,),
        ),
        ({"infos": [RATE_INFO, "3 more info annotations omitted"]}, (), (RATE_INFO, "3 more info annotations omitted")),
        ({"warnings": [f"remote read: {BUCKET_WARNING}"]}, (f"remote read: {BUCKET_WARNING}",), ()),
    ],
)
@pytest.mark.parametrize("ranged", [False, True])
async def test_missing_data_is_told_from_remarks_about_the_expression(beside, warnings, remarks, ranged):
    metrics = Metrics()
    matrix = {"resultType": "matrix", "result": [{"metric": {"service": "checkout"}, "values": [[1.5, "0.2"]]}]}
    body = {**VECTOR, **({"data": matrix} if ranged else {}), **beside}
    with Scripted(lambda request: request.answer(body)) as server:
        async with client_of(server.url, metrics=metrics) as client:
            if ranged:
                answer = await asyncio.to_thread(client.query_range_blocking, "up", 0, 60, 15)
            else:
                answer = await client.query("up")
                assert answer.condition() is (None if warnings else True)
    assert (answer.query_status, answer.warnings, answer.remarks) == (QueryStatus.SEEN, warnings, remarks)
    counted = "partial" if warnings else "seen"
    assert metrics.registry.get_sample_value("remediator_queries_total", {"result": counted}) == 1


async def test_missing_data_that_is_said_in_the_data_or_in_a_header():
    inside = {"status": "success", "data": {**VECTOR["data"], "isPartial": True}}
    assert (await ask(lambda request: request.answer(inside))).warnings == (PARTIAL,)

    def limited(request):
        content = json.dumps(VECTOR).encode()
        request.head(200, "application/json", length=len(content), M3_Results_Limited="max_fetch_series_limit_applied")
        request.write(content)

    (warning,) = (await ask(limited)).warnings
    assert warning == "the server says that its answer is limited: max_fetch_series_limit_applied"


async def test_an_empty_guard_that_the_engine_warns_about_is_not_false():
    empty = {"status": "success", "data": {"resultType": "vector", "result": []}}
    assert (await ask(lambda request: request.answer({**empty, "warnings": [BUCKET_WARNING]}))).condition(
        empty=False
    ) is None
    assert (await ask(lambda request: request.answer({**empty, "infos": [RATE_INFO]}))).condition(empty=False) is False


@pytest.mark.parametrize(
    ("status", "error_type", "query_status"),
    [
        (422, "422", QueryStatus.EXECUTION),
        (422, 422, QueryStatus.EXECUTION),
        (400, "400", QueryStatus.BAD_DATA),
        (429, "429", QueryStatus.UNREACHABLE),
        (503, "503", QueryStatus.UNREACHABLE),
        (500, 500, QueryStatus.EXECUTION),
        (429, "too_many_requests", QueryStatus.UNREACHABLE),
        (413, "too_large_entry", QueryStatus.BAD_ANSWER),
        (404, "not_found", QueryStatus.BAD_ANSWER),
        (406, "not_acceptable", QueryStatus.BAD_ANSWER),
        (503, "new", QueryStatus.UNREACHABLE),
        (418, "418", QueryStatus.BAD_ANSWER),
        (200, "200", QueryStatus.BAD_ANSWER),
    ],
)
async def test_errors_of_compatible_servers_are_told_in_their_words(status, error_type, query_status):
    body = {"status": "error", "errorType": error_type, "error": "cannot reach vmstorage-2"}
    answer = await ask(lambda request: request.answer(body, status))
    assert (answer.query_status, answer.series, answer.condition()) == (query_status, [], None)
    assert f"says {error_type}: cannot reach vmstorage-2" in answer.error


async def test_a_native_histogram_is_a_series_without_a_number():
    histogram = {"count": "1", "sum": "1", "buckets": [[0, "1", "2", "1"]]}
    result = [
        {"metric": {"service": "shop"}, "value": [1.5, "9"]},
        {"metric": {"service": "cart"}, "histogram": [1.5, histogram]},
    ]
    answer = await ask(
        lambda request: request.answer({"status": "success", "data": {"resultType": "vector", "result": result}})
    )
    assert answer.series[0] == Series({"service": "shop"}, 9.0)
    assert (answer.series[1].histogram, math.isnan(answer.series[1].value)) == (True, True)


async def test_native_histograms_over_time_are_points_without_a_number():
    histogram = {"count": "1", "sum": "1", "buckets": []}
    result = [
        {
            "metric": {"service": "shop"},
            "values": [[15, "9"], [30, "8"]],
            "histograms": [[0, histogram], [45, histogram]],
        },
        {"metric": {"service": "cart"}, "histograms": [[0, histogram]]},
    ]
    body = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    with Scripted(lambda request: request.answer(body)) as server:
        async with client_of(server.url) as client:
            answer = await asyncio.to_thread(client.query_range_blocking, "err", 0, 45, 15)
    shop, cart = answer.lines
    assert [at for at, _ in shop.points] == [0, 15, 30, 45]
    assert [value for _, value in shop.points[1:3]] == [9.0, 8.0]
    assert all(math.isnan(value) for _, value in (shop.points[0], shop.points[3], *cart.points))


@pytest.mark.parametrize("text", ["1_0", " 1", "1 ", "0x10", "infinity", "nan", "inf", "١", "", "1e", "--1", "1,5"])
@pytest.mark.parametrize("kind", ["vector", "scalar"])
async def test_values_are_read_strictly(text, kind):
    result = [{"metric": {}, "value": [1.5, text]}] if kind == "vector" else [1.5, text]
    answer = await ask(
        lambda request: request.answer({"status": "success", "data": {"resultType": kind, "result": result}})
    )
    assert (answer.query_status, answer.series) == (QueryStatus.BAD_ANSWER, [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("-0.5", -0.5),
        ("1e-05", 1e-05),
        ("1E+06", 1e6),
        ("+Inf", math.inf),
        ("-Inf", -math.inf),
        ("Inf", math.inf),
    ],
)
async def test_values_in_every_notation_of_prometheus(text, value):
    body = {"status": "success", "data": {"resultType": "scalar", "result": [1.5, text]}}
    assert (await ask(lambda request: request.answer(body))).series == [Series({}, value)]


async def test_recorded_remarks_of_a_new_release_do_not_blind():
    found = {}
    for path in sorted((PAYLOADS / "sid").glob("*.json")):
        answer = await ask(lambda request, path=path: request.answer(path.read_bytes()))
        assert answer.warnings == ()
        found[path.stem] = len(answer.remarks)
    raw = {
        path.stem: (b'"warnings":[' in path.read_bytes()) + (b'"infos":[' in path.read_bytes())
        for path in sorted((PAYLOADS / "sid").glob("*.json"))
    }
    assert any(raw.values())
    assert found == raw


@pytest.mark.parametrize(
    ("script", "query_status", "words"),
    [
        (lambda r: r.answer("<html>Sign in</html>", content_type="text/html"), QueryStatus.BAD_ANSWER, "Sign in"),
        (lambda r: r.answer(""), QueryStatus.BAD_ANSWER, "no content"),
        (lambda r: r.answer("null"), QueryStatus.BAD_ANSWER, "null"),
        (lambda r: r.answer("[" * 100_000), QueryStatus.BAD_ANSWER, "query API"),
        (lambda r: r.answer(b"\xff\xfe\x00"), QueryStatus.BAD_ANSWER, "query API"),
        (lambda r: r.answer({"status": "success"}), QueryStatus.BAD_ANSWER, "query API"),
        (lambda r: r.answer({"status": "success", "data": {"result": []}}), QueryStatus.BAD_ANSWER, "query API"),
        (
            lambda r: r.answer({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}}),
            QueryStatus.BAD_ANSWER,
            "query API",
        ),
        (
            lambda r: r.answer(
                {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "x"]}]}}
            ),
            QueryStatus.BAD_ANSWER,
            "query API",
        ),
        (
            lambda r: r.answer({"status": "error", "errorType": "new", "error": "?"}, 500),
            QueryStatus.BAD_ANSWER,
            "HTTP 500",
        ),
        (
            lambda r: r.answer({"status": "error", "errorType": "bad_data", "error": "1:1: parse error"}),
            QueryStatus.BAD_DATA,
            "1:1: parse error",
        ),
        (
            lambda r: r.answer({"status": "error", "errorType": "execution", "error": "dup"}, 422),
            QueryStatus.EXECUTION,
            "dup",
        ),
        (
            lambda r: r.answer({"status": "error", "errorType": "timeout", "error": "query timed out"}, 503),
            QueryStatus.TIMEOUT,
            "query timed out",
        ),
        (
            lambda r: r.answer({"status": "error", "errorType": "internal", "error": "disk"}, 500),
            QueryStatus.EXECUTION,
            "disk",
        ),
        (lambda r: r.answer("Service Unavailable", 503, "text/plain"), QueryStatus.UNREACHABLE, "Service Unavailable"),
        (lambda r: r.answer("Bad Gateway", 502, "text/plain"), QueryStatus.UNREACHABLE, "Bad Gateway"),
        (lambda r: r.answer("Unauthorized", 401, "text/plain"), QueryStatus.BAD_ANSWER, "credentials"),
        (lambda r: r.answer("404 page not found", 404, "text/plain"), QueryStatus.BAD_ANSWER, "404 page not found"),
        (lambda r: r.head(302, "text/html", length=0, Location="https://sso/"), QueryStatus.BAD_ANSWER, "https://sso/"),
        (lambda r: r.connection.shutdown(socket.SHUT_RDWR), QueryStatus.UNREACHABLE, "cannot reach"),
        (lambda r: r.write(b"nonsense\r\n\r\n"), QueryStatus.UNREACHABLE, "cannot reach"),
    ],
)
async def test_what_is_no_answer_has_a_name_and_a_sentence(script, query_status, words):
    answer = await ask(script)
    assert answer.query_status is query_status
    assert words in answer.error
    assert answer.series == []
    assert answer.condition() is None


async def test_a_body_that_breaks_off_is_unreachable():
    def script(request):
        request.head(200, "application/json", length=1000)
        request.write(b'{"status":"succ')
        request.close_connection = True

    assert (await ask(script)).query_status is QueryStatus.UNREACHABLE


async def test_nothing_listens():
    with Scripted(lambda request: None) as server:
        url = server.url
    async with client_of(url) as client:
        answer = await client.query("up")
    assert answer.query_status is QueryStatus.UNREACHABLE
    assert "refused" in answer.error


async def test_a_host_name_that_does_not_exist():
    async with client_of("http://prometheus.invalid:9090") as client:
        assert (await client.query("up")).query_status is QueryStatus.UNREACHABLE


def drip_body(request):
    request.head(200, "application/json", length=10_000)
    while True:
        request.write(b" ")
        request.pause(0.02)


def drip_chunks(request):
    request.head(200, "application/json", length=None, Transfer_Encoding="chunked")
    while True:
        request.write(b"1\r\n \r\n")
        request.pause(0.02)


def drip_head(request):
    request.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        request.write(b"x")
        request.pause(0.02)


def say_nothing(request):
    request.pause(60)


@pytest.mark.parametrize("script", [drip_body, drip_chunks, drip_head, say_nothing])
async def test_the_deadline_holds_for_the_whole_exchange(script):
    answer = await ask(script, timeout=0.3)
    assert answer.query_status is QueryStatus.TIMEOUT
    assert "within 0.3s" in answer.error


async def test_a_dripping_server_with_tls_is_left_at_the_deadline_too(tmp_path):
    authority = Authority(tmp_path)
    context = authority.server_context("IP:127.0.0.1")
    tls_config = TlsConfig(ca_file=str(authority.ca))
    answer = await ask(drip_body, timeout=0.5, tls=context, tls_config=tls_config)
    assert answer.query_status is QueryStatus.TIMEOUT


async def test_an_answer_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(session, "MAX_BYTES", 1 << 20)

    def script(request):
        request.head(200, "application/json")
        while True:
            request.write(b" " * 65536)

    answer = await ask(script)
    assert answer.query_status is QueryStatus.BAD_ANSWER
    assert "aggregate" in answer.error


@pytest.mark.parametrize(
    ("limit", "ranged", "words"),
    [
        ("MOST_SERIES", False, "more than 99 series"),
        ("MOST_TEXTS", False, "more than 99 labels and values"),
        ("MOST_POINTS", True, "more than 99 points"),
    ],
)
async def test_an_answer_of_too_many_small_parts_is_refused_before_it_is_decoded(monkeypatch, limit, ranged, words):
    """Small parts take more than ten times their size in memory."""
    monkeypatch.setattr(answers, limit, 99)
    vector = [{"metric": {"a": str(number)}, "value": [1, "1"]} for number in range(100)]
    matrix = [{"metric": {}, "values": [[number, "1"] for number in range(100)]}]
    data = {"resultType": "matrix", "result": matrix} if ranged else {"resultType": "vector", "result": vector}
    metrics = Metrics()
    with Scripted(lambda request: request.answer({"status": "success", "data": data})) as server:
        async with client_of(server.url, metrics=metrics) as client:
            if ranged:
                answer = await asyncio.to_thread(client.query_range_blocking, "up", 0, 99, 1)
            else:
                answer = await client.query("up")
    assert answer.query_status is QueryStatus.BAD_ANSWER
    assert words in answer.error
    assert "aggregate" in answer.error
    assert metrics.registry.get_sample_value("remediator_queries_total", {"result": "bad_answer"}) == 1


async def test_a_compressed_bomb_is_refused(monkeypatch):
    import gzip

    monkeypatch.setattr(session, "MAX_BYTES", 1 << 20)
    bomb = gzip.compress(b" " * (64 << 20))

    def script(request):
        request.head(200, "application/json", length=len(bomb), Content_Encoding="gzip")
        request.write(bomb)

    assert (await ask(script)).query_status is QueryStatus.BAD_ANSWER


async def test_a_long_query_goes_in_the_body():
    expr = 'up{service=~"' + "|".join(f"service-{number}" for number in range(20_000)) + '"}'
    with Scripted(lambda request: request.answer(VECTOR)) as server:
        async with client_of(server.url, timeout=5.0) as client:
            answer = await client.query(expr)
        request = server.requests[0]
    assert answer.series == [Series({"service": "checkout"}, 0.2)]
    assert (request.command, request.path) == ("POST", "/api/v1/query")
    assert request.form["query"] == expr
    assert request.form["timeout"] == "4500ms"


def only_get(status, words):
    def script(request):
        if request.command == "POST":
            request.answer(words, status, "text/plain")
        else:
            request.answer(VECTOR)

    return script


@pytest.mark.parametrize("status", [403, 404, 405, 501])
async def test_a_server_that_refuses_post_is_asked_by_get(status):
    with Scripted(only_get(status, "read only")) as server:
        async with client_of(server.url) as client:
            for _ in range(3):
                assert (await client.query('up{a="b c"}')).series == [Series({"service": "checkout"}, 0.2)]
            await asyncio.to_thread(client.query_range_blocking, "up", 0, 60, 15)
        assert [request.command for request in server.requests] == ["POST", "GET", "GET", "GET", "GET"]
        assert "query=up%7Ba%3D%22b+c%22%7D" in server.requests[1].path


async def test_a_refusal_of_both_is_told_in_the_words_of_the_server():
    with Scripted(lambda request: request.answer('{"message": "User cannot create services/proxy"}', 403)) as server:
        async with client_of(server.url) as client:
            answer = await client.query("up")
            await client.query("up")
        assert [request.command for request in server.requests] == ["POST", "GET"] * 2
    assert answer.query_status is QueryStatus.BAD_ANSWER
    assert "(HTTP 403): " in answer.error
    assert "User cannot create services/proxy" in answer.error


async def test_an_error_of_the_query_api_is_no_refusal_of_post():
    body = {"status": "error", "errorType": "not_found", "error": "no such tenant"}
    with Scripted(lambda request: request.answer(body, 404)) as server:
        async with client_of(server.url) as client:
            assert "no such tenant" in (await client.query("up")).error
        assert [request.command for request in server.requests] == ["POST"]


async def test_an_error_by_get_shows_that_get_is_let_through():
    def script(request):
        if request.command == "POST":
            request.answer("no", 405, "text/plain")
        else:
            request.answer({"status": "error", "errorType": "bad_data", "error": "1:1: parse error"}, 400)

    answer = await ask(script)
    assert (answer.query_status, answer.error) == (QueryStatus.BAD_DATA, "Prometheus says bad_data: 1:1: parse error")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_method_that_is_given_is_the_only_one(method):
    with Scripted(only_get(405, "read only")) as server:
        client = Prometheus(HttpClient(server.url), query_timeout=5.0, metrics=Metrics(), method=method)
        answer = await client.query("up")
        await client.close()
        assert [request.command for request in server.requests] == [method]
    assert answer.query_status is (QueryStatus.SEEN if method == "GET" else QueryStatus.BAD_ANSWER)


async def test_both_requests_have_one_deadline():
    def script(request):
        if request.command == "POST":
            request.pause(0.3)
            request.answer("no", 405, "text/plain")
        else:
            request.pause(60)

    started = time.monotonic()
    answer = await ask(script, timeout=0.5)
    assert time.monotonic() - started < 5
    assert answer.query_status in (QueryStatus.BAD_ANSWER, QueryStatus.TIMEOUT)


async def test_no_request_is_repeated():
    with Scripted(lambda request: request.answer("busy", 503, "text/plain")) as server:
        async with client_of(server.url) as client:
            await client.query("up")
        assert len(server.requests) == 1


async def test_connections_are_kept_and_bounded():
    together = asyncio.Semaphore(4)

    with Scripted(lambda request: request.answer(VECTOR)) as server:
        async with client_of(server.url) as client:

            async def one():
                async with together:
                    assert (await client.query("up")).query_status is QueryStatus.SEEN

            await asyncio.gather(*(one() for _ in range(40)))
        assert server.connections <= 4


async def test_a_path_before_the_api_is_kept():
    with Scripted(lambda request: request.answer(VECTOR)) as server:
        async with client_of(f"{server.url}/prometheus/") as client:
            await client.query("up")
        assert server.requests[0].path == "/prometheus/api/v1/query"


async def test_credentials_are_read_at_each_request(tmp_path):
    token = tmp_path / "token"
    token.write_text("first\n")
    with Scripted(lambda request: request.answer(VECTOR)) as server:
        authorization = Authorization(credentials_file=str(token))
        async with client_of(server.url, authorization=authorization, headers={"X-Scope": "shop"}) as client:
            await client.query("up")
            token.write_text("second\n")
            await client.query("up")
            token.unlink()
            lost = await client.query("up")
        sent = [(r.headers["Authorization"], r.headers["X-Scope"]) for r in server.requests]
    assert sent == [("Bearer first", "shop"), ("Bearer second", "shop")]
    assert lost.query_status is QueryStatus.UNREACHABLE
    assert "credentials file" in lost.error


async def test_basic_auth_and_nothing_secret_in_sentences(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Scripted(lambda request: request.answer("no", 401, "text/plain")) as server:
        async with client_of(server.url, basic_auth=BasicAuth("ops", Secret("hunter2"))) as client:
            answer = await client.query("up")
        header = server.requests[0].headers["Authorization"]
    assert base64.b64decode(header.removeprefix("Basic ")) == b"ops:hunter2"
    assert "hunter2" not in repr(answer)


async def test_an_address_with_a_password_is_not_shown():
    with Scripted(lambda request: None) as server:
        port = server.port
    async with client_of(f"http://ops:hunter2@127.0.0.1:{port}") as client:
        answer = await client.query("up")
    assert answer.query_status is QueryStatus.UNREACHABLE
    assert "hunter2" not in answer.error


async def test_tls_trusts_the_given_authority_alone(tmp_path):
    authority = Authority(tmp_path)
    context = authority.server_context("IP:127.0.0.1")
    with Scripted(lambda request: request.answer(VECTOR), context) as server:
        async with client_of(server.url, tls_config=TlsConfig(ca_file=str(authority.ca))) as client:
            assert (await client.query("up")).query_status is QueryStatus.SEEN
            assert (await client.query("up")).query_status is QueryStatus.SEEN
            assert server.connections == 1
        async with client_of(server.url) as client:
            stranger = await client.query("up")
        async with client_of(server.url, tls_config=TlsConfig(insecure_skip_verify=True)) as client:
            assert (await client.query("up")).query_status is QueryStatus.SEEN
    assert stranger.query_status is QueryStatus.UNREACHABLE
    assert "certificate" in stranger.error


async def test_tls_knows_the_server_by_its_given_name(tmp_path):
    authority = Authority(tmp_path)
    context = authority.server_context("DNS:prometheus.test")
    asked_for = []
    context.sni_callback = lambda sock, name, ctx: asked_for.append(name)
    with Scripted(lambda request: request.answer(VECTOR), context) as server:
        named = TlsConfig(ca_file=str(authority.ca), server_name="prometheus.test")
        async with client_of(server.url, tls_config=named) as client:
            assert (await client.query("up")).query_status is QueryStatus.SEEN
        async with client_of(server.url, tls_config=TlsConfig(ca_file=str(authority.ca))) as client:
            assert (await client.query("up")).query_status is QueryStatus.UNREACHABLE
        other = TlsConfig(ca_file=str(authority.ca), server_name="elsewhere.test")
        async with client_of(server.url, tls_config=other) as client:
            assert (await client.query("up")).query_status is QueryStatus.UNREACHABLE
    assert asked_for[0] == "prometheus.test"


async def test_a_client_certificate_is_shown_and_its_files_may_be_exchanged(tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.issue("remediator", "DNS:remediator.test")
    context = authority.server_context("IP:127.0.0.1", client_certificates=True)
    mounted = tmp_path / "mounted.pem", tmp_path / "mounted.key"
    config = TlsConfig(ca_file=str(authority.ca), cert_file=str(mounted[0]), key_file=str(mounted[1]))
    with Scripted(lambda request: request.answer(VECTOR), context) as server:
        async with client_of(server.url, tls_config=TlsConfig(ca_file=str(authority.ca))) as client:
            assert (await client.query("up")).query_status is QueryStatus.UNREACHABLE
        async with client_of(server.url, tls_config=config) as client:
            missing = await client.query("up")
            mounted[0].write_bytes(cert.read_bytes())
            mounted[1].write_bytes(key.read_bytes())
            assert (await client.query("up")).query_status is QueryStatus.SEEN
    assert missing.query_status is QueryStatus.UNREACHABLE
    assert "cannot set up TLS" in missing.error


async def test_results_are_counted():
    metrics = Metrics()
    with Scripted(lambda request: request.answer(VECTOR)) as server:
        async with client_of(server.url, metrics=metrics) as client:
            await client.query("up")
            await client.query("up")
            server.script = lambda request: request.answer("no")
            await client.query("up")
    sample = metrics.registry.get_sample_value
    assert sample("remediator_queries_total", {"result": "seen"}) == 2
    assert sample("remediator_queries_total", {"result": "bad_answer"}) == 1
    assert sample("remediator_query_duration_seconds_count") == 3


async def test_the_time_of_an_answer_is_that_of_the_question():
    times = iter([100.0, 100.0, 200.0])
    with Scripted(lambda request: request.answer(VECTOR)) as server:
        client = Prometheus(HttpClient(server.url), query_timeout=5, metrics=Metrics(), now=lambda: next(times))
        answer = await client.query("up")
        await client.close()
    assert answer.at == 100.0


async def test_a_query_that_cannot_be_sent_is_bad_data():
    answer = await ask(lambda request: request.answer(VECTOR), expr="up{a='\ud800'}")
    assert answer.query_status is QueryStatus.BAD_DATA


@pytest.mark.parametrize(
    ("answer", "true"),
    [
        (Answer(0.0, QueryStatus.SEEN, [Series({}, 0.0)], kind="vector"), False),
        (Answer(0.0, QueryStatus.SEEN, [Series({}, 0.0), Series({"a": "b"}, 2.0)], kind="vector"), True),
        (Answer(0.0, QueryStatus.SEEN, [Series({}, 0.0), Series({"a": "b"}, math.nan)], kind="vector"), None),
        (Answer(0.0, QueryStatus.SEEN, [], kind="vector"), None),
        (Answer(0.0, QueryStatus.SEEN, [Series({}, 0.0)], kind="scalar"), False),
        (Answer(0.0, QueryStatus.SEEN, [Series({}, math.nan)], kind="scalar"), None),
        (Answer(0.0, QueryStatus.SEEN, [Series({}, -1.0)], kind="scalar"), True),
        (Answer(0.0, QueryStatus.TIMEOUT, error="…"), None),
        (Answer(0.0, QueryStatus.SEEN, [], warnings=("partial",), kind="vector"), None),
    ],
)
def test_an_answer_as_a_condition(answer, true):
    assert answer.condition() is true


async def test_the_event_loop_runs_on_while_large_answers_are_read():
    """Not timed: the loop has to get its turn while queries are under way, which a blocking client would not allow."""
    sample = [{"metric": {"service": f"service-{number}"}, "value": [1.5, "0.5"]} for number in range(10_000)]
    body = {"status": "success", "data": {"resultType": "vector", "result": sample}}
    turns = 0
    with Scripted(lambda request: request.answer(body)) as server:
        async with client_of(server.url) as client:
            query = asyncio.create_task(client.query("up"))
            while not query.done():
                turns += 1
                await asyncio.sleep(0)
            answer = await query
    assert len(answer.series) == 10_000
    assert turns > 100


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (lambda r: r.answer({"status": "success", "data": ["__name__"]}), True),
        (lambda r: r.answer({"status": "success", "data": []}), False),
        (lambda r: r.answer({"status": "success", "data": [], "warnings": ["a store is away"]}), None),
        (lambda r: r.answer({"status": "error", "errorType": "internal", "error": "disk"}, 500), None),
        (lambda r: r.answer("404 page not found", 404, "text/plain"), None),
        (lambda r: r.connection.shutdown(socket.SHUT_RDWR), None),
    ],
)
async def test_whether_there_is_anything_of_a_time(script, told):
    with Scripted(script) as server:
        async with client_of(server.url) as client:
            assert await asyncio.to_thread(client.remembers_blocking, 0, 3600) is told


@contextlib.asynccontextmanager
async def pair_of(*scripts, timeout=5.0):
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Scripted(script)) for script in scripts]
        urls = [server.url for server in servers]
        client = Prometheus(HttpClient(urls[0]), query_timeout=timeout, metrics=Metrics(), urls=urls)
        try:
            yield client, servers
        finally:
            await client.close()


@pytest.mark.parametrize(
    "failing",
    [
        lambda request: request.answer("busy", 503, "text/plain"),
        lambda request: request.answer("<html>", content_type="text/html"),
        lambda request: request.connection.shutdown(socket.SHUT_RDWR),
        lambda request: request.pause(60),
        lambda request: request.answer({**VECTOR, "isPartial": True}),
    ],
)
async def test_of_a_replicated_pair_one_that_fails_is_passed_over(failing):
    async with pair_of(failing, lambda request: request.answer(VECTOR), timeout=0.5) as (client, servers):
        for _ in range(3):
            answer = await client.query("up")
            assert (answer.series, answer.warnings) == ([Series({"service": "checkout"}, 0.2)], ())
        # The one that answered is asked first from then on.
        assert [len(server.requests) for server in servers] == [1, 3]


async def test_an_error_in_the_expression_is_one_at_both_servers_of_a_pair():
    body = {"status": "error", "errorType": "bad_data", "error": "1:1: parse error"}
    async with pair_of(lambda request: request.answer(body, 400), lambda request: None) as (client, servers):
        assert (await client.query("up")).query_status is QueryStatus.BAD_DATA
        assert servers[1].requests == []


async def test_a_pair_is_blind_when_both_are_gone_and_partial_when_nothing_better_is_there():
    def partial(request):
        request.answer({**VECTOR, "isPartial": True})

    def busy(request):
        request.answer("busy", 503, "text/plain")

    async with pair_of(busy, partial) as (client, servers):
        answer = await client.query("up")
        assert (answer.query_status, answer.warnings, answer.condition()) == (QueryStatus.SEEN, (PARTIAL,), None)
        servers[1].script = busy
        assert (await client.query("up")).query_status is QueryStatus.UNREACHABLE
        servers[0].script = lambda request: request.answer(VECTOR)
        assert (await client.query("up")).condition() is True

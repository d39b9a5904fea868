"""HTTP requests against a real server on loopback."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from remediator.actions.http import OUTPUT_LIMIT
from remediator.actions.runner import Runner
from remediator.model.action import Call, HttpSpec, Outcome, Result


@pytest.fixture
async def server(runner: Runner) -> TestServer:
    seen: list[str] = []

    async def echo(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(text=f"{request.method} {request.headers.get('X-Pod')} {await request.text()}")

    async def status(request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["code"]), headers={"Location": "/echo"}, text="as asked")

    async def hang(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"a" * 65536)

    app = web.Application()
    app.router.add_route("*", "/echo", echo)
    app.router.add_get("/status/{code}", status)
    app.router.add_get("/hang", hang)
    app.router.add_get("/endless", endless)
    server = TestServer(app)
    server.seen = seen  # type: ignore[attr-defined]
    await server.start_server()
    return server


@pytest.fixture(autouse=True)
async def _closed(server: TestServer):
    yield
    await server.close()


def call(server: TestServer, path: str, timeout: float = 120.0, **spec) -> Call:
    return Call(http=HttpSpec(url=str(server.make_url(path)), **spec), timeout=timeout)


async def test_a_request_is_sent_as_written(runner: Runner, server: TestServer) -> None:
    result = await runner(call(server, "/echo", headers={"X-Pod": "web-1"}, body="wörds"))
    assert result == Result(Outcome.SUCCEEDED, "answered 200 OK", None, "POST web-1 wörds")


@pytest.mark.parametrize(
    ("code", "expect", "outcome"),
    [
        (204, (), Outcome.SUCCEEDED),
        (404, (), Outcome.FAILED),
        (500, (), Outcome.FAILED),
        (404, (200, 404), Outcome.SUCCEEDED),
        (200, (202,), Outcome.FAILED),
    ],
)
async def test_the_status_decides(
    runner: Runner, server: TestServer, code: int, expect: tuple[int, ...], outcome: Outcome
) -> None:
    result = await runner(call(server, f"/status/{code}", method="GET", expect=expect))
    assert result.outcome is outcome
    assert result.text.startswith(f"answered {code} ")


async def test_a_redirect_is_not_followed(runner: Runner, server: TestServer) -> None:
    result = await runner(call(server, "/status/307", method="GET"))
    assert result == Result(Outcome.FAILED, "answered 307 Temporary Redirect", None, "as asked")
    assert server.seen == []  # type: ignore[attr-defined]


async def test_no_answer_in_time(runner: Runner, server: TestServer) -> None:
    result = await runner(call(server, "/hang", method="GET", timeout=0.3))
    assert result == Result(Outcome.TIMED_OUT, "no answer within 300ms")


async def test_an_endless_answer_is_cut(runner: Runner, server: TestServer) -> None:
    result = await runner(call(server, "/endless", method="GET"))
    assert result.outcome is Outcome.SUCCEEDED
    assert len(result.output) == OUTPUT_LIMIT


async def test_nobody_there(runner: Runner, server: TestServer) -> None:
    request = call(server, "/echo")
    await server.close()
    result = await runner(request)
    assert result.outcome is Outcome.FAILED
    assert result.text.startswith("cannot send the request: Cannot connect to host 127.0.0.1")


@pytest.mark.parametrize(
    "spec",
    [
        HttpSpec(url="file:///etc/passwd"),
        HttpSpec(url="no url"),
        HttpSpec(url="http://127.0.0.1:99999/"),
        HttpSpec(url="http://127.0.0.1:9/", method="GE T"),
        HttpSpec(url="http://127.0.0.1:9/", headers={"X-Pod": "a\r\nX-Admin: yes"}),
    ],
)
async def test_what_cannot_be_sent_fails(runner: Runner, spec: HttpSpec) -> None:
    result = await runner(Call(http=spec))
    assert result.outcome is Outcome.FAILED
    assert result.text.startswith("cannot send the request: ")

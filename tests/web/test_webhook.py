"""`POST /webhook` on a real server: what is committed, what is refused, and what a bad client gets."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from doubles.site import Site, send_raw, serving
from real.prometheus import HANGS

from remediator.web.application import RUNNER_OPTIONS
from remediator.web.request_body import ByteBudget, _Unpacker

PAYLOADS = sorted((Path(__file__).parents[1] / "payloads").glob("am-*/*.json"))


def body(count: int = 1, **others: Any) -> dict[str, Any]:
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": "Down", "service": f"service-{number}"},
            "startsAt": "2026-11-23T21:30:02Z",
            "endsAt": "0001-01-01T00:00:00Z",
        }
        for number in range(count)
    ]
    return {"version": "4", "alerts": alerts, **others}


async def test_every_recorded_payload_is_committed(site: Site) -> None:
    keys = set()
    for path in PAYLOADS:
        status, answer = await site.ask("POST", "/webhook", data=path.read_bytes())
        assert (status, answer["status"]) == (200, "success"), path
        for alert in json.loads(path.read_bytes())["alerts"]:
            keys.add((alert["fingerprint"], alert["startsAt"]))
    stored = await site.store.alerts(limit=1000)
    assert len(stored) == len(keys)
    assert site.counted("accepted") == len(PAYLOADS)
    assert site.metrics.registry.get_sample_value("remediator_truncated_alerts_total") == 10


async def test_the_answer_counts_what_the_batch_was(site: Site) -> None:
    assert (await site.ask("POST", "/webhook", json=body(3)))[1]["data"] == {"new": 3, "repeated": 0, "resolved": 0}
    assert (await site.ask("POST", "/webhook", json=body(4)))[1]["data"] == {"new": 1, "repeated": 3, "resolved": 0}


async def test_a_store_that_cannot_commit_is_503(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.store_trouble = "cannot write to remediator.db: the disk is full"
    status, answer = await site.ask("POST", "/webhook", json=body())
    assert status == 503
    assert answer == {"status": "error", "errorType": "unavailable", "error": site.store_trouble}
    assert site.counted("unavailable") == 1
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize(
    ("data", "word"),
    [(b"nonsense", "not_json"), (b"[]", "bad_shape"), (b'{"version":"9","alerts":[]}', "bad_version")],
)
async def test_what_can_never_succeed_is_counted_and_logged(
    site: Site, caplog: pytest.LogCaptureFixture, data: bytes, word: str
) -> None:
    with caplog.at_level(logging.WARNING):
        status, answer = await site.ask("POST", "/webhook", data=data)
    assert (status, answer["errorType"]) == (400, word)
    assert site.counted(word) == 1
    assert f"refused a notification from 127.0.0.1 ({word})" in caplog.text
    assert site.taken_in == []


async def test_a_body_that_is_too_large(tmp_path: Path) -> None:
    async def pieces() -> Any:
        for _ in range(40):
            yield b" " * 1000

    async with serving(tmp_path, body_limit=20_000) as site:
        for data in (b" " * 20_001, pieces()):
            status, answer = await site.ask("POST", "/webhook", data=data)
            assert (status, answer["errorType"]) == (413, "too_large")
        bomb = gzip.compress(b" " * 10_000_000)
        assert len(bomb) < 20_000
        status, _ = await site.ask("POST", "/webhook", data=bomb, headers={"Content-Encoding": "gzip"})
        assert status == 413
        status, _ = await site.ask("POST", "/webhook", json=body())
        assert status == 200


async def test_bodies_have_so_much_room_in_all_and_no_more(tmp_path: Path) -> None:
    async with serving(tmp_path, body_budget=ByteBudget(20_000)) as site:
        slow = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(2)]
        for _, writer in slow:
            writer.write(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n" + b" " * 9_000)
            await writer.drain()
        data = json.dumps(body(20)).encode()
        assert 2_000 < len(data) < 11_000

        async def refused() -> bool:
            status, answer = await site.ask("POST", "/webhook", data=data)
            if status == 503:
                assert answer["error"] == "cannot take in more now: 18000 bytes of notifications are in hand"
            return status == 503

        async with asyncio.timeout(HANGS):
            while not await refused():
                pass
        for _, writer in slow:
            writer.close()
        async with asyncio.timeout(HANGS):
            while await refused():
                pass
    assert site.counted("unavailable") > 0


async def test_a_compressed_body(site: Site) -> None:
    data = gzip.compress(json.dumps(body()).encode())
    assert (await site.ask("POST", "/webhook", data=data, headers={"Content-Encoding": "gzip"}))[0] == 200
    for packed in (zlib.compress(json.dumps(body()).encode()), zlib.compress(json.dumps(body()).encode(), wbits=-15)):
        assert (await site.ask("POST", "/webhook", data=packed, headers={"Content-Encoding": "deflate"}))[0] == 200
    assert (await site.ask("POST", "/webhook", data=data[:-9], headers={"Content-Encoding": "gzip"}))[0] == 400
    status, _ = await site.ask("POST", "/webhook", data=b"not gzip at all", headers={"Content-Encoding": "gzip"})
    assert status == 400


async def test_a_slow_body_is_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path, body_timeout=0.2, runner={"lingering_time": 0.2}) as site:
        head = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n{"
        answer = await send_raw(site.port, head)
        # 503 and not 408, after which Alertmanager would not send it again before the next group_interval.
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in answer
        assert site.counted("too_slow") == 1


async def test_slow_headers_are_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path, runner={"keepalive_timeout": 0.2}) as site:
        assert await send_raw(site.port, b"POST /webhook HTTP/1.1\r\nHost: loc") == b""
        assert await send_raw(site.port) == b""


@pytest.mark.parametrize(
    "request_",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    ],
)
async def test_bad_http_is_refused(site: Site, request_: bytes) -> None:
    answer = await send_raw(site.port, request_)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert site.taken_in == []
    assert (await site.ask("POST", "/webhook", json=body()))[0] == 200


def test_a_bomb_is_unpacked_no_further_than_the_limit() -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    assert len(_Unpacker("gzip", 1000)(bomb, 400)) == 601


async def test_a_refused_body_is_not_unpacked(tmp_path: Path) -> None:
    """aiohttp would, while it throws the rest away: a second of CPU for a megabyte of a stranger. A handler sees by the
    bytes whether it has."""
    seen: list[bytes] = []

    async def look(request: web.Request) -> web.Response:
        seen.append(await request.read())
        return web.Response()

    server = web.AppRunner(_with_route(look), **RUNNER_OPTIONS)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    packed = gzip.compress(b" " * 100_000)
    try:
        host, port = server.addresses[0][:2]
        async with aiohttp.ClientSession() as session:
            headers = {"Content-Encoding": "gzip"}
            async with session.post(f"http://{host}:{port}/", data=packed, headers=headers) as answer:
                assert answer.status == 200
    finally:
        await server.cleanup()
    assert seen == [packed]


def _with_route(handler: Callable[[web.Request], Awaitable[web.Response]]) -> web.Application:
    app = web.Application()
    app.router.add_post("/", handler)
    return app


async def test_a_client_that_goes_away_leaves_nothing_behind(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b'POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"alerts":')
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(HANGS):
        while not site.counted("disconnected"):
            await asyncio.sleep(0)
    assert site.taken_in == []
    assert (await site.ask("POST", "/webhook", json=body()))[0] == 200
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.slow
async def test_many_alerts_at_once(site: Site) -> None:
    answers = await asyncio.gather(*(site.ask("POST", "/webhook", json=_group(number, 1000)) for number in range(10)))
    assert [status for status, _ in answers] == [200] * 10
    assert len(await site.store.firing_alerts()) == 10_000


def _group(number: int, count: int) -> dict[str, Any]:
    group = body(count)
    for alert in group["alerts"]:
        alert["labels"]["group"] = str(number)
    return group


async def test_only_post(site: Site) -> None:
    status, answer = await site.ask("GET", "/webhook")
    assert (status, answer["errorType"]) == (405, "method_not_allowed")


async def test_another_site_cannot_drive_it(site: Site) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": f"evil.example:{site.port}", "Origin": f"http://evil.example:{site.port}"},
    ):
        status, answer = await site.ask("POST", "/webhook", json=body(), headers=headers)
        assert (status, answer["errorType"]) == (403, "forbidden"), headers
    assert site.taken_in == []
    for name in ("localhost", "127.0.0.1", "[::1]"):
        headers = {"Host": f"{name}:{site.port}"}
        assert (await site.ask("POST", "/webhook", json=body(), headers=headers))[0] == 200

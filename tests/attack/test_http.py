"""Requests that nobody means: answered with 4xx, the headers of every answer, and no traceback."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import socket
from pathlib import Path

import aiohttp
import pytest
from doubles.site import Site, send_raw, serving

from remediator.cli.client import clean, show_json
from remediator.web.application import load_security
from remediator.web.listen import known_hosts, listeners_at

BODY = b'{"version":"4","alerts":[]}'


def get(path: bytes, *headers: bytes) -> bytes:
    lines = [b"GET " + path + b" HTTP/1.1", *(headers or (b"Host: localhost",)), b"Connection: close", b"", b""]
    return b"\r\n".join(lines)


def post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join(
        [b"POST " + path + b" HTTP/1.1", b"Host: localhost", length, b"Connection: close", *headers, b"", body]
    )


REQUESTS = [
    get(b"/api/v1/services", b"Host: [::1"),
    get(b"/api/v1/services", b"Host: ]"),
    get(b"/", b"Host: [::1", b"Accept: text/html"),
    post(b"/-/reload", b"", b"Origin: http://["),
    post(b"/-/reload", b"", b"Origin: //[x]y"),
    get(b"/api/v1/events?after=" + b"1" * 5000),
    get(b"/api/v1/events", b"Host: localhost", b"Last-Event-ID: " + b"1" * 5000),
    get(b"/api/v1/alerts?before=" + b"1" * 5000),
    get(b"/api/v1/history?limit=" + b"1" * 5000),
    get(b"/api/v1/incidents/" + b"1" * 5000),
    *(
        post(b"/webhook", BODY, b"Content-Encoding: " + name)
        for name in (b"br", b"zstd", b"rot13", b"gzip", b"gzip, x")
    ),
    post(b"/api/v1/pauses", b"{}", b"Content-Type: application/json; charset=\xff"),
    post(b"/pauses", b"a=b", b"Content-Type: application/x-www-form-urlencoded; charset=nobody"),
    post(b"/webhook", b"{}", b"Expect: magic"),
    get(b"/api/v1/incidents/\xd9\xa1"),
    b"NONSENSE\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    get(b"/", b"Host: localhost", b"X: " + b"x" * 20_000),
    b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n",
    b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    get(b"http://[::1/"),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=range(len(REQUESTS)))
async def test_it_is_refused_quietly(tmp_path: Path, caplog: pytest.LogCaptureFixture, request_: bytes) -> None:
    config = tmp_path / "web.yml"
    config.write_text("http_server_config: {headers: {Strict-Transport-Security: max-age=60}}")
    async with serving(tmp_path, security=load_security(config)) as site:
        with caplog.at_level(logging.INFO):
            answer = await asyncio.wait_for(send_raw(site.port, request_), 30)
        status = answer.split(b" ", 2)[1]
        assert status.startswith(b"4"), answer
        for header in (
            b"Content-Security-Policy: default-src 'self'",
            b"X-Content-Type-Options: nosniff",
            b"X-Frame-Options: DENY",
            b"Cache-Control: no-store",
            b"Strict-Transport-Security: max-age=60",
        ):
            assert header in answer, answer
        assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
        assert "Traceback" not in caplog.text


async def test_no_bytes_make_it_fail(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A bounded fuzz: pieces of requests in any order, and bytes changed."""
    chance = random.Random(12)
    pieces = [b"GET ", b"POST ", b"/", b"/webhook", b"/api/v1/events?after=", b" HTTP/1.1\r\n", b"Host: ", b"localhost", b"[",
              b"Origin: ", b"http://", b"\r\n", b"Content-Length: ", b"7", b"Cookie: a=b;", b"Authorization: Basic ", b"\xff",
              b"Transfer-Encoding: chunked\r\n", b"{}", b"%ff", b"\x00", b"Last-Event-ID: ", b"9" * 30]  # fmt: skip
    with caplog.at_level(logging.INFO):
        for _ in range(300):
            data = b"".join(chance.choices(pieces, k=chance.randint(1, 14))) + b"\r\n\r\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(data)
            writer.write_eof()
            try:
                answer = await asyncio.wait_for(reader.read(4096), 30)
            except ConnectionError:
                answer = b""
            writer.close()
            assert b" 500 " not in answer[:20], data
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_rebound_name_is_refused_wherever_the_own_name_is_known(tmp_path: Path) -> None:
    async with serving(tmp_path, host="0.0.0.0", external_url="https://heal.example/") as site:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
        if address.startswith("127."):
            pytest.skip("this machine has only its loopback address")
        url, browser = f"http://{address}:{site.port}/api/v1/services", {"User-Agent": "Mozilla/5.0 (X11)"}
        async with aiohttp.ClientSession() as session:
            for host, headers, status in (
                ("evil.example", browser, 403),
                ("evil.example", {"Origin": "http://evil.example"}, 403),
                ("heal.example", browser, 200),
                (address, browser, 200),
                ("remediator.monitoring.svc", {"User-Agent": "Alertmanager/0.28.1"}, 200),
            ):
                async with session.get(url, headers={"Host": f"{host}:{site.port}", **headers}) as answer:
                    assert answer.status == status, (host, headers)


async def test_a_listen_address_says_how_people_come_where_no_external_url_does(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        address = probe.getsockname()[0]
    if address.startswith("127."):
        pytest.skip("this machine has only its loopback address")
    browser = {"User-Agent": "Mozilla/5.0 (X11)"}
    for hosts, expected in ((frozenset({address, "heal.internal"}), 403), (frozenset[str](), 200)):
        (tmp_path / str(expected)).mkdir()
        async with serving(tmp_path / str(expected), host="0.0.0.0", listen_hosts=hosts) as site:
            url = f"http://{address}:{site.port}/api/v1/services"
            async with aiohttp.ClientSession() as session:
                for host, headers, status in (
                    ("evil.example", browser, expected),
                    ("heal.internal", browser, 200),
                    (address, browser, 200),
                    ("remediator.monitoring.svc", {"User-Agent": "Alertmanager/0.28.1"}, 200),
                ):
                    async with session.get(url, headers={"Host": f"{host}:{site.port}", **headers}) as answer:
                        assert answer.status == status, (host, hosts)


def test_known_hosts() -> None:
    assert known_hosts(listeners_at(["192.0.2.2:1", "Heal.internal:1"])) == {"192.0.2.2", "heal.internal"}
    assert known_hosts(listeners_at(["192.0.2.2:1", ":1"])) == frozenset()
    assert known_hosts(listeners_at(["[::]:1"])) == frozenset()


def test_json_for_programs_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b[2J\x07\x9b31m\x85\u202etxt.exe\u2066\u200f\u061c\ufeff\u2028\x7f\nü"
    show_json({"text": hostile, hostile: 1})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"text": hostile, hostile: 1}
    for character in hostile.replace("\n", "").replace("ü", ""):
        if character not in "[2J31mtxt.exe":
            assert character not in shown
            assert character not in clean(hostile)
    assert "ü" in shown

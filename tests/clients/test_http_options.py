"""Prometheus' http_config over real sockets: proxies, tokens, headers, TLS and redirects, for both kinds of clients."""

import asyncio
import base64
import contextlib
import ssl
from typing import Any
from urllib.parse import urlsplit

import pytest
from doubles.scripted import Authority, Scripted

from remediator.clients.http_options import BasicAuth, HttpClient, HttpHeader, OAuth2, Secret, TlsConfig, TlsVersion
from remediator.clients.json_client import JsonClient
from remediator.clients.prometheus.client import Prometheus
from remediator.clients.proxy import proxy_for
from remediator.errors import RemoteError
from remediator.metrics import Metrics
from remediator.model.health import QueryStatus

VECTOR = {"status": "success", "data": {"resultType": "vector", "result": []}}


async def by_promql(settings):
    """The error of a query, or an empty text."""
    client = Prometheus(settings, query_timeout=5.0, metrics=Metrics())
    try:
        answer = await client.query("up")
        return "" if answer.query_status is QueryStatus.SEEN else answer.error
    finally:
        await client.close()


async def by_json(settings):
    client = JsonClient(settings, "the test", timeout=5.0)
    try:
        await client.ask("ask", "POST", "api/v1/query", Any)
        return ""
    except RemoteError as error:
        return str(error)
    finally:
        await client.close()


both = pytest.mark.parametrize("asked", [by_promql, by_json])


class ConnectProxy:
    """A proxy for CONNECT and for plain requests, each of which it notes with its headers."""

    def __init__(self):
        self.requests = []
        self.tasks = []
        self.writers = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for writer in self.writers:
            writer.close()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, reader, writer):
        self.tasks.append(asyncio.current_task())
        self.writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split("\r\n")[0].split(" ")
            headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            self.requests.append((method, target, {name.lower(): value for name, value in headers.items()}))
            address = target if method == "CONNECT" else urlsplit(target).netloc
            host, _, port = address.rpartition(":")
            their_reader, their_writer = await asyncio.open_connection(host, int(port))
            self.writers.append(their_writer)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = urlsplit(target).path
                their_writer.write(head.replace(target, path, 1).encode())
            await asyncio.gather(self.pump(reader, their_writer), self.pump(their_reader, writer))

    async def pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@both
@pytest.mark.parametrize("tls", [False, True])
async def test_a_proxy(asked, tls, tmp_path):
    authority = Authority(tmp_path)
    context = authority.server_context("IP:127.0.0.1") if tls else None
    with Scripted(lambda request: request.answer(VECTOR), context) as server:
        async with ConnectProxy() as proxy:
            settings = HttpClient(
                server.url,
                tls_config=TlsConfig(ca_file=str(authority.ca)),
                proxy_url=Secret(proxy.url.replace("//", "//me:hunter2@")),
                proxy_connect_header={"X-Team": (Secret("shop"),)},
            )
            assert await asked(settings) == ""
            ((method, target, headers),) = proxy.requests
    assert method == ("CONNECT" if tls else "POST")
    assert target.endswith("" if tls else "/api/v1/query")
    assert base64.b64decode(headers["proxy-authorization"].removeprefix("Basic ")) == b"me:hunter2"
    assert headers.get("x-team") == "shop" or not tls


@both
async def test_a_proxy_that_is_away_is_told_without_its_password(asked):
    settings = HttpClient("http://prometheus.test:9090", proxy_url=Secret("http://me:hunter2@127.0.0.1:9"))
    error = await asked(settings)
    assert error
    assert "hunter2" not in error


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("a.example.com", "", False),
        ("a.example.com", "example.com", True),
        ("example.com", "example.com", True),
        ("badexample.com", "example.com", False),
        ("example.com", ".example.com", False),
        ("a.example.com", "other, .example.com", True),
        ("a.example.com", "*", True),
        ("a.example.com:9090", "example.com:9090", True),
        ("a.example.com:9091", "example.com:9090", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("[fd00::1]:9090", "fd00::/8", True),
        ("localhost:9090", "x", True),
        ("127.0.0.1:9090", "x", True),
        ("a.example.com", "10.0.0.0/99", False),
    ],
)
def test_what_is_reached_without_the_proxy(host, no_proxy, direct):
    settings = HttpClient("http://x", proxy_url=Secret("http://proxy:3128"), no_proxy=no_proxy)
    assert proxy_for(settings, f"http://{host}/api") == (None if direct else "http://proxy:3128")


def test_the_proxy_of_the_environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    settings = HttpClient("http://x", proxy_from_environment=True)
    assert proxy_for(settings, "http://a.test") is None
    monkeypatch.setenv("HTTP_PROXY", "proxy:3128")
    monkeypatch.setenv("https_proxy", "http://secure:3128")
    monkeypatch.setenv("NO_PROXY", "b.test")
    assert proxy_for(settings, "http://a.test") == "http://proxy:3128"
    assert proxy_for(settings, "https://a.test") == "http://secure:3128"
    assert proxy_for(settings, "http://b.test") is None
    assert proxy_for(HttpClient("http://x"), "http://a.test") is None


def token_server(answers):
    """A token endpoint that gives these answers in turn, the last one again and again."""

    def script(request):
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        request.answer(body, status)

    return Scripted(script)


def oauth2(url, **more):
    return OAuth2(client_id="remediator", client_secret=Secret("s3cret"), token_url=url + "/token", **more)


@both
async def test_a_token_by_client_credentials(asked):
    with (
        token_server([(200, {"access_token": "t1", "token_type": "bearer", "expires_in": 3600})]) as tokens,
        Scripted(lambda request: request.answer(VECTOR)) as server,
    ):
        settings = HttpClient(
            server.url, oauth2=oauth2(tokens.url, scopes=("read", "metrics"), endpoint_params={"audience": "prom"})
        )
        assert await asked(settings) == ""
        assert [request.headers["Authorization"] for request in server.requests] == ["Bearer t1"]
        (request,) = tokens.requests
    assert request.form == {"grant_type": "client_credentials", "scope": "read metrics", "audience": "prom"}
    assert base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == b"remediator:s3cret"


async def test_a_token_is_kept_until_it_expires_or_is_refused():
    answers = [
        (200, {"access_token": f"t{number}", "expires_in": expires}) for number, expires in enumerate((3600, 5, 3600))
    ]
    seen = []

    def script(request):
        seen.append(request.headers["Authorization"])
        refused = request.headers["Authorization"] == "Bearer t0" and len(seen) == 3
        request.answer("expired" if refused else VECTOR, 401 if refused else 200)

    with token_server(answers) as tokens, Scripted(script) as server:
        client = Prometheus(HttpClient(server.url, oauth2=oauth2(tokens.url)), query_timeout=5.0, metrics=Metrics())
        query_statuses = [(await client.query("up")).query_status for _ in range(5)]
        await client.close()
    # t1 expires at once, so that each of the next queries has a new one.
    assert seen == ["Bearer t0", "Bearer t0", "Bearer t0", "Bearer t1", "Bearer t2"]
    assert [query_status is QueryStatus.SEEN for query_status in query_statuses] == [True, True, False, True, True]


@both
async def test_a_token_server_that_wants_the_secret_among_the_parameters(asked):
    def script(request):
        good = request.form.get("client_secret") == "s3cret" and request.form.get("client_id") == "remediator"
        request.answer({"access_token": "t1"} if good else {"error": "invalid_client"}, 200 if good else 401)

    with Scripted(script) as tokens, Scripted(lambda request: request.answer(VECTOR)) as server:
        assert await asked(HttpClient(server.url, oauth2=oauth2(tokens.url))) == ""


@both
@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, {"error": "access_denied s3cret"}, "it answered 403"),
        (200, {"token": "?"}, "has no access_token"),
        (200, "<html>", "has no access_token"),
    ],
)
async def test_why_there_is_no_token(asked, status, body, words):
    with token_server([(status, body)]) as tokens, Scripted(lambda request: request.answer(VECTOR)) as server:
        error = await asked(HttpClient(server.url, oauth2=oauth2(tokens.url)))
        assert server.requests == []
    assert words in error
    assert "s3cret" not in error


@both
async def test_headers_from_values_secrets_and_files(asked, tmp_path):
    (tmp_path / "tenant").write_text("seven\n")
    (tmp_path / "user").write_text("ops\n")
    settings = {
        "http_headers": {
            "X-Scope-OrgID": HttpHeader(files=(str(tmp_path / "tenant"),)),
            "X-Many": HttpHeader(values=("a", "b"), secrets=(Secret("c"),)),
        },
        "headers": {"X-Plain": "1"},
        "basic_auth": BasicAuth(username_file=str(tmp_path / "user"), password=Secret("p")),
    }
    with Scripted(lambda request: request.answer(VECTOR)) as server:
        assert await asked(HttpClient(server.url, **settings)) == ""
        headers = server.requests[0].headers
    assert [headers[name] for name in ("X-Scope-OrgID", "X-Many", "X-Plain")] == ["seven", "a, b, c", "1"]
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"ops:p"
    (tmp_path / "token").write_text("t1\n")
    with Scripted(lambda request: request.answer(VECTOR)) as server:
        assert await asked(HttpClient(server.url, bearer_token_file=str(tmp_path / "token"))) == ""
        assert server.requests[0].headers["Authorization"] == "Bearer t1"


@both
async def test_certificates_inline_and_versions_of_tls(asked, tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.issue("remediator", "DNS:remediator.test")
    context = authority.server_context("IP:127.0.0.1", client_certificates=True)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    inline = {"ca": authority.ca.read_text(), "cert": cert.read_text(), "key": Secret(key.read_text())}
    with Scripted(lambda request: request.answer(VECTOR), context) as server:
        good = TlsConfig(**inline, min_version=TlsVersion.TLS12, max_version=TlsVersion.TLS13)
        assert await asked(HttpClient(server.url, tls_config=good)) == ""
        newer = TlsConfig(**inline, min_version=TlsVersion.TLS13)
        assert await asked(HttpClient(server.url, tls_config=newer)) != ""
        broken = TlsConfig(ca="no certificate")
        assert "cannot set up TLS" in await asked(HttpClient(server.url, tls_config=broken))


@both
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_within_the_server_are_followed_when_told_so(asked, status):
    def script(request):
        if request.path.startswith("/old"):
            request.head(status, "text/plain", length=0, Location=request.path.replace("/old", "/new"))
        else:
            request.answer(VECTOR)

    with Scripted(script) as server:
        assert "redirects" in await by_promql(HttpClient(server.url + "/old"))
        assert f"answered {status}" in await by_json(HttpClient(server.url + "/old"))
        server.requests.clear()
        assert await asked(HttpClient(server.url + "/old", follow_redirects=True)) == ""
        old, new = server.requests
        assert (new.command, new.path) == ("POST", "/new/api/v1/query")
        assert new.form == old.form


@both
async def test_a_redirect_to_another_server_is_never_followed(asked):
    with Scripted(lambda request: request.answer(VECTOR)) as other:
        location = other.url + "/api/v1/query"
        with Scripted(lambda r: r.head(307, "text/plain", length=0, Location=location)) as server:
            assert await asked(HttpClient(server.url, follow_redirects=True)) != ""
        assert other.requests == []


@both
async def test_redirects_without_end_are_left(asked):
    turns = []

    def script(request):
        turns.append(1)
        request.head(307, "text/plain", length=0, Location=f"/{len(turns)}/api/v1/query")

    with Scripted(script) as server:
        assert await asked(HttpClient(server.url, follow_redirects=True)) != ""
    assert len(turns) < 10

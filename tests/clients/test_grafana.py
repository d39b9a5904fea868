"""The Grafana client: what it sends, what it makes of answers, and what it never does."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from doubles.grafana import Fault, GrafanaDouble

from remediator.clients.grafana import Annotation, Grafana
from remediator.clients.http_options import Authorization, BasicAuth, HttpClient, Secret, TlsConfig
from remediator.errors import RemoteError

REGION = Annotation(1000.0004, "<b>text</b>", ("remediator", "key:1"), ends_at=1060.5)


async def test_a_region_and_a_point(grafana: Grafana, double: GrafanaDouble) -> None:
    double.dashboards.add("d1")
    region = await grafana.create(Annotation(1000.0, "r", ("a",), 1060.5, "d1", 7))
    point = await grafana.create(Annotation(2000.0, "p"))
    kept = double.annotations[region]
    assert (kept["time"], kept["timeEnd"], kept["dashboardUID"], kept["panelId"]) == (1_000_000, 1_060_500, "d1", 7)
    assert kept["tags"] == ["a"]
    kept = double.annotations[point]
    assert (kept["time"], kept["timeEnd"], kept["dashboardUID"]) == (2_000_000, 2_000_000, None)


async def test_patch_gives_text_tags_and_end(grafana: Grafana, double: GrafanaDouble) -> None:
    id = await grafana.create(Annotation(1000.0, "before", ("a",)))
    await grafana.patch(id, Annotation(1000.0, "after", ("a", "b:c"), 1009.0))
    kept = double.annotations[id]
    assert (kept["time"], kept["timeEnd"], kept["text"], kept["tags"]) == (1_000_000, 1_009_000, "after", ["a", "b:c"])


async def test_find_by_tag(grafana: Grafana) -> None:
    id = await grafana.create(REGION)
    await grafana.create(Annotation(REGION.at, "other", ("remediator", "key:2")))
    assert await grafana.find("key:1", REGION.at) == [id]
    assert await grafana.find("key:3", REGION.at) == []


async def test_find_what_was_stored_without_its_tags(grafana: Grafana, double: GrafanaDouble) -> None:
    double.next_faults.append(Fault.HALF_DONE)
    with pytest.raises(RemoteError):
        await grafana.create(REGION)
    await grafana.create(Annotation(REGION.at, "other", ("key:2",)))
    assert await grafana.find("key:1", REGION.at) == [1]


async def test_delete(grafana: Grafana, double: GrafanaDouble) -> None:
    await grafana.delete(await grafana.create(REGION))
    assert not double.annotations
    with pytest.raises(RemoteError) as caught:
        await grafana.delete(1)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.ERROR, 500),
        (Fault.TOO_MANY, 429),
        (Fault.GATEWAY, 404),
        (Fault.DROP, None),
        (Fault.DONE_THEN_DROP, None),
        (Fault.LOGIN_PAGE, None),
    ],
)
async def test_what_may_pass_is_worth_repeating(
    grafana: Grafana, double: GrafanaDouble, fault: Fault, status: int | None
) -> None:
    deeds: list[Callable[[], Awaitable[object]]] = [
        lambda: grafana.create(REGION),
        lambda: grafana.patch(1, REGION),
        lambda: grafana.find("key:1", 1.0),
        lambda: grafana.delete(1),
    ]
    double.fault = fault
    for deed in deeds:
        with pytest.raises(RemoteError, match=r"^cannot .* at http://127.0.0.1:") as caught:
            await deed()
        assert (caught.value.retry, caught.value.status) == (True, status)


async def test_refused_connections_are_worth_repeating(grafana: Grafana, double: GrafanaDouble) -> None:
    await double.stop()
    with pytest.raises(RemoteError) as caught:
        await grafana.create(REGION)
    assert caught.value.retry
    await double.start()
    assert await grafana.create(REGION) == 1


async def test_no_answer_in_time(double: GrafanaDouble) -> None:
    client = Grafana(HttpClient(double.url), timeout=0.05)
    double.fault = Fault.HANG
    with pytest.raises(RemoteError, match=r"no answer within 0.05s") as caught:
        await client.create(REGION)
    assert caught.value.retry
    await client.close()


async def test_what_is_wrong_with_the_request_itself_is_not(grafana: Grafana) -> None:
    with pytest.raises(RemoteError, match="400: Failed to save annotation") as caught:
        await grafana.create(Annotation(1.0, ""))
    assert (caught.value.retry, caught.value.status) == (False, 400)


async def test_tokens_are_read_at_each_request(double: GrafanaDouble, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    double.token = "new"
    client = Grafana(HttpClient(double.url, authorization=Authorization(credentials_file=str(file))))
    with pytest.raises(RemoteError, match=r"401: Invalid API key.*check the token") as caught:
        await client.create(REGION)
    assert (caught.value.retry, caught.value.status) == (True, 401)
    assert "old" not in str(caught.value)
    file.write_text("new\n")
    assert await client.create(REGION) == 1
    file.unlink()
    with pytest.raises(RemoteError, match="cannot read the credentials file") as caught:
        await client.create(REGION)
    assert caught.value.retry
    await client.close()


async def test_basic_auth_and_headers(double: GrafanaDouble) -> None:
    double.token, double.basic = "t", ("me", "pass")
    settings = HttpClient(
        double.url, basic_auth=BasicAuth("me", Secret("pass")), headers={"X-Grafana-Org-Id": "1", "X-Extra": "yes"}
    )
    client = Grafana(settings)
    await client.create(REGION)
    assert double.headers[-1]["X-Extra"] == "yes"
    await client.close()


async def test_missing_permissions_are_named(grafana: Grafana, double: GrafanaDouble) -> None:
    double.permissions = {"annotations:read"}
    with pytest.raises(RemoteError, match=r"403: You'll need.*annotations:create, write, delete and read") as caught:
        await grafana.create(REGION)
    assert caught.value.retry


async def test_a_path_in_the_url_is_kept(double: GrafanaDouble) -> None:
    client = Grafana(HttpClient(f"{double.url}/grafana/"))
    with pytest.raises(RemoteError):
        await client.create(REGION)
    assert double.requests[-1][:2] == ("POST", "/grafana/api/annotations")
    await client.close()


async def test_a_password_in_the_url_is_not_shown() -> None:
    client = Grafana(HttpClient("http://me:secret@127.0.0.1:1/"))
    with pytest.raises(RemoteError) as caught:
        await client.create(REGION)
    assert "secret" not in str(caught.value)
    await client.close()


# Answers that no Grafana gives.

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[Grafana]]]:
    ends: list[Callable[[], Awaitable[None]]] = []

    async def start(handler: Handler) -> Grafana:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        client = Grafana(HttpClient(f"http://127.0.0.1:{runner.addresses[0][1]}"))
        ends.extend((client.close, runner.cleanup))
        return client

    yield start
    for end in ends:
        await end()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id": "1"}', b"\xff", b"[" * 100_000, b"null"])
async def test_answers_that_are_not_grafanas(serve: Callable[[Handler], Awaitable[Grafana]], body: bytes) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=body)

    client = await serve(handler)
    with pytest.raises(RemoteError, match="not Grafana's") as caught:
        await client.create(REGION)
    assert caught.value.retry


async def test_an_endless_answer_is_cut_off(serve: Callable[[Handler], Awaitable[Grafana]]) -> None:
    sent = 0
    gone = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 65536)
                sent += 65536
        except ConnectionError:
            gone.set()
        return response

    client = await serve(handler)
    with pytest.raises(RemoteError) as caught:
        await client.create(REGION)
    assert caught.value.retry
    await gone.wait()
    assert sent < 64 * 1024 * 1024


async def test_redirects_are_not_followed(serve: Callable[[Handler], Awaitable[Grafana]]) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=301, headers={"Location": "https://grafana.example/login"})

    client = await serve(handler)
    with pytest.raises(RemoteError, match=r"301 to https://grafana.example/login \(check the url\)") as caught:
        await client.create(REGION)
    assert caught.value.retry


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=grafana.test", "-addext", "subjectAltName=DNS:grafana.test", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


async def test_tls(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    import ssl

    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    double = GrafanaDouble()
    await double.start(context)
    authority = tmp_path / "ca.pem"
    authority.write_text("not yet\n")

    async def tried(tls: TlsConfig | None) -> int:
        client = Grafana(HttpClient(double.url, tls_config=tls))
        try:
            return await client.create(REGION)
        finally:
            await client.close()

    with pytest.raises(RemoteError, match="certificate") as caught:
        await tried(None)
    assert caught.value.retry
    with pytest.raises(RemoteError, match="cannot set up TLS"):
        await tried(TlsConfig(ca_file=str(authority)))
    with pytest.raises(RemoteError, match="cannot set up TLS"):
        await tried(TlsConfig(ca_file=str(tmp_path / "missing")))

    # One client lives on while its authority file is mended.
    client = Grafana(HttpClient(double.url, tls_config=TlsConfig(ca_file=str(authority), server_name="grafana.test")))
    with pytest.raises(RemoteError, match="cannot set up TLS"):
        await client.create(REGION)
    authority.write_bytes(cert.read_bytes())
    assert await client.create(REGION) == 1
    await client.close()

    assert await tried(TlsConfig(insecure_skip_verify=True)) == 2
    await double.stop()

"""Credentials, TLS and origins on a real server: who is let in, where it may listen, and what another site can do."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
from pathlib import Path

import aiohttp
import bcrypt
import pytest
from doubles.site import Site, basic, send_raw, serving
from doubles.system import view

from remediator.errors import ConfigError, RemediatorError
from remediator.web.application import Security, check_listen, load_security, parse_listen
from remediator.web.passwords import Users
from remediator.web.web_config import load_web_config

ALERTS = {"version": "4", "alerts": []}


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def web_config(folder: Path, text: str) -> Path:
    path = folder / "web.yml"
    path.write_text(text, encoding="utf-8")
    return path


def both(folder: Path) -> Security:
    text = f"basic_auth_users:\n  ada: {hashed('lovelace')}\nwebhook_users:\n  alertmanager: {hashed('sesame')}\n"
    return load_security(web_config(folder, text))


def certificate(folder: Path, name: str, *signed_by: str) -> None:
    """NAME.pem and NAME.key, for localhost."""
    ca = ["-CA", f"{folder}/{signed_by[0]}.pem", "-CAkey", f"{folder}/{signed_by[0]}.key"] if signed_by else []
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem", "-subj", f"/CN={name}",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", *ca,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)


# Users.


async def test_each_side_has_its_own_credentials(tmp_path: Path) -> None:
    async with serving(tmp_path, security=both(tmp_path)) as site:
        operator, receiver = basic("ada", "lovelace"), basic("alertmanager", "sesame")
        for path in ("/api/v1/services", "/metrics", "/", "/static/style.css", "/nothing", "/api/v1/events?after=0x"):
            assert (await site.text("GET", path))[0] == 401, path
            assert (await site.text("GET", path, headers=receiver))[0] == 401, path
            assert (await site.text("GET", path, headers=operator))[0] != 401, path
        for headers, status in (({}, 401), (operator, 401), (receiver, 200)):
            assert (await site.text("POST", "/webhook", json=ALERTS, headers=headers))[0] == status
        for path in ("/-/healthy", "/-/ready"):
            assert (await site.text("GET", path))[0] == 200
        assert (await site.text("POST", "/-/reload", headers=receiver))[0] == 401
        assert (await site.text("POST", "/-/reload", headers=operator))[0] == 200


async def test_how_it_says_no(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path, security=both(tmp_path)) as site:
        with caplog.at_level(logging.DEBUG):
            async with site.session.get(site.url + "/api/v1/services", headers=basic("ada", "guess-hunter2")) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"] == 'Basic realm="remediator", charset="UTF-8"'
                text = await answer.text()
        assert "unauthorized" in text
        assert "hunter2" not in text + caplog.text
        for header in ("Basic", "Basic !!!", "Basic Og==", "Bearer x", "Basic /w=="):
            assert (await site.ask("GET", "/api/v1/services", headers={"Authorization": header}))[0] == 401


async def test_the_author_is_the_user(tmp_path: Path) -> None:
    async with serving(tmp_path, security=both(tmp_path)) as site:
        site.system.views["cart"] = view("cart")
        _, answer = await site.ask(
            "POST", "/api/v1/services/cart/heal", json={"author": "root"}, headers=basic("ada", "lovelace")
        )
        assert answer["data"]["annotations"]["author"] == "ada"


async def test_users() -> None:
    users = Users({"ada": hashed("lovelace"), "long": hashed("x" * 72)})
    for _ in range(2):
        assert await users.check("ada", "lovelace")
        assert not await users.check("ada", "wrong")
        assert not await users.check("nobody", "lovelace")
    assert await users.check("long", "x" * 100)  # as htpasswd and Go: what follows the 72nd byte is not looked at
    assert not await users.check("ada", "")
    assert not await users.check("ada", "a\0b")
    assert not await Users({}).check("ada", "lovelace")


async def test_a_flood_of_guesses_is_bounded() -> None:
    users = Users({"ada": hashed("lovelace")})
    answers = await asyncio.gather(*(users.check("ada", f"guess {n}") for n in range(150)), return_exceptions=True)
    assert answers.count(False) == 100
    assert sum(isinstance(answer, RemediatorError) for answer in answers) == 50
    assert await users.check("ada", "lovelace")


async def test_users_change_with_a_reload(tmp_path: Path) -> None:
    security = both(tmp_path)
    senders = f"webhook_users: {{alertmanager: {hashed('sesame')}}}"
    async with serving(tmp_path, security=security) as site:
        web_config(tmp_path, f"basic_auth_users: {{grace: {hashed('hopper')}}}\n{senders}")
        security.reload()
        assert (await site.text("GET", "/api/v1/services", headers=basic("ada", "lovelace")))[0] == 401
        assert (await site.text("GET", "/api/v1/services", headers=basic("grace", "hopper")))[0] == 200
        web_config(tmp_path, "basic_auth_users: {grace: nonsense}")
        with pytest.raises(ConfigError):
            security.reload()
        assert (await site.text("GET", "/api/v1/services", headers=basic("grace", "hopper")))[0] == 200


@pytest.mark.parametrize("left", ["", "webhook_users: {alertmanager: HASH}", "basic_auth_users: {ada: HASH}"])
async def test_a_reload_lets_nobody_in_who_was_kept_out(tmp_path: Path, left: str) -> None:
    """An empty or half-written file would: whether a credential is asked at all was decided at the start."""
    security = both(tmp_path)
    async with serving(tmp_path, security=security) as site:
        web_config(tmp_path, left.replace("HASH", hashed("sesame")))
        with pytest.raises(RemediatorError, match="a reload lets nobody in"):
            security.reload()
        assert (await site.text("GET", "/api/v1/services"))[0] == 401
        assert (await site.ask("POST", "/webhook", json={"version": "4", "alerts": []}))[0] == 401


async def test_a_reload_gives_nobody_more_because_the_roles_are_gone(tmp_path: Path) -> None:
    """Without any, every user may do everything: a file that is cut off loses them first."""
    users = f"basic_auth_users: {{ada: {hashed('lovelace')}}}\n"
    security = load_security(web_config(tmp_path, users + "roles: {ada: viewer}"))
    async with serving(tmp_path, security=security) as site:
        web_config(tmp_path, users)
        with pytest.raises(RemediatorError, match="it has no roles any more"):
            security.reload()
        assert (await site.ask("POST", "/-/reload", headers=basic("ada", "lovelace")))[0] == 403


# TLS.


async def test_tls(tmp_path: Path) -> None:
    certificate(tmp_path, "server")
    path = web_config(tmp_path, "tls_server_config: {cert_file: server.pem, key_file: server.key, min_version: TLS13}")
    security = load_security(path)
    async with serving(tmp_path, security=security) as site:
        trust = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
        assert site.url.startswith("https://")
        assert (await site.text("GET", "/-/healthy", ssl=trust))[0] == 200
        old = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(aiohttp.ClientConnectorError):
            await site.text("GET", "/-/healthy", ssl=old)
        assert not (await send_raw(site.port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP")
        async with site.session.get(f"{site.url}/", ssl=trust) as answer:
            assert "Secure" in answer.headers["Set-Cookie"]


async def test_a_renewed_certificate_is_used_after_a_reload(tmp_path: Path) -> None:
    certificate(tmp_path, "server")
    security = load_security(web_config(tmp_path, "tls_server_config: {cert_file: server.pem, key_file: server.key}"))
    async with serving(tmp_path, security=security) as site:
        certificate(tmp_path, "server")
        renewed = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await site.text("GET", "/-/healthy", ssl=renewed)
        security.reload()
        assert (await site.text("GET", "/-/healthy", ssl=renewed))[0] == 200
        (tmp_path / "server.key").write_text("rubbish")
        with pytest.raises(RemediatorError, match="cannot set up TLS"):
            security.reload()
        assert (await site.text("GET", "/-/healthy", ssl=renewed))[0] == 200


async def test_client_certificates(tmp_path: Path) -> None:
    for name, *signed_by in (("server",), ("authority",), ("client", "authority"), ("stranger",)):
        certificate(tmp_path, name, *signed_by)
    text = (
        "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
        "  client_ca_file: authority.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
    )
    security = load_security(web_config(tmp_path, text))
    check_listen("0.0.0.0:9797", security, False)
    async with serving(tmp_path, security=security) as site:
        for name, welcome in (("client", True), ("stranger", False), ("", False)):
            context = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
            if name:
                context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
            if welcome:
                assert (await site.text("GET", "/api/v1/services", ssl=context))[0] == 200
            else:
                with pytest.raises(aiohttp.ClientError):
                    await site.text("GET", "/api/v1/services", ssl=context)


# The file.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("basic_auth_user: {}", "unknown key 'basic_auth_user'"),
        ("basic_auth_users: {ada: hunter2}", "this is not a bcrypt hash"),
        ("basic_auth_users:\n  ada:\n    hunter2", "this is not a bcrypt hash"),
        ("basic_auth_users:\n  ada: $2y$31$" + "a" * 53, "this is not a bcrypt hash"),
        ("basic_auth_users: {'a:b': x}", "cannot be a user name"),
        ("tls_server_config: {cert_file: a}", "the key 'key_file' is missing"),
        ("tls_server_config: {cert_file: a, key_file: b, min_version: TLS10}", "'TLS10' is none of"),
        ("tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireClientCert}", "is none of"),
        ("tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}", "means nothing without client_auth_type"),
        ("http_server_config: {headers: {Server: x}}", "the header 'Server' cannot be set"),
        ('http_server_config: {headers: {X-Frame-Options: "a\\r\\nb"}}', "on one line"),
        ("[]", "expected a mapping"),
        ("a: [", "cannot read the YAML"),
    ],
)
def test_what_the_file_may_not_say(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"web\.yml:") as wrong:
        load_web_config(web_config(tmp_path, text))
    assert message in str(wrong.value)
    assert "hunter2" not in str(wrong.value)


def test_one_user_cannot_stand_on_both_sides(tmp_path: Path) -> None:
    text = f"basic_auth_users:\n  ada: {hashed('x')}\nwebhook_users:\n  ada: {hashed('y')}\n"
    with pytest.raises(ConfigError, match=r"web\.yml:4:8: .*credentials of its own") as wrong:
        load_web_config(web_config(tmp_path, text))
    assert "$2b$" not in str(wrong.value)


def test_an_exporters_file_is_understood(tmp_path: Path) -> None:
    text = (
        f"http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: SAMEORIGIN\n"
        f"basic_auth_users:\n  ada: {hashed('x')}\n"
    )
    config = load_web_config(web_config(tmp_path, text))
    assert config.http_server_config.headers == {"X-Frame-Options": "SAMEORIGIN"}
    assert load_web_config(web_config(tmp_path, "")).basic_auth_users == {}


# Where it may listen.


def test_loopback_needs_nothing() -> None:
    for address in ("127.0.0.1:9797", "127.9.9.9:1", "[::1]:9797", "localhost:9797", "[::ffff:127.0.0.1]:1"):
        check_listen(address, Security(), False)


@pytest.mark.parametrize("address", [":9797", "0.0.0.0:9797", "[::]:9797", "10.0.0.1:9797", "example.org:1"])
def test_other_addresses_need_credentials_for_both_sides(tmp_path: Path, address: str) -> None:
    with pytest.raises(RemediatorError, match="basic_auth_users and webhook_users"):
        check_listen(address, Security(), False)
    half = load_security(web_config(tmp_path, f"basic_auth_users: {{ada: {hashed('x')}}}"))
    with pytest.raises(RemediatorError, match="Give webhook_users in a web config"):
        check_listen(address, half, False)
    check_listen(address, both(tmp_path), False)
    check_listen(address, Security(), True)


def test_addresses() -> None:
    assert parse_listen(":9797") == ("", 9797)
    assert parse_listen("[::1]:80") == ("::1", 80)
    for wrong in ("9797", "localhost", "::1:80", "host:port", "host:99999", "host:-1", "host:٣"):
        with pytest.raises(RemediatorError, match="cannot listen on"):
            parse_listen(wrong)


# Other sites.


async def test_a_rebound_name_is_not_answered(site: Site) -> None:
    for path in ("/", "/api/v1/services", "/metrics"):
        status, text = await site.text("GET", path, headers={"Host": f"evil.example:{site.port}"})
        assert status == 403
        assert "evil.example" in text
    assert (await site.text("GET", "/-/ready", headers={"Host": "probe"}))[0] == 200
    for host in ("localhost", "LOCALHOST.", "127.0.0.1", f"[::1]:{site.port}", "app.localhost:80"):
        assert (await site.text("GET", "/api/v1/services", headers={"Host": host}))[0] == 200
    assert (await send_raw(site.port, b"GET /api/v1/services HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 200 ")


async def test_the_external_name_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, external_url="https://heal.example/") as site:
        site.system.views["cart"] = view("cart")
        headers = {"Host": "heal.example", "Origin": "https://heal.example", "Sec-Fetch-Site": "same-origin"}
        assert (await site.ask("POST", "/api/v1/services/cart/heal", json={"author": "a"}, headers=headers))[0] == 202


async def test_another_site_cannot_act(site: Site) -> None:
    site.system.views["cart"] = view("cart")
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": f"http://localhost:{site.port + 1}"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        status, answer = await site.ask("POST", "/api/v1/services/cart/heal", json={"author": "a"}, headers=headers)
        assert (status, answer["errorType"]) == (403, "forbidden"), headers
        assert (await site.ask("DELETE", "/api/v1/services/cart?author=a", headers=headers))[0] == 403
        assert (await site.ask("POST", "/-/reload", headers=headers))[0] == 403
    assert "cart" in site.system.views
    assert site.system.reloads == 0
    assert await site.store.firing_alerts() == []


async def test_security_headers_are_everywhere(tmp_path: Path) -> None:
    text = "http_server_config: {headers: {Strict-Transport-Security: max-age=60, X-Frame-Options: SAMEORIGIN}}"
    async with serving(tmp_path, security=load_security(web_config(tmp_path, text))) as site:
        for path in ("/", "/nothing", "/api/v1/services", "/api/v1/nothing", "/metrics", "/-/healthy"):
            async with site.session.get(site.url + path) as answer:
                assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Referrer-Policy"] == "same-origin"
                assert answer.headers["Strict-Transport-Security"] == "max-age=60"
                assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
                assert answer.headers["Cache-Control"] == "no-store"

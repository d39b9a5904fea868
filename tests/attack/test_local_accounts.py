"""Other accounts of this machine, on the default address: they read, and change nothing without the credential."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
import subprocess
import sys
import urllib.error
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from doubles.past import open_incident
from doubles.site import Site, serving
from doubles.system import view
from real.remediator import RealRemediator

from remediator.cli.local_token import local_token, named_file
from remediator.errors import RemediatorError
from remediator.model.alert import Source
from remediator.web.application import Security
from remediator.web.local_credential import ensure_credential, read_credential
from remediator.web.permissions import ROUTES, Permission

RULES = (
    "services: [{name: shop, target: {command: {restart: [touch, done]}}}]\nrunbooks: [{name: any, steps: [restart]}]"
)
_UNCHANGING = {Permission.OPEN, Permission.WEBHOOK, Permission.METRICS, Permission.VIEW}
CHANGING = [route for route, permission in ROUTES.items() if permission not in _UNCHANGING]


def filled(path: str) -> str:
    return path.format(id=1, name="shop", verb="approve", fingerprint="x")


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Site]:
    file = str(tmp_path / "remediator.db.token")
    security = Security(token=ensure_credential(file), token_file=file)
    async with serving(tmp_path, security=security) as site:
        site.system.views["shop"] = view("shop")
        yield site


def bearer(site: Site) -> dict[str, str]:
    assert site.parts is not None
    return {"Authorization": f"Bearer {Path(site.parts.security.token_file).read_text().strip()}"}


@pytest.mark.parametrize(("method", "path"), CHANGING)
async def test_nothing_is_changed_without_the_credential(guarded: Site, method: str, path: str) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer x"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic cm9vdDo="},
        {"Cookie": "remediator_session=x.y"},
        {"Cookie": "remediator_session=eyJuYW1lIjoiIiwiZXhwaXJlc19hdCI6OWU5LCJub25jZSI6IiJ9."},
        {"X-Forwarded-User": "root", "X-Forwarded-For": "127.0.0.1"},
    ):
        status, _ = await guarded.text(method, filled(path), headers=headers, data=b"{}", allow_redirects=False)
        assert status == 401, headers


@pytest.mark.parametrize("path", [path for (method, path), p in ROUTES.items() if method == "GET" and p in _UNCHANGING])
async def test_reading_stays_open(guarded: Site, path: str) -> None:
    if "events" not in path:
        status, _ = await guarded.text(
            "GET", filled(path.replace("{name}", "style.css" if "static" in path else "shop"))
        )
        assert status in (200, 404)


async def test_the_webhook_stays_open_and_forces_nothing(guarded: Site) -> None:
    labels = {"alertname": "HealRequested", "service": "shop", "author": "root", "force": "true", "source": "operator"}
    alert = {
        "labels": labels, "annotations": {"force": "true", "source": "operator"}, "startsAt": "2027-01-15T07:00:00Z",
        "status": "firing", "source": "operator",
    }  # fmt: skip
    assert (await guarded.ask("POST", "/webhook", json={"version": "4", "alerts": [alert]}))[0] == 200
    (stored,) = await guarded.store.firing_alerts()
    assert stored.alert.source is Source.ALERTMANAGER


async def test_the_credential_lets_everything_through(guarded: Site) -> None:
    headers = bearer(guarded)
    status, answer = await guarded.ask("POST", "/api/v1/services/shop/heal", json={"author": "ada"}, headers=headers)
    assert (status, answer["data"]["annotations"]["author"]) == (202, "ada")
    assert (await guarded.ask("POST", "/-/reload", headers=headers))[0] == 200


# Signing in.


async def csrf(site: Site) -> str:
    _, text = await site.text("GET", "/sign-in", headers={"Accept": "text/html"})
    found = re.search(r'name="csrf" value="([0-9a-f]{32})"', text)
    assert found is not None
    return found[1]


async def sign_in(site: Site, credential: str) -> aiohttp.ClientResponse:
    data = {"csrf": await csrf(site), "credential": credential}
    async with site.session.post(site.url + "/sign-in", data=data, allow_redirects=False) as response:
        return response


async def test_the_pages_show_no_button_before_signing_in(guarded: Site) -> None:
    await open_incident(guarded, "checkout")
    for path in ("/", "/services/shop", "/incidents/1"):
        _, text = await guarded.text("GET", path, headers={"Accept": "text/html"})
        assert 'method="post"' not in text
        assert 'href="/sign-in"' in text
    assert (await sign_in(guarded, "remediator_wrong")).status == 403
    response = await sign_in(guarded, bearer(guarded)["Authorization"].removeprefix("Bearer "))
    assert response.status == 303
    cookie = response.cookies["remediator_session"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert cookie["path"] == "/"
    assert "remediator_" not in cookie.value
    for path in ("/services/shop", "/incidents/1"):
        _, text = await guarded.text("GET", path, headers={"Accept": "text/html"})
        assert f'method="post" class="fields" action="{path}' in text or "Heal it now" in text
    token = await csrf(guarded)
    data = {"csrf": token, "author": "ada", "comment": "because"}
    async with guarded.session.post(guarded.url + "/services/shop/heal", data=data, allow_redirects=False) as done:
        assert done.status == 303
    guarded.clock.at += 13 * 3600
    async with guarded.session.post(guarded.url + "/services/shop/heal", data=data, allow_redirects=False) as done:
        assert done.status == 401


async def test_signing_out_ends_copies_of_the_session_too(guarded: Site) -> None:
    copy = (await sign_in(guarded, bearer(guarded)["Authorization"].removeprefix("Bearer "))).cookies[
        "remediator_session"
    ]
    headers = {"Cookie": f"remediator_session={copy.value}"}
    async with aiohttp.ClientSession() as other:
        url = guarded.url + "/api/v1/services/shop/heal"
        async with other.post(url, json={"author": "ada"}, headers=headers) as answer:
            assert answer.status == 202
        data = {"csrf": await csrf(guarded)}
        async with guarded.session.post(guarded.url + "/sign-out", data=data, allow_redirects=False) as out:
            assert out.status == 303
        async with other.post(url, json={"author": "ada"}, headers=headers) as answer:
            assert answer.status == 401


async def test_a_link_signs_in_once(guarded: Site) -> None:
    assert (await guarded.ask("POST", "/api/v1/sign-in-links", json={}))[0] == 401
    _, answer = await guarded.ask("POST", "/api/v1/sign-in-links", json={}, headers=bearer(guarded))
    path = answer["data"]["path"]
    async with guarded.session.head(guarded.url + path) as looked:
        assert "remediator_session" not in looked.cookies
    async with guarded.session.get(guarded.url + path, allow_redirects=False) as first:
        assert (first.status, first.headers["Location"]) == (303, "/")
        assert first.cookies["remediator_session"]["httponly"]
    async with guarded.session.get(guarded.url + path, allow_redirects=False) as second:
        assert second.status == 403
        assert "remediator_session" not in second.cookies
    _, answer = await guarded.ask("POST", "/api/v1/sign-in-links", json={}, headers=bearer(guarded))
    guarded.clock.at += 301
    assert (await guarded.text("GET", answer["data"]["path"]))[0] == 403


async def test_a_session_is_of_no_use_from_another_origin(guarded: Site) -> None:
    await sign_in(guarded, bearer(guarded)["Authorization"].removeprefix("Bearer "))
    for headers in ({"Origin": f"http://localhost:{guarded.port + 1}"}, {"Sec-Fetch-Site": "same-site"}):
        status, _ = await guarded.text("POST", "/api/v1/services/shop/heal", json={"author": "a"}, headers=headers)
        assert status == 403


# The file, and who is shown it.


async def test_serve_makes_the_credential_for_its_user_alone(tmp_path: Path) -> None:
    async with RealRemediator(tmp_path, prometheus="http://127.0.0.1:1", rules=RULES) as remediator:
        file = tmp_path / "remediator.db.token"
        made = file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "remediator.db.lock").stat().st_mode) == 0o600
        assert made.strip() not in remediator.log
        document = {"name": "x", "target": "systemd"}
        for path, body in (("/api/v1/services?author=m", document), ("/api/v1/services/shop/heal", {"author": "m"})):
            with pytest.raises(urllib.error.HTTPError) as wrong:
                await asyncio.to_thread(remediator.request, path, body, headers={})
            assert wrong.value.code == 401
            wrong.value.close()
        # The command line reads it by itself, from any folder.
        command = [sys.executable, "-m", "remediator", "heal", "shop", "--url", remediator.url]
        done = await asyncio.to_thread(subprocess.run, command, cwd="/", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        command = [sys.executable, "-m", "remediator", "page", "--url", remediator.url]
        done = await asyncio.to_thread(subprocess.run, command, cwd="/", capture_output=True, text=True)
        assert done.stdout.startswith(f"{remediator.url}/sign-in?code=")
    async with RealRemediator(tmp_path, prometheus="http://127.0.0.1:1", rules=RULES):
        assert file.read_text() == made


async def test_a_flag_turns_it_off(tmp_path: Path) -> None:
    flags = ["--web.allow-unauthenticated"]
    async with RealRemediator(tmp_path, prometheus="http://127.0.0.1:1", rules=RULES, flags=flags) as remediator:
        assert not list(tmp_path.glob("*.token"))
        answer = await asyncio.to_thread(remediator.request, "/api/v1/services/shop/heal", {"author": "ada"})
        assert answer["service"] == "shop"


def test_a_credential_that_others_may_read_or_have_made_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.token"
    token = ensure_credential(str(file))
    assert ensure_credential(str(file)) == token
    assert re.fullmatch(r"remediator_[\w-]{43}", token)
    file.chmod(0o640)
    with pytest.raises(RemediatorError, match="others may read it"):
        ensure_credential(str(file))
    file.chmod(0o600)
    file.write_text("short\n")
    with pytest.raises(RemediatorError, match="no token"):
        ensure_credential(str(file))
    link = tmp_path / "link.token"
    link.symlink_to(file)
    with pytest.raises(RemediatorError, match="cannot make the credential"):
        ensure_credential(str(link))
    os.mkfifo(tmp_path / "pipe.token", 0o600)
    with pytest.raises(RemediatorError, match="no token"):
        ensure_credential(str(tmp_path / "pipe.token"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to listen as another user")
@pytest.mark.parametrize("user", [65534, 0])
def test_the_command_line_shows_the_file_of_one_user_to_no_other(tmp_path: Path, user: int) -> None:
    """Someone else listens on the port, and names the credential of the user who asks."""
    file = tmp_path / "x.token"
    token = ensure_credential(str(file))
    program = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); time.sleep(60)"
    command = ["/usr/bin/python3", "-c", program]
    with subprocess.Popen(command, user=user, cwd="/", stdout=subprocess.PIPE, text=True) as listener:
        try:
            assert listener.stdout is not None
            url = f"http://127.0.0.1:{listener.stdout.readline().strip()}"
            if user:
                with pytest.raises(RemediatorError, match="belongs to another user"):
                    local_token(url, str(file))
            else:
                assert local_token(url, str(file)) == token
        finally:
            listener.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to listen as another user")
def test_a_listener_at_another_address_changes_nothing(tmp_path: Path) -> None:
    """Any account may take the same port of 127.0.0.2, or of the other protocol."""
    file = tmp_path / "x.token"
    token = ensure_credential(str(file))
    with socket.create_server(("127.0.0.1", 0)) as own:
        port = own.getsockname()[1]
        program = (
            f"import socket, time; s = socket.create_server(('127.0.0.2', {port})); print(flush=True); time.sleep(60)"
        )
        command = ["/usr/bin/python3", "-c", program]
        with subprocess.Popen(command, user=65534, cwd="/", stdout=subprocess.PIPE, text=True) as other:
            try:
                assert other.stdout is not None
                other.stdout.readline()
                assert local_token(f"http://127.0.0.1:{port}", str(file)) == token
                with pytest.raises(RemediatorError, match="belongs to another user"):
                    local_token(f"http://127.0.0.2:{port}", str(file))
            finally:
                other.kill()


def test_the_command_line_shows_no_file_to_another_machine(tmp_path: Path) -> None:
    file = tmp_path / "x.token"
    ensure_credential(str(file))
    with pytest.raises(RemediatorError, match="not on this machine"):
        local_token("http://heal.example:9797", str(file))
    with pytest.raises(RemediatorError, match="cannot tell which user"):
        local_token("http://127.0.0.1:1", str(file))


def test_a_challenge_names_one_file() -> None:
    assert named_file('Bearer realm="remediator", file="/var/lib/a%20b.token"') == "/var/lib/a b.token"
    assert named_file('Basic realm="remediator"') == ""


def test_read_credential_is_of_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "x.token"
    ensure_credential(str(file))
    with pytest.raises(RemediatorError, match="belongs to another user"):
        read_credential(str(file), owner=12345)

"""The commands that ask a running remediator, as processes of their own against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from aiohttp import web
from doubles.past import HOSTILE, open_incident, recovered_incident
from doubles.site import NOW, Site, serving
from doubles.system import view
from real.prometheus import HANGS

from remediator.model.health import Health
from remediator.model.incident import EntryKind
from remediator.model.rules import Mode
from remediator.web.application import load_security
from remediator.web.context import STREAMS


@dataclass
class Said:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REMEDIATOR_", "LC_", "LANG"))}
    return {**kept, "LOGNAME": "ada", "PYTHONUTF8": "1", **more}


async def remediator(url: str, *words: str, **more: str) -> Said:
    """Run one command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "remediator", *words, env=environment(REMEDIATOR_URL=url, **more),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return Said(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with serving(tmp_path) as running:
        yield running


async def test_services(site: Site) -> None:
    await open_incident(site, "shop/checkout")
    site.system.views["cart"] = view("cart", at=NOW)
    said = await remediator(site.url, "services")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0].split() == ["SERVICE", "HEALTH", "SINCE", "TARGET", "RUNBOOK", "INCIDENT", "NOW"]
    assert lines[1].split()[:2] == ["shop/checkout", "failed"]
    assert lines[1].endswith("#1        cooldown: restart ran 2m ago and the cooldown of web is 10m")
    assert lines[2].split()[:2] == ["cart", "healthy"]
    assert "\x1b" not in said.out
    assert [s["name"] for s in (await remediator(site.url, "services", "--output", "json")).data] == [
        "cart",
        "shop/checkout",
    ]
    only = await remediator(site.url, "services", "--health", "unknown")
    assert (only.code, only.out, only.err) == (0, "", "no service is unknown\n")


async def test_incidents(site: Site) -> None:
    await recovered_incident(site, "cart")
    await open_incident(site, "checkout")
    said = await remediator(site.url, "incidents")
    assert "#2        checkout  open" in said.out
    assert "1m30s" in said.out
    assert "restart succeeded" in said.out
    assert "healthy for 30s after restart" in said.out
    one = await remediator(site.url, "incidents", "--id", "2")
    assert "Incident 2 of checkout by runbook web: open" in one.out
    assert "    $ systemctl restart checkout" in one.out
    assert "pool exhausted" in one.out
    assert [i["id"] for i in (await remediator(site.url, "incidents", "--open", "--output", "json")).data] == [2]
    missing = await remediator(site.url, "incidents", "--id", "9")
    assert (missing.code, missing.err) == (1, "remediator: cannot find incident 9\n")


async def test_history_and_alerts(site: Site) -> None:
    await open_incident(site, "checkout")
    said = await remediator(site.url, "history", "checkout", "--limit", "2")
    assert len(said.out.splitlines()) == 3
    assert "2027-01-15 07:59:10Z  checkout  #1        held" in said.out
    said = await remediator(site.url, "alerts", "--firing")
    assert said.out.splitlines()[1].split()[:4] == ["ErrorRatioHigh", "firing", "checkout", "opened"]
    (alert,) = (await remediator(site.url, "alerts", "checkout", "--output", "json")).data
    assert alert["labels"]["service"] == "checkout"
    assert (await remediator(site.url, "history", "--limit", "0")).code == 1


async def test_history_follows_the_journal(site: Site) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "remediator", "history", "--follow", "checkout",
        env=environment(REMEDIATOR_URL=site.url), stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert site.app is not None
    assert site.parts is not None
    async with asyncio.timeout(HANGS):
        while not site.app[STREAMS]:
            await asyncio.sleep(0)
        await recovered_incident(site, "cart")
        await open_incident(site, "checkout")
        site.parts.committed.notify()
        line = (await process.stdout.readline()).decode()
    assert line.startswith("2027-01-15 07:58:22Z checkout #2")
    assert EntryKind.INCIDENT_OPENED.replace("_", " ") in line
    process.kill()
    await process.communicate()


async def test_why(site: Site) -> None:
    await open_incident(site, "shop/checkout")
    said = await remediator(site.url, "why", "shop/checkout")
    assert said.code == 0
    for sentence in (
        "shop/checkout is failed since ",
        "  error_ratio = 0.2, failed, looked at ",
        "  ErrorRatioHigh is firing since ",
        "Runbook web is for it; target systemd.",
        "Incident 1 is open since 2027-01-15 07:58:22Z: error_ratio 0.2 > 0.1 for 15s",
        "step 1, restart: succeeded: exit code 0",
        "Gate cooldown holds: restart ran 2m ago and the cooldown of web is 10m",
        "  What would change it: force a heal",
    ):
        assert sentence in said.out
    (alert,) = (await remediator(site.url, "alerts", "--output", "json")).data
    told = await remediator(site.url, "why", "--alert", alert["fingerprint"])
    assert told.out.splitlines()[0].startswith("ErrorRatioHigh is firing since ")
    assert told.out.splitlines()[0].endswith(", from alertmanager: opened, incident 1: opened it")
    assert told.out.splitlines()[1:] == said.out.splitlines()
    missing = await remediator(site.url, "why", "--alert", "nope")
    assert (missing.code, missing.err) == (1, "remediator: cannot find an alert with the fingerprint 'nope'\n")
    missing = await remediator(site.url, "why", "nope")
    assert (missing.code, missing.err) == (1, "remediator: cannot find the service 'nope'\n")


async def test_times_at_the_ends_of_the_calendar(site: Site) -> None:
    """Go's zero time, and a last moment west of Greenwich."""
    site.system.views["shop"] = view("shop")
    times = ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59.999999999-05:00")
    alerts = [
        {
            "status": "resolved" if end else "firing",
            "labels": {"alertname": f"A{number}{end[:4]}", "service": "shop"},
            "startsAt": start,
            "endsAt": end or "0001-01-01T00:00:00Z",
        }
        for number, start in enumerate(times)
        for end in ("", times[2])
    ]
    assert (await site.ask("POST", "/webhook", json={"version": "4", "alerts": alerts}))[0] == 200
    said = await remediator(site.url, "alerts")
    assert (said.code, len(said.out.splitlines())) == (0, 7), said.err
    for one in (await remediator(site.url, "alerts", "--output", "json")).data:
        said = await remediator(site.url, "why", "--alert", one["fingerprint"])
        assert said.code == 0, said.err
    assert (await remediator(site.url, "why", "shop")).code == 0
    for path in ("/alerts", "/services/shop"):
        assert (await site.text("GET", path))[0] == 200


async def test_heal(site: Site) -> None:
    site.system.views["shop/cart"] = view("shop/cart")
    said = await remediator(site.url, "heal", "shop/cart", "--force", "--comment", "customers wait")
    assert (said.code, said.out) == (0, "shop/cart: the first step of web is about to run\n")
    (stored,) = await site.store.firing_alerts()
    assert stored.alert.annotations == {"author": "ada", "comment": "customers wait", "force": "true"}
    assert (await remediator(site.url, "heal", "nope")).code == 1


async def test_pause_and_resume(site: Site) -> None:
    said = await remediator(site.url, "pause", 'tier="web"', "team!~db|ops", "--for", "2h", "--comment", "release")
    assert said.code == 0
    assert said.out == (
        'healing of tier="web", team!~"db|ops" is paused until 2027-01-15 10:00:00Z; remediator resume 1 ends it\n'
    )
    (pause,) = await site.store.pauses(NOW)
    assert (pause.author, pause.comment) == ("ada", "release")
    assert "release" in (await remediator(site.url, "resume")).out
    assert (await remediator(site.url, "resume", "1", "--author", "grace")).out == "pause 1 has ended\n"
    assert (await remediator(site.url, "resume", "1")).code == 1
    assert (await remediator(site.url, "pause", "--all", "--comment", "storm")).code == 0
    for words in (
        ("pause", "--comment", "x"),
        ("pause", "a=b", "--all", "--comment", "x"),
        ("pause", "a=b"),
        ("pause", "((", "--comment", "x"),
        ("pause", "a=b", "--comment", "x", "--for", "soon"),
        ("resume", "first"),
        ("heal",),
    ):
        said = await remediator(site.url, *words)
        assert said.code == 2, words
        assert said.err
    assert len(await site.store.pauses(NOW)) == 1


async def test_answers(site: Site) -> None:
    await open_incident(site, "checkout", Mode.APPROVE)
    assert (await remediator(site.url, "approve", "1", "--comment", "go")).out == "incident 1 of checkout is approved\n"
    again = await remediator(site.url, "deny", "1")
    assert again.code == 1
    assert "ada has approved it already" in again.err
    assert (await remediator(site.url, "dismiss", "1")).code == 1
    said = await remediator(site.url, "dismiss", "1", "--comment", "we took over")
    assert said.out == "incident 1 of checkout is dismissed\n"


async def test_what_comes_from_outside_cannot_reach_the_terminal(site: Site) -> None:
    await open_incident(site, "checkout", hostile=HOSTILE)
    for words in (("incidents",), ("incidents", "--id", "1"), ("history",), ("why", "checkout"), ("alerts",)):
        said = await remediator(site.url, *words)
        assert said.code == 0
        assert "\x1b" not in said.out
    assert "\\x1b[31m" in (await remediator(site.url, "history")).out


async def test_colour_is_for_terminals(site: Site) -> None:
    site.system.views["cart"] = view("cart", Health.FAILED, NOW)
    leader, follower = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "remediator", "services",
        env=environment(REMEDIATOR_URL=site.url, TERM="xterm-256color", COLUMNS="100"), stdout=follower, stdin=follower,
    )  # fmt: skip
    assert await process.wait() == 0
    os.close(follower)
    shown = os.read(leader, 65536).decode()
    os.close(leader)
    assert "\x1b[31mfailed" in shown


async def test_where_nobody_answers() -> None:
    said = await remediator("http://127.0.0.1:1", "services")
    assert said.code == 2
    assert "cannot reach remediator at http://127.0.0.1:1: " in said.err
    assert (await remediator("localhost:9797", "services")).code == 2
    assert (await remediator("file:///etc/passwd", "services")).code == 2
    assert (await remediator("http://[", "services")).code == 2


async def test_where_another_answers() -> None:
    app = web.Application()

    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:1/")

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="<html>hello</html>")

    app.router.add_get("/api/v1/services", hello)
    app.router.add_get("/api/v1/incidents", elsewhere)
    server = web.AppRunner(app)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{server.addresses[0][1]}"
    for command in ("services", "incidents", "alerts"):
        said = await remediator(url, command, REMEDIATOR_USERNAME="ada", REMEDIATOR_PASSWORD="hunter2")
        assert said.code == 2
        assert "is that remediator?" in said.err
        assert "hunter2" not in said.err
    await server.cleanup()


async def test_credentials(tmp_path: Path) -> None:
    config = tmp_path / "web.yml"
    config.write_text(f"basic_auth_users: {{ada: {bcrypt.hashpw(b'lovelace', bcrypt.gensalt(4)).decode()}}}")
    password, http = tmp_path / "password", tmp_path / "http.yml"
    password.write_text("lovelace\n")
    http.write_text(f"basic_auth: {{username: ada, password_file: {password}}}")
    async with serving(tmp_path, security=load_security(config)) as site:
        site.system.views["cart"] = view("cart")
        assert (await remediator(site.url, "services")).code == 1
        right = {"REMEDIATOR_USERNAME": "ada", "REMEDIATOR_PASSWORD": "lovelace"}
        assert (await remediator(site.url, "services", **right)).code == 0
        wrong = await remediator(site.url, "services", REMEDIATOR_USERNAME="ada", REMEDIATOR_PASSWORD="hunter2")
        assert (wrong.code, wrong.err) == (1, "remediator: cannot let you in: user name or password is wrong\n")
        assert (await remediator(site.url, "services", "--http.config.file", str(http))).code == 0
        http.write_text("basic_auht: {}")
        said = await remediator(site.url, "services", "--http.config.file", str(http))
        assert said.code == 2
        assert "did you mean basic_auth?" in said.err


async def test_tls(tmp_path: Path) -> None:
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-keyout", f"{tmp_path}/key.pem", "-out", f"{tmp_path}/cert.pem", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    config, http = tmp_path / "web.yml", tmp_path / "http.yml"
    config.write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem}")
    http.write_text(f"tls_config: {{ca_file: {tmp_path}/cert.pem}}")
    async with serving(tmp_path, security=load_security(config)) as site:
        assert (await remediator(site.url, "services", "--http.config.file", str(http))).code == 0
        said = await remediator(site.url, "services")
        assert said.code == 2
        assert "certificate verify failed" in said.err

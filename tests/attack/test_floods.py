"""Floods: of wrong passwords, of idle connections, and machines with nothing to spare. The right one gets through."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest
from doubles.site import basic, serving
from real.prometheus import part, until
from real.remediator import RealRemediator

from remediator.actions import command
from remediator.actions.command import run_command
from remediator.actions.supervisor import Supervisor
from remediator.decision.next_step import find_next_step
from remediator.errors import BusyError
from remediator.model.action import ActionSpec, Call, Outcome
from remediator.model.health import Health
from remediator.model.incident import Incident, StepRun
from remediator.model.rules import Plan, Runbook, Service, Step
from remediator.web.application import load_security
from remediator.web.connections import RESERVE, most_connections
from remediator.web.passwords import Users

HASH = bcrypt.hashpw(b"sesame", bcrypt.gensalt(8)).decode()
ALERTS = {"version": "4", "alerts": []}


async def test_over_capacity_is_503_and_proven_credentials_get_in(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(f"webhook_users: {{alertmanager: {HASH}}}\n")
    async with serving(tmp_path, security=load_security(file)) as site:
        right = basic("alertmanager", "sesame")
        assert (await site.ask("POST", "/webhook", json=ALERTS, headers=right))[0] == 200

        async def guess(number: int) -> tuple[int, str]:
            headers = basic("alertmanager", f"wrong{number}")
            async with site.session.post(site.url + "/webhook", json=ALERTS, headers=headers) as answer:
                return answer.status, answer.headers.get("Retry-After", "")

        guesses = [asyncio.ensure_future(guess(number)) for number in range(150)]
        await asyncio.sleep(0.05)
        assert site.parts is not None
        for number in range(15):
            if number == 7:
                site.parts.security.reload()
            assert (await site.ask("POST", "/webhook", json=ALERTS, headers=right))[0] == 200
        answers = await asyncio.gather(*guesses)
        assert set(answers) == {(401, ""), (503, "1")}


async def test_one_peer_takes_no_place_of_another() -> None:
    users = Users({"alertmanager": HASH})
    flood = [asyncio.ensure_future(users.check("alertmanager", f"wrong{n}", "10.0.0.1")) for n in range(200)]
    await asyncio.sleep(0)
    assert await users.check("alertmanager", "sesame", "10.0.0.2")
    done = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(one, BusyError) for one in done) == 190
    assert sum(one is False for one in done) == 10


async def test_a_wrong_password_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    real = bcrypt.checkpw

    def count(password: bytes, hashed: bytes) -> bool:
        nonlocal asked
        asked += 1
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", count)
    users = Users({"alertmanager": HASH})
    for _ in range(5):
        assert not await users.check("alertmanager", "wrong")
        assert not await users.check("", "")
    assert asked == 1


# Descriptors.


def test_connections_stay_below_the_limit() -> None:
    assert most_connections(8192) == 2000
    assert most_connections(256) == 256 - RESERVE
    assert most_connections(64) == 16


async def test_idle_connections_neither_stop_answers_nor_commands(tmp_path: Path) -> None:
    """366 half-open requests at 256 descriptors, which no soft limit can be raised above."""
    rules = "services: [{name: shop, target: {command: {restart: [touch, done]}}}]\nrunbooks: [{name: any, steps: [restart]}]"
    program = (
        "prlimit",
        "--nofile=256:256",
        *RealRemediator(tmp_path, prometheus="http://127.0.0.1:1", rules=rules).program,
    )
    async with RealRemediator(tmp_path, prometheus="http://127.0.0.1:1", rules=rules, program=program) as remediator:
        idle = []
        try:
            for _ in range(366):
                _, writer = await asyncio.open_connection("127.0.0.1", remediator.port)
                writer.write(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\n")
                idle.append(writer)
            assert remediator.process is not None
            folder = f"/proc/{remediator.process.pid}/fd"
            # Up to 64 are accepted at once, before others are closed.
            await until(lambda: len(os.listdir(folder)) < 256 - 40)
            answer = await asyncio.to_thread(remediator.request, "/api/v1/health")
            assert answer["version"]
            body = {"author": "ada", "comment": "c", "force": True}
            await asyncio.to_thread(remediator.request, "/api/v1/services/shop/heal", body)
            assert len(remediator.log) < 100_000
        finally:
            for writer in idle:
                writer.close()


SMALL = ("prlimit", "--nofile=256:256", sys.executable, "-m", "remediator")
HEALS = (
    "services: [{name: shop, target: {command: {restart: [touch, done]}}}]\nrunbooks: [{name: any, steps: [restart]}]"
)


async def test_bodies_that_never_end_give_way(tmp_path: Path) -> None:
    """A request whose body is under way is not idle, and yet one peer must not keep all others out by such."""
    async with RealRemediator(tmp_path, prometheus="http://127.0.0.1:1", rules=HEALS, program=SMALL) as remediator:
        slow = []
        try:
            for _ in range(130):
                _, writer = await asyncio.open_connection("127.0.0.1", remediator.port)
                writer.write(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
                await writer.drain()
                slow.append(writer)
            assert await asyncio.to_thread(remediator.request, "/webhook", ALERTS) is not None
            answer = await asyncio.to_thread(remediator.request, "/api/v1/health")
            assert answer["version"]
        finally:
            for writer in slow:
                writer.close()


async def test_handshakes_that_never_end_leave_descriptors_for_commands(tmp_path: Path) -> None:
    subject = ("-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.pem", "-days", "2", "-nodes")
    argv = (part("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", *subject)
    subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}")
    flags = ["--web.config.file=web.yml"]
    remediator = RealRemediator(tmp_path, prometheus="http://127.0.0.1:1", rules=HEALS, program=SMALL, flags=flags)
    await asyncio.to_thread(remediator.start, ready=False)
    silent = []
    try:
        await until(lambda: "serves on" in remediator.log)
        assert remediator.process is not None
        folder = f"/proc/{remediator.process.pid}/fd"
        most = 0
        for _ in range(300):
            _, writer = await asyncio.open_connection("127.0.0.1", remediator.port)
            silent.append(writer)
            most = max(most, len(os.listdir(folder)))
        # Up to 64 are accepted at once, before the last ones are refused; some are left for commands all the same.
        assert 100 < most < 256 - 8
    finally:
        for writer in silent:
            writer.close()
        await asyncio.to_thread(remediator.stop)


def test_the_soft_limit_is_raised() -> None:
    program = (
        "import resource; from remediator.web.connections import raise_limit;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096)); print(raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "4096 (4096, 4096)"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM])
async def test_a_command_without_resources_is_not_a_failed_step(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def popen(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(command, "_PAUSE", 0.01)
    monkeypatch.setattr(command.subprocess, "Popen", popen)
    result = await run_command(Call(argv=("true",)), Supervisor())
    assert result.outcome is Outcome.NOT_STARTED
    assert os.strerror(number) in result.text


async def test_no_descriptor_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_PAUSE", 0.01)
    supervisor = Supervisor()
    before = len(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    outcomes = set()
    try:
        for more in range(12):
            resource.setrlimit(resource.RLIMIT_NOFILE, (before - 1 + more, hard))
            outcomes.add((await run_command(Call(argv=("true",)), supervisor)).outcome)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert outcomes <= {Outcome.NOT_STARTED, Outcome.SUCCEEDED}
    assert Outcome.NOT_STARTED in outcomes
    await supervisor.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_the_same_step_is_tried_again() -> None:
    steps = (Step("restart", "restart", ActionSpec(run=("true",))), Step("rollback", "rollback"))
    plan = Plan(Service("shop"), Runbook("any", steps))

    def runs(*outcomes: Outcome) -> tuple[StepRun, ...]:
        return tuple(
            StepRun(n, 1, "shop", "any", 0, n, "restart", 1.0 * n, 2.0 * n, 1.5 * n, outcome)
            for n, outcome in enumerate(outcomes, 1)
        )

    def following(*outcomes: Outcome) -> tuple[int, int]:
        incident = Incident(1, "shop", "any", 0.0, Health.FAILED, "", plan, {}, runs=runs(*outcomes))
        found = find_next_step(incident)
        assert found is not None
        return found.index, found.attempt

    assert following(Outcome.NOT_STARTED) == (0, 2)
    assert following(Outcome.NOT_STARTED, Outcome.NOT_STARTED) == (0, 3)
    assert following(Outcome.NOT_STARTED, Outcome.FAILED) == (1, 1)

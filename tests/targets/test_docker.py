"""The targets docker, compose and swarm with a private daemon of Docker."""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from real.docker import IMAGE, RealDocker
from real.prometheus import free_port, in_thread, part, until
from real.sshd import RealSshd

from remediator.model.action import Outcome, Result

Do = Callable[..., Awaitable[Result]]


@pytest.fixture(scope="module")
def docker() -> Iterator[RealDocker]:
    with RealDocker() as running:
        yield running


async def test_docker(do: Do, docker: RealDocker) -> None:
    def state(what: str) -> str:
        return docker.run("inspect", "--format", f"{{{{ .State.{what} }}}}", "web")

    docker.run("run", "-d", "--network=none", "--name=web", IMAGE)
    before = state("StartedAt")
    result = await do("docker", "restart", host=docker.host)
    assert result == Result(Outcome.SUCCEEDED, "exited with 0", 0, "web\n")
    assert state("StartedAt") != before
    assert (await do("docker", "stop", host=docker.host)).outcome is Outcome.SUCCEEDED
    assert state("Status") == "exited"
    assert (await do("docker", "start", host=docker.host)).outcome is Outcome.SUCCEEDED
    assert state("Status") == "running"

    evidence = await do("docker", "diagnose", host=docker.host)
    assert evidence.outcome is Outcome.SUCCEEDED
    assert '"Status":"running"' in evidence.output
    assert "serving" in evidence.output

    missing = await do("docker", "restart", host=docker.host, container="no-such")
    assert missing.outcome is Outcome.FAILED
    assert "No such container: no-such" in missing.output


def compose_command(docker: RealDocker) -> str:
    """`docker compose` where the plugin is, otherwise the older program."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return "docker compose"
    part("docker-compose", "docker-compose")
    return "docker-compose"


async def test_compose(do: Do, docker: RealDocker, tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text(
        f"version: '2.4'\nservices:\n  web: {{image: '{IMAGE}', network_mode: none}}\n"
        f"  other: {{image: '{IMAGE}', network_mode: none}}\n"
    )
    params = {"file": str(file), "project": "shop", "host": docker.host, "command": compose_command(docker)}

    def containers(service: str = "web") -> set[str]:
        labels = ("com.docker.compose.project=shop", f"com.docker.compose.service={service}")
        return set(docker.run("ps", "-q", *(f"--filter=label={label}" for label in labels)).split())

    assert (await do("compose", "up", **params)).outcome is Outcome.SUCCEEDED
    [first] = containers()
    started = docker.run("inspect", "--format", "{{ .State.StartedAt }}", first)
    result = await do("compose", "restart", **params)
    assert result.outcome is Outcome.SUCCEEDED, result
    assert docker.run("inspect", "--format", "{{ .State.StartedAt }}", first) != started

    result = await do("compose", "scale", {"by": 2, "max": 3}, **params)
    assert result.outcome is Outcome.SUCCEEDED, result
    assert result.text == "scale from 1 to 3: exited with 0"
    assert len(containers()) == 3
    assert first in containers()
    assert await do("compose", "scale", {"by": 1, "max": 3}, **params) == Result(Outcome.SKIPPED, "already at max 3")
    assert (await do("compose", "scale", {"to": 1}, **params)).text == "scale from 3 to 1: exited with 0"
    await until(in_thread(lambda: len(containers()) == 1))
    assert containers("other") == set()

    evidence = await do("compose", "diagnose", **params)
    assert evidence.outcome is Outcome.SUCCEEDED
    assert "serving" in evidence.output

    assert (await do("compose", "stop", **params)).outcome is Outcome.SUCCEEDED
    assert containers() == set()
    missing = await do("compose", "scale", {"by": 1}, **params, service="no-such")
    assert missing.outcome is Outcome.FAILED
    assert missing.text.startswith("cannot scale web: the command for the present count exited with")


async def test_docker_over_ssh(do: Do, docker: RealDocker, sshd: RealSshd) -> None:
    docker.run("run", "-d", "--network=none", "--name=far", IMAGE)
    before = docker.run("inspect", "--format={{ .State.StartedAt }}", "far")
    result = await do("docker", "restart", container="far", host=docker.host, ssh=sshd.address)
    assert result == Result(Outcome.SUCCEEDED, "exited with 0", 0, "far\n")
    assert docker.run("inspect", "--format={{ .State.StartedAt }}", "far") != before
    evidence = await do("docker", "diagnose", container="far", host=docker.host, ssh=sshd.address)
    assert "serving" in evidence.output

    nobody = await do("docker", "restart", ssh=f"ssh://nobody@127.0.0.1:{sshd.port}")
    assert (nobody.outcome, nobody.exit_code) == (Outcome.FAILED, 255)
    assert "Permission denied" in nobody.output


@pytest.fixture
def swarm(docker: RealDocker) -> Iterator[RealDocker]:
    """The daemon as a swarm of one, with the service `web`."""
    docker.run(
        "swarm", "init", f"--listen-addr=127.0.0.1:{free_port()}", "--advertise-addr=127.0.0.1",
        "--data-path-addr=127.0.0.1",
    )  # fmt: skip
    docker.run("service", "create", "--quiet", "--no-resolve-image", "--stop-grace-period=1s", "--name=web", IMAGE)
    yield docker
    docker.run("swarm", "leave", "--force")


async def test_swarm(do: Do, swarm: RealDocker) -> None:
    def tasks() -> set[str]:
        return set(swarm.run("service", "ps", "--quiet", "--filter=desired-state=running", "web").split())

    before = tasks()
    assert len(before) == 1
    result = await do("swarm", "restart", host=swarm.host)
    assert result.outcome is Outcome.SUCCEEDED, result
    assert len(tasks()) == 1
    assert tasks().isdisjoint(before)

    result = await do("swarm", "scale", {"by": 2, "max": 3}, host=swarm.host)
    assert result.text == "scale from 1 to 3: exited with 0", result
    assert len(tasks()) == 3
    result = await do("swarm", "rollback", host=swarm.host)
    assert result.outcome is Outcome.SUCCEEDED, result
    assert len(tasks()) == 1

    evidence = await do("swarm", "diagnose", host=swarm.host)
    assert evidence.outcome is Outcome.SUCCEEDED, evidence
    assert "Running" in evidence.output

    missing = await do("swarm", "restart", host=swarm.host, service="no-such")
    assert missing.outcome is Outcome.FAILED
    assert "no such service: no-such" in missing.output.lower()

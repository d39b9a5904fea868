"""Every shipped target against the real thing: what it heals is really healed, and what it says is so."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from real.docker import IMAGE, RealDocker
from real.haproxy import RealHaproxy
from real.processes import alive
from real.prometheus import free_port, in_thread, part, until
from real.runit import RealRunit
from real.sshd import RealSshd
from real.supervisor import RealSupervisor
from real.systemd import RealSystemd

from remediator.actions import ActionSpec, Call, Outcome, Result
from remediator.actions.runner import Runner
from remediator.health import Sight
from remediator.perform import diagnose, perform
from remediator.prometheus import Answer
from remediator.rulebook import Plan, Runbook, Service, Step, TargetRef
from remediator.rulefile import shipped_targets
from remediator.template import LabelView

Do = Callable[..., Awaitable[Result]]


async def no_query(expr: str) -> Answer:
    return Answer(0.0, Sight.UNREACHABLE, error="there is no Prometheus")


@pytest.fixture
async def do() -> AsyncIterator[Do]:
    """Does one action of a target for the service `web`; `enter` goes in front of its commands, `actions` are the service's own."""
    runner = Runner()

    async def act(
        target: str,
        action: str,
        args: dict[str, Any] | None = None,
        enter: tuple[str, ...] = (),
        actions: dict[str, ActionSpec] | None = None,
        **params: str,
    ) -> Result:
        async def run(call: Call) -> Result:
            return await runner(msgspec.structs.replace(call, argv=(*enter, *call.argv)))

        labels = {"service": "web"}
        step = Step(action, action, args=args or {})
        plan = Plan(
            Service("web", labels, target=TargetRef(target, params, actions or {})),
            Runbook("test", (step,)),
            shipped_targets()[target],
        )
        context = {"labels": LabelView(labels), "service": {"name": "web", "labels": LabelView(labels)}}
        result, _ = await (
            diagnose(plan, context, run) if action == "diagnose" else perform(plan, step, context, run, no_query)
        )
        return result

    yield act
    await runner.close()


# systemd: in a container whose first process it is.

WEB_UNIT = "[Service]\nExecStart=sh -c 'echo serving; exec sleep infinity'\nExecReload=touch /test/reloaded\n"
CRASHING_UNIT = (
    "[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=2\n"
    "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=test -e /test/mended\n"
)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[RealSystemd]:
    with RealSystemd(tmp_path, {"web.service": WEB_UNIT, "crashing.service": CRASHING_UNIT}) as running:
        yield running


async def test_systemd(do: Do, systemd: RealSystemd, tmp_path: Path) -> None:
    def show(prop: str, unit: str = "web.service") -> str:
        return systemd.inside("systemctl", "show", "--value", f"--property={prop}", unit)

    assert (await do("systemd", "start", enter=systemd.enter)).outcome is Outcome.SUCCEEDED
    before = show("MainPID")
    result = await do("systemd", "restart", enter=systemd.enter)
    assert result == Result(Outcome.SUCCEEDED, "exited with 0", 0, "")
    assert show("MainPID") not in (before, "0")
    assert show("ActiveState") == "active"

    assert (await do("systemd", "reload", enter=systemd.enter)).outcome is Outcome.SUCCEEDED
    assert (tmp_path / "reloaded").exists()

    evidence = await do("systemd", "diagnose", enter=systemd.enter)
    assert evidence.outcome is Outcome.SUCCEEDED
    assert "active (running)" in evidence.output

    assert (await do("systemd", "stop", enter=systemd.enter)).outcome is Outcome.SUCCEEDED
    assert show("ActiveState") == "inactive"

    missing = await do("systemd", "restart", enter=systemd.enter, unit="no-such.service")
    assert missing.outcome is Outcome.FAILED
    assert "no-such.service not found" in missing.output


async def test_systemd_restarts_a_unit_that_crashed_too_often(do: Do, systemd: RealSystemd, tmp_path: Path) -> None:
    for _ in range(3):
        systemd.inside("systemctl", "start", "crashing.service")
    (tmp_path / "mended").touch()
    refused = subprocess.run(
        [*systemd.enter, "systemctl", "restart", "crashing.service"], capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0, "systemd no longer refuses what crashed too often: this test proves nothing"
    result = await do("systemd", "restart", enter=systemd.enter, unit="crashing.service")
    assert result.outcome is Outcome.SUCCEEDED, result
    assert systemd.inside("systemctl", "is-active", "crashing.service") == "active"


# runit: without being the first process.


async def test_runit(do: Do, tmp_path: Path) -> None:
    with RealRunit(tmp_path / "service", {"web": "exec sleep infinity"}) as runit:
        folder = str(runit.folder)
        before = runit.pid("web")
        assert alive(before)
        result = await do("runit", "restart", dir=folder)
        assert result.outcome is Outcome.SUCCEEDED, result
        assert result.output.startswith("ok: run: ")
        # sv counts in whole seconds: to it, what began in this very one has been restarted already.
        await until(lambda: not alive(before))
        await until(lambda: alive(runit.pid("web")))

        evidence = await do("runit", "diagnose", dir=folder)
        assert evidence.outcome is Outcome.SUCCEEDED
        assert evidence.output.startswith("run: ")
        assert (await do("runit", "stop", dir=folder)).outcome is Outcome.SUCCEEDED
        assert runit.pid("web") == 0
        assert (await do("runit", "restart", dir=folder)).outcome is Outcome.SUCCEEDED
        assert alive(runit.pid("web"))
        assert (await do("runit", "stop", dir=folder)).outcome is Outcome.SUCCEEDED
        assert (await do("runit", "start", dir=folder)).outcome is Outcome.SUCCEEDED
        assert alive(runit.pid("web"))

        missing = await do("runit", "restart", dir=folder, name="no-such")
        assert missing.outcome is Outcome.FAILED
        assert "no-such" in missing.output
        outside = await do("runit", "restart", dir=folder, name="../service/web")
        assert outside.outcome is Outcome.FAILED
        assert outside.output == "this is no name of a service: ../service/web\n"


# supervisor: here, and over a real ssh.


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealSupervisor]:
    with RealSupervisor(tmp_path, {"web": "sh -c 'echo serving; echo trouble >&2; exec sleep infinity'"}) as running:
        monkeypatch.setenv("PATH", f"{running.bin}{os.pathsep}{os.environ['PATH']}")
        yield running


async def test_supervisor(do: Do, supervisor: RealSupervisor) -> None:
    config = str(supervisor.config)
    before = supervisor.pid("web")
    assert alive(before)
    result = await do("supervisor", "restart", config=config)
    assert result.outcome is Outcome.SUCCEEDED
    assert result.output == "web: stopped\nweb: started\n"
    assert not alive(before)
    assert alive(supervisor.pid("web"))

    evidence = await do("supervisor", "diagnose", config=config)
    assert evidence.outcome is Outcome.SUCCEEDED
    assert "RUNNING" in evidence.output
    assert "serving" in evidence.output
    assert "trouble" in evidence.output

    assert (await do("supervisor", "stop", config=config)).outcome is Outcome.SUCCEEDED
    assert supervisor.pid("web") == 0
    restarted = await do("supervisor", "restart", config=config)
    assert restarted.outcome is Outcome.SUCCEEDED, restarted
    assert alive(supervisor.pid("web"))
    assert (await do("supervisor", "stop", config=config)).outcome is Outcome.SUCCEEDED
    assert (
        await do("supervisor", "start", server=f"unix://{supervisor.config.parent}/s.sock")
    ).outcome is Outcome.SUCCEEDED
    assert alive(supervisor.pid("web"))

    missing = await do("supervisor", "restart", config=config, program="no-such")
    assert missing.outcome is Outcome.FAILED
    assert "no such process" in missing.output


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealSshd]:
    """A real ssh server on loopback; `ssh` on the PATH knows its keys."""
    with RealSshd(tmp_path / "ssh") as running:
        monkeypatch.setenv("PATH", f"{running.bin}{os.pathsep}{os.environ['PATH']}")
        yield running


async def test_a_target_over_ssh(do: Do, supervisor: RealSupervisor, sshd: RealSshd, tmp_path: Path) -> None:
    config = str(supervisor.config)
    before = supervisor.pid("web")
    result = await do("supervisor", "restart", config=config, host=sshd.address)
    assert result.outcome is Outcome.SUCCEEDED, result
    assert not alive(before)
    assert alive(supervisor.pid("web"))

    witness = tmp_path / "witness"
    evil = f"$(touch {witness})'; touch {witness}; '\\'; touch {witness}; '"
    failed = await do("supervisor", "restart", config=config, host=sshd.address, program=evil)
    assert failed.outcome is Outcome.FAILED
    assert "no such process" in failed.output
    assert not witness.exists()


async def test_any_target_over_ssh(do: Do, docker: RealDocker, sshd: RealSshd) -> None:
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


async def test_what_takes_too_long_over_ssh_is_ended_there_too(do: Do, sshd: RealSshd, tmp_path: Path) -> None:
    hanging = ActionSpec(shell=f"sleep infinity & echo $! > {tmp_path}/pid; wait", timeout=4.0)
    result = await do("command", "hang", actions={"hang": hanging}, ssh=sshd.address)
    assert result.outcome is Outcome.TIMED_OUT
    left = int((tmp_path / "pid").read_text())
    await until(lambda: not alive(left))


async def test_what_a_command_over_ssh_leaves_running_is_left_alone(do: Do, sshd: RealSshd, tmp_path: Path) -> None:
    starting = ActionSpec(shell=f"sleep infinity >/dev/null 2>&1 & echo $! > {tmp_path}/pid", timeout=30.0)
    result = await do("command", "start", actions={"start": starting}, ssh=sshd.address)
    assert result.outcome is Outcome.SUCCEEDED
    left = int((tmp_path / "pid").read_text())
    assert alive(left)
    os.kill(left, signal.SIGKILL)


async def test_facts_go_along_where_ssh_is_told_to_send_them(do: Do, sshd: RealSshd) -> None:
    told = ActionSpec(shell='echo "heal $REMEDIATOR_SERVICE"')
    result = await do("command", "tell", actions={"tell": told}, ssh=sshd.address)
    assert result.output == "heal web\n"


# docker and compose: with a private daemon.


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


# kubernetes: where there is a cluster. kubectl itself is real everywhere.


def needs_kubectl() -> None:
    """The one part that may be missing in CI too."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: apt-get install kubernetes-client")


async def test_kubernetes(do: Do) -> None:
    needs_kubectl()
    if subprocess.run(["kubectl", "--request-timeout=3s", "version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no Kubernetes cluster")
    params = {"namespace": "remediator-test", "deployment": "web"}

    def kubectl(*words: str) -> str:
        command = ["kubectl", "--namespace=remediator-test", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    kubectl("create", "namespace", "remediator-test")
    try:
        kubectl("create", "deployment", "web", "--image=registry.k8s.io/pause:3.9")
        assert (await do("kubernetes", "restart", **params)).outcome is Outcome.SUCCEEDED
        assert (
            await do("kubernetes", "scale", {"by": 1, "max": 2}, **params)
        ).text == "scale from 1 to 2: exited with 0"
        assert kubectl("get", "deployment/web", "--output=jsonpath={.spec.replicas}") == "2"
        assert (await do("kubernetes", "scale", {"by": 1, "max": 2}, **params)).text == "already at max 2"
        assert (await do("kubernetes", "rollback", **params)).outcome is Outcome.SUCCEEDED
        assert "web" in (await do("kubernetes", "diagnose", **params)).output
    finally:
        kubectl("delete", "namespace", "remediator-test", "--wait=false")


async def test_kubectl_understands_the_commands(do: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a cluster kubectl gets as far as looking for one: it takes the commands, empty options included."""
    needs_kubectl()
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(
        "{apiVersion: v1, kind: Config, current-context: here, contexts: [{name: here, context: {cluster: none}}],"
        " clusters: [{name: none, cluster: {server: 'http://127.0.0.1:1'}}]}"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    for action, args in (("restart", {}), ("rollback", {}), ("scale", {"to": 2}), ("diagnose", {})):
        result = await do("kubernetes", action, args, deployment="web")
        assert result.outcome is Outcome.FAILED
        assert "The connection to the server 127.0.0.1:1 was refused" in result.output
        named = await do("kubernetes", action, args, context="no-such", deployment="web")
        assert "no-such" in named.output


# haproxy: a server in and out of rotation.


async def test_haproxy(do: Do, tmp_path: Path) -> None:
    with RealHaproxy(tmp_path) as haproxy:
        given = {"backend": "web", "server": "web1", "socket": str(haproxy.socket)}
        await until(in_thread(lambda: haproxy.status() == 200))
        assert await do("haproxy", "circuit_break", **given) == Result(Outcome.SUCCEEDED, "exited with 0", 0, "")
        await until(in_thread(lambda: haproxy.status() == 503))
        evidence = await do("haproxy", "diagnose", **given)
        assert " web1 " in evidence.output
        assert (await do("haproxy", "restore", **given)).outcome is Outcome.SUCCEEDED
        await until(in_thread(lambda: haproxy.status() == 200))
        assert (await do("haproxy", "drain", **given)).outcome is Outcome.SUCCEEDED
        await until(in_thread(lambda: haproxy.status() == 503))

        wrong = await do("haproxy", "restore", **{**given, "server": "web9"})
        assert (wrong.outcome, wrong.output) == (Outcome.FAILED, "No such server.\n")
        hostile = await do("haproxy", "restore", **{**given, "server": "web1 state maint; shutdown sessions"})
        assert hostile.outcome is Outcome.FAILED
        assert hostile.output.startswith("this is no name of a backend or server: ")
        missing = await do("haproxy", "restore", **{**given, "socket": str(tmp_path / "none.sock")})
        assert missing.outcome is Outcome.FAILED


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
    assert "no-such not found" in missing.output


# ansible: a playbook that writes down on this machine what it was told.

PLAYBOOK = """
- hosts: all
  connection: local
  gather_facts: false
  vars: {ansible_python_interpreter: /usr/bin/python3}
  tasks:
    - ansible.builtin.copy:
        dest: "%s/told-{{ inventory_hostname }}"
        content: "{{ remediator_action }} {{ remediator_service }}"
    - ansible.builtin.fail: {msg: no rollback today}
      when: remediator_action == 'rollback'
"""


async def test_ansible(do: Do, tmp_path: Path) -> None:
    part("ansible-playbook", "ansible-core")
    playbook, inventory = tmp_path / "heal.yml", tmp_path / "hosts"
    playbook.write_text(PLAYBOOK % tmp_path)
    inventory.write_text("web1\nweb2\n")
    given = {"playbook": str(playbook), "inventory": str(inventory)}

    evil = """it's $(touch x) {"y": } """
    result = await do("ansible", "restart", **given, limit="web2", service=evil)
    assert result.outcome is Outcome.SUCCEEDED, result
    assert (tmp_path / "told-web2").read_text() == f"restart {evil}"
    assert not (tmp_path / "told-web1").exists()

    for template in ("{{ lookup('pipe', 'touch x') }}", "{% if x %}", "{# x #}"):
        result = await do("ansible", "restart", **given, service=f"{{% raw %}}{template}{{% endraw %}}")
        assert result.outcome is Outcome.FAILED
        assert result.output == f"Ansible would take this for a template: {template}\n"

    result = await do("ansible", "rollback", **given)
    assert result.outcome is Outcome.FAILED
    assert "no rollback today" in result.output
    assert (tmp_path / "told-web1").read_text() == "rollback web"

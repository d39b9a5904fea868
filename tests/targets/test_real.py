"""Targets against the real thing: what is healed is really healed, and what is said is so."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from real.haproxy import RealHaproxy
from real.processes import alive
from real.prometheus import in_thread, part, until
from real.runit import RealRunit
from real.sshd import RealSshd
from real.supervisor import RealSupervisor
from real.systemd import RealSystemd

from remediator.model.action import ActionSpec, Outcome, Result

Do = Callable[..., Awaitable[Result]]


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

        async def runs() -> bool:
            evidence = await do("runit", "diagnose", dir=folder)
            assert evidence.outcome is Outcome.SUCCEEDED
            return evidence.output.startswith("run: ")

        await until(runs)
        assert (await do("runit", "stop", dir=folder)).outcome is Outcome.SUCCEEDED
        assert runit.pid("web") == 0
        assert (await do("runit", "restart", dir=folder)).outcome is Outcome.SUCCEEDED
        await until(lambda: alive(runit.pid("web")))
        assert (await do("runit", "stop", dir=folder)).outcome is Outcome.SUCCEEDED
        assert (await do("runit", "start", dir=folder)).outcome is Outcome.SUCCEEDED
        await until(lambda: alive(runit.pid("web")))

        missing = await do("runit", "restart", dir=folder, name="no-such")
        assert missing.outcome is Outcome.FAILED
        assert "no-such" in missing.output
        outside = await do("runit", "restart", dir=folder, name="../service/web")
        assert outside.outcome is Outcome.REFUSED


# supervisor: here, and over ssh.


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


async def test_a_target_over_ssh(do: Do, supervisor: RealSupervisor, sshd: RealSshd, tmp_path: Path) -> None:
    config = str(supervisor.config)
    before = supervisor.pid("web")
    result = await do("supervisor", "restart", config=config, host=sshd.address)
    assert result.outcome is Outcome.SUCCEEDED, result
    assert not alive(before)
    assert alive(supervisor.pid("web"))

    witness = tmp_path / "witness"
    evil = f"$(touch {witness})'; touch {witness}; '\\'; touch {witness}; '"
    refused = await do("supervisor", "restart", config=config, host=sshd.address, program=evil)
    assert refused.outcome is Outcome.REFUSED
    failed = await do("supervisor", "restart", config=evil, host=sshd.address)
    assert failed.outcome is Outcome.FAILED
    assert "could not find config file" in failed.output
    assert not witness.exists()


# ssh itself.


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
        assert hostile.outcome is Outcome.REFUSED
        missing = await do("haproxy", "restore", **{**given, "socket": str(tmp_path / "none.sock")})
        assert missing.outcome is Outcome.FAILED


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

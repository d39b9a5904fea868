"""The systemd unit on real systemd: its sandbox, the rights that polkit and sudo give, readiness and the watchdog."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from real.prometheus import part
from real.systemd import RealSystemd

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
SYSTEMD = ROOT / "examples/systemd"
UNIT = (SYSTEMD / "remediator.service").read_text()
PYTHON = Path(os.path.realpath(sys.executable))
"""The interpreter without its virtual environment, whose folder the service's user may not enter."""
CONFIG = """\
prometheus: {url: 'http://127.0.0.1:9'}
rule_files: ['/etc/remediator/rules.yml']
storage: {url: 'sqlite:////var/lib/remediator/remediator.db'}
"""
CHECKOUT = "[Service]\nExecStart=/bin/sleep infinity\n"


def runnable(unit: str, command: str) -> str:
    """The unit with another command, run by the interpreter of these tests."""
    found = re.sub(
        r"(?m)^ExecStart=.*$",
        f"ExecStart={command}\nEnvironment=PYTHONPATH=/opt/remediator:/opt/site LD_LIBRARY_PATH=/opt/python/lib",
        unit,
    )
    return found.replace("network-online.target", "basic.target")


def serving(watchdog: str = "60s") -> str:
    command = f"/opt/python/bin/{PYTHON.name} -m remediator serve --config.file=/etc/remediator/remediator.yml"
    return runnable(UNIT, command).replace("WatchdogSec=60s", f"WatchdogSec={watchdog}")


def once(command: str, more: str = "") -> str:
    """A command in the sandbox of the unit, by its user."""
    text = runnable(UNIT, command).replace("Type=notify", "Type=oneshot").replace("Restart=always", "Restart=no")
    return text.replace("[Install]", f"{more}\n[Install]")


def until(true: Callable[[], bool], within: float = 60.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it does not become true"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSystemd]:
    folder = tmp_path_factory.mktemp("systemd")
    folder.chmod(0o755)
    sudo = (SYSTEMD / "sudo.conf").read_text().partition("[Service]")[2]
    units = {
        "remediator.service": serving(),
        "impatient.service": serving("4s"),
        "checkout.service": CHECKOUT,
        "other.service": CHECKOUT,
        "may-restart.service": once("/usr/bin/systemctl --no-ask-password restart checkout.service"),
        "may-not-stop.service": once("/usr/bin/systemctl --no-ask-password stop checkout.service"),
        "may-not-restart-others.service": once("/usr/bin/systemctl --no-ask-password restart other.service"),
        "sudo-may.service": once("/usr/bin/sudo -n /usr/bin/systemctl restart checkout.service", sudo),
        "sudo-may-not.service": once("/usr/bin/sudo -n /usr/bin/systemctl restart other.service", sudo),
        "sudo-may-not-more.service": once("/usr/bin/sudo -n /usr/bin/systemctl restart checkout.service other", sudo),
        "writes.service": once("/bin/sh -c 'touch /var/lib/remediator/mine && ! touch /etc/mine && ! ls /root'"),
    }
    files = {
        "/etc/sysusers.d/remediator.conf": 'u remediator - "remediator" /var/lib/remediator\n',
        "/etc/remediator/remediator.yml": CONFIG,
        "/etc/remediator/rules.yml": "services: [{name: checkout}]\n",
        "/etc/polkit-1/rules.d/50-remediator.rules": (SYSTEMD / "50-remediator.rules").read_text(),
        # The container begins with an empty /etc.
        "/etc/pam.d/sudo": "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
        "/etc/sudoers": "root ALL=(ALL:ALL) ALL\n" + (SYSTEMD / "remediator.sudoers").read_text(),
    }
    site = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    binds = {PYTHON.parents[1]: "/opt/python", ROOT: "/opt/remediator", site: "/opt/site"}
    with RealSystemd(folder, units, files=files, binds=binds) as systemd:
        yield systemd


def result(machine: RealSystemd, unit: str) -> str:
    machine.inside("systemctl", "start", unit)
    return machine.inside("systemctl", "show", "--property=Result,ExecMainStatus", "--value", unit)


def test_the_unit_is_confined() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(SYSTEMD / "remediator.service")]
    part("systemd-analyze", "systemd")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for remediator.service: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) < 3


def test_the_sudoers_file_is_one() -> None:
    command = [part("visudo", "sudo"), "--check", "--file", str(SYSTEMD / "remediator.sudoers")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_sandbox_lets_write(machine: RealSystemd) -> None:
    assert result(machine, "writes.service") == "success\n0"


def test_polkit_lets_named_units_be_restarted_and_nothing_else(machine: RealSystemd) -> None:
    part("pkaction", "polkitd")
    machine.inside("systemctl", "start", "checkout.service", "other.service")
    before = {
        name: machine.inside("systemctl", "show", "--property=MainPID", "--value", name)
        for name in ("checkout", "other")
    }
    assert result(machine, "may-restart.service") == "success\n0"
    assert machine.inside("systemctl", "show", "--property=MainPID", "--value", "checkout") != before["checkout"]
    for unit in ("may-not-stop.service", "may-not-restart-others.service"):
        assert result(machine, unit).startswith("exit-code")
    assert machine.inside("systemctl", "is-active", "checkout.service") == "active"
    assert machine.inside("systemctl", "show", "--property=MainPID", "--value", "other") == before["other"]


def test_sudo_lets_named_commands_be_run_and_nothing_else(machine: RealSystemd) -> None:
    part("sudo", "sudo")
    machine.inside("systemctl", "start", "checkout.service", "other.service")
    other = machine.inside("systemctl", "show", "--property=MainPID", "--value", "other")
    assert result(machine, "sudo-may.service") == "success\n0", machine.inside(
        "journalctl", "-u", "sudo-may", "--no-pager"
    )
    for unit in ("sudo-may-not.service", "sudo-may-not-more.service"):
        assert result(machine, unit).startswith("exit-code")
    assert machine.inside("systemctl", "show", "--property=MainPID", "--value", "other") == other


def test_it_says_when_it_is_ready_and_stops_in_order(machine: RealSystemd) -> None:
    # With Type=notify the start ends when it is ready.
    machine.inside("systemctl", "start", "remediator.service")
    state = machine.inside("systemctl", "is-active", "remediator.service")
    assert state == "active", machine.inside("journalctl", "-u", "remediator", "--no-pager")
    machine.inside("systemctl", "reload", "remediator.service")
    machine.inside("systemctl", "stop", "remediator.service")
    assert machine.inside("systemctl", "show", "--property=Result", "--value", "remediator.service") == "success"


def test_one_that_stands_still_is_started_again(machine: RealSystemd) -> None:
    def pid() -> str:
        return machine.inside("systemctl", "show", "--property=MainPID", "--value", "impatient.service")

    machine.inside("systemctl", "start", "impatient.service")
    first = pid()
    assert first != "0"
    # Left alone it lives on, longer than its watchdog waits.
    time.sleep(6)
    assert pid() == first
    machine.inside("kill", "-STOP", first)
    until(lambda: pid() not in ("0", first))
    assert machine.inside("systemctl", "show", "--property=NRestarts", "--value", "impatient.service") == "1"
    machine.inside("systemctl", "stop", "impatient.service")

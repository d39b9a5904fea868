"""The demo's services do what their faults say, and restart, rollback and scale really mend them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from real.prometheus import in_thread, until

from remediator.cli.demo.control_client import ask
from remediator.cli.demo.control_server import ControlServer
from remediator.cli.demo.processes import DemoError, DemoServices, ServiceSpec, _stop
from remediator.cli.demo.service import FaultKind


@pytest.fixture
def services(tmp_path: Path) -> Iterator[DemoServices]:
    with (
        DemoServices(tmp_path, (ServiceSpec("ledger"), ServiceSpec("shop", depends_on="ledger"))) as services,
        ControlServer(services),
    ):
        yield services


def order(services: DemoServices, *words: str) -> subprocess.CompletedProcess[str]:
    """Give an order as a rule file does."""
    return subprocess.run([services.folder / "fleet", *words], capture_output=True, text=True, timeout=120)


def ports(services: DemoServices, name: str) -> list[int]:
    """Where Prometheus is told to scrape the service."""
    [group] = json.loads((services.folder / "targets" / f"{name}.json").read_text())
    assert group["labels"] == {"service": name, "tier": "web"}
    return [int(target.removeprefix("127.0.0.1:")) for target in group["targets"]]


def sample(services: DemoServices, service: str, name: str, replica: int = 0, **labels: str) -> float:
    """The value of a series as scraped."""
    with urllib.request.urlopen(
        f"http://127.0.0.1:{ports(services, service)[replica]}/metrics", timeout=120
    ) as response:
        text = response.read().decode()
    return next(
        found.value
        for family in text_string_to_metric_families(text)
        for found in family.samples
        if found.name == name and labels.items() <= found.labels.items()
    )


def requests(services: DemoServices, service: str, code: str) -> float:
    return sample(services, service, "http_requests_total", code=code)


async def grows(services: DemoServices, service: str, code: str, by: int = 5) -> None:
    """Return when that many more requests were answered with the code."""
    before = requests(services, service, code)
    await until(in_thread(lambda: requests(services, service, code) >= before + by))


async def test_a_healthy_service_answers_all_its_requests(services: DemoServices) -> None:
    await grows(services, "shop", "200")
    assert requests(services, "shop", "500") == requests(services, "shop", "503") == 0
    assert sample(services, "shop", "service_utilisation_ratio") == 0.5
    assert sample(services, "shop", "service_info", release="2.0.0") == 1


async def test_a_restart_ends_injected_errors(services: DemoServices) -> None:
    assert order(services, "inject", "ledger", "errors").returncode == 0
    await grows(services, "ledger", "500")
    done = order(services, "restart", "ledger")
    assert (done.returncode, done.stdout) == (0, "restarted 1 replica of ledger at release 2.0.0\n")
    await grows(services, "ledger", "200")
    assert requests(services, "ledger", "500") == 0


async def test_a_service_fails_while_the_one_it_depends_on_does(services: DemoServices) -> None:
    services.inject("ledger", FaultKind.ERRORS)
    await grows(services, "shop", "500")
    services.crash("ledger")
    await grows(services, "shop", "500")
    services.restart("ledger")
    failed = requests(services, "shop", "500")
    await grows(services, "shop", "200", by=20)
    # A request that was under way during the restart may still have failed.
    assert requests(services, "shop", "500") <= failed + 2


async def test_a_slow_service_takes_longer(services: DemoServices) -> None:
    services.inject("ledger", FaultKind.SLOW)
    await until(in_thread(lambda: sample(services, "ledger", "http_request_duration_seconds_sum") > 10))
    quick = sample(services, "ledger", "http_request_duration_seconds_bucket", le="0.5")
    await grows(services, "ledger", "200")
    assert sample(services, "ledger", "http_request_duration_seconds_bucket", le="0.5") == quick


async def test_a_leak_takes_memory_and_a_restart_gives_it_back(services: DemoServices) -> None:
    before = sample(services, "ledger", "process_resident_memory_bytes")
    services.inject("ledger", FaultKind.LEAK)
    await until(in_thread(lambda: sample(services, "ledger", "process_resident_memory_bytes") > before + 20e6))
    services.restart("ledger")
    assert sample(services, "ledger", "process_resident_memory_bytes") < before + 10e6


async def test_a_crashed_service_is_gone_until_it_is_restarted(services: DemoServices) -> None:
    where = ports(services, "ledger")
    services.crash("ledger")
    with pytest.raises(urllib.error.URLError):
        requests(services, "ledger", "200")
    assert "ended with -9" in order(services, "diagnose", "ledger").stdout
    assert order(services, "restart", "ledger").returncode == 0
    await grows(services, "ledger", "200")
    assert ports(services, "ledger") == where


def test_a_restart_leaves_no_gap(services: DemoServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape in between would take it for a crash."""
    before, seen, stop = services.pids[0], [], _stop

    def look_and_stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
        processes = list(processes)
        seen.append([(process.pid, process.poll(), services.pids[0]) for process in processes])
        stop(processes)

    with monkeypatch.context() as patched:
        patched.setattr("remediator.cli.demo.processes._stop", look_and_stop)
        services.restart("ledger")
    assert seen == [[(before, None, services.pids[0])]]
    assert services.pids[0] != before
    assert requests(services, "ledger", "500") == 0


async def test_only_a_rollback_mends_a_bad_release(services: DemoServices) -> None:
    services.deploy("ledger", "2.1.0")
    await grows(services, "ledger", "500")
    services.restart("ledger")
    await grows(services, "ledger", "500")
    done = order(services, "rollback", "ledger")
    assert done.stdout == "rolled ledger back from release 2.1.0 to 2.0.0\n"
    await grows(services, "ledger", "200", by=20)
    assert requests(services, "ledger", "500") == 0
    assert order(services, "rollback", "ledger").stderr == "cannot roll ledger back: 2.0.0 is its first release\n"


async def test_only_more_replicas_mend_an_overload(services: DemoServices) -> None:
    services.demand("ledger", 3)
    await until(in_thread(lambda: sample(services, "ledger", "service_utilisation_ratio") == 1.5))
    await grows(services, "ledger", "503")
    services.restart("ledger")
    await grows(services, "ledger", "503")
    assert order(services, "scale", "ledger", "3").stdout == "scaled ledger from 1 to 3 replicas\n"
    assert order(services, "replicas", "ledger").stdout == "3\n"
    assert len(ports(services, "ledger")) == 3
    await until(in_thread(lambda: sample(services, "ledger", "service_utilisation_ratio") == 0.5))
    await until(in_thread(lambda: sample(services, "ledger", "service_utilisation_ratio", replica=2) == 0.5))
    shed = requests(services, "ledger", "503")
    await grows(services, "ledger", "200", by=20)
    assert requests(services, "ledger", "503") == shed
    services.scale("ledger", 1)
    assert len(ports(services, "ledger")) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["restart", "nobody"], "cannot find service nobody: there are ledger, shop"),
        (["scale", "shop", "9"], "cannot scale shop to 9: it can have 1 to 8 replicas"),
        (["scale", "shop", "many"], "cannot scale shop many: invalid literal for int() with base 10: 'many'"),
        (["inject", "shop", "rust"], "cannot inject shop rust: 'rust' is not a valid FaultKind"),
        (["paint", "shop"], "cannot paint shop: there is no such order"),
    ],
)
def test_orders_that_cannot_be_carried_out(services: DemoServices, words: list[str], sentence: str) -> None:
    done = order(services, *words)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{sentence}\n")


def test_nobody_there_to_ask(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "remediator.cli.demo.control_client", "--folder", str(tmp_path), "restart", "shop"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith(f"cannot reach the demo in {tmp_path}: ")


def test_a_closed_fleet_starts_nothing_any_more(tmp_path: Path) -> None:
    with DemoServices(tmp_path, [ServiceSpec("shop")]) as services:
        pass
    with pytest.raises(DemoError, match="cannot start shop: the demo is ending"):
        services.scale("shop", 1)


def test_a_service_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr("remediator.cli.demo.processes.free_port", lambda: taken.getsockname()[1])
        with pytest.raises(DemoError, match=r"cannot start shop: OSError: .*Address already in use"):
            DemoServices(tmp_path, [ServiceSpec("shop")]).__enter__()


async def test_replicas_end_with_whoever_keeps_them(tmp_path: Path) -> None:
    supervisor = """
import sys
from pathlib import Path
from remediator.cli.demo.processes import DemoServices, ServiceSpec
with DemoServices(Path(sys.argv[1]), [ServiceSpec("shop", replicas=2)]) as services:
    print(*services.pids, flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", supervisor, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        process.send_signal(signal.SIGKILL)
        process.wait()
        await until(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_closing_ends_every_process(tmp_path: Path) -> None:
    with DemoServices(tmp_path, [ServiceSpec("shop", replicas=2), ServiceSpec("ledger")]) as services:
        pids = services.pids
        assert len(pids) == 3
    assert not any(alive(pid) for pid in pids)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_it_is_controlled_however_deep_its_folder_lies(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    (folder / "control.sock").touch()
    with pytest.raises(DemoError, match=f"cannot listen in {folder}: "):
        ControlServer(DemoServices(folder, ())).__enter__()
    (folder / "control.sock").unlink()
    with ControlServer(DemoServices(folder, ())):
        assert ask(folder, ["sing", "web"]) == (1, "cannot sing web: there is no such order")

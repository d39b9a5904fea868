"""Starts, restarts, scales and breaks the processes of the demo's services.

A replica is a process in its own session. Its standard input is a pipe from this process, so that no replica outlives
it. The folder holds `state/NAME.json` (read by replicas), `targets/NAME.json` (targets for Prometheus) and
`logs/NAME.log`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from remediator.cli.demo.service import FaultKind, ServiceLoad
from remediator.errors import RemediatorError

_GOOD_RELEASE = "2.0.0"
_START_WITHIN = 20.0
_STOP_WITHIN = 3.0
MOST_REPLICAS = 8


class DemoError(RemediatorError):
    """Something that the demo needs is missing or failed."""


def free_port() -> int:
    """A free loopback port, below the range that the system uses for outgoing connections."""
    for port in random.sample(range(20_000, 30_000), 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise DemoError("cannot find a free port on 127.0.0.1 between 20000 and 30000")


@dataclass(frozen=True)
class ServiceSpec:
    """A service of the demo: its `tier` label, initial requests a second and replicas, and the service it asks."""

    name: str
    tier: str = "web"
    demand: float = 20.0
    replicas: int = 1
    depends_on: str = ""


@dataclass
class _ReplicaProcess:
    port: int
    process: subprocess.Popen[bytes]


@dataclass
class _ServiceProcesses:
    spec: ServiceSpec
    demand: float
    release: str = _GOOD_RELEASE
    previous: list[str] = field(default_factory=list)
    replicas: list[_ReplicaProcess] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class DemoServices:
    """All services of the demo, each after the one it depends on.

    Methods block, may be called from any thread, and return a sentence.
    """

    def __init__(self, folder: Path, specs: Iterable[ServiceSpec]) -> None:
        self.folder = folder
        self._services = {spec.name: _ServiceProcesses(spec, spec.demand) for spec in specs}
        self._closed = False

    def __enter__(self) -> Self:
        for name in ("state", "targets", "logs"):
            (self.folder / name).mkdir(exist_ok=True)
        try:
            for service in self._services.values():
                with service.lock:
                    self._fill(service, service.spec.replicas)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop every process, and start no more."""
        self._closed = True
        for service in self._services.values():
            with service.lock:
                _stop(replica.process for replica in service.replicas)
                service.replicas.clear()

    def restart(self, name: str) -> str:
        """Replace each process of the service by a new one of the same release on the same port, without a gap."""
        service = self._service(name)
        with service.lock:
            self._restart(service)
        return f"restarted {_count(service)} of {name} at release {service.release}"

    def scale(self, name: str, count: int) -> str:
        """Make the service have this many replicas."""
        if not 1 <= count <= MOST_REPLICAS:
            raise DemoError(f"cannot scale {name} to {count}: it can have 1 to {MOST_REPLICAS} replicas")
        service = self._service(name)
        with service.lock:
            before = len(service.replicas)
            gone, service.replicas[count:] = service.replicas[count:], []
            self._fill(service, count)
            _stop(replica.process for replica in gone)
        return f"scaled {name} from {before} to {_count(service)}"

    def replicas(self, name: str) -> str:
        """The number of replicas."""
        return str(len(self._service(name).replicas))

    def deploy(self, name: str, release: str) -> str:
        """Replace the current release by another one."""
        service = self._service(name)
        with service.lock:
            service.previous.append(service.release)
            service.release = release
            self._restart(service)
        return f"deployed release {release} of {name}"

    def rollback(self, name: str) -> str:
        """Return to the release before the current one."""
        service = self._service(name)
        with service.lock:
            if not service.previous:
                raise DemoError(f"cannot roll {name} back: {service.release} is its first release")
            bad, service.release = service.release, service.previous.pop()
            self._restart(service)
        return f"rolled {name} back from release {bad} to {service.release}"

    def diagnose(self, name: str) -> str:
        """The state of the processes, and the end of their log."""
        service = self._service(name)
        with service.lock:
            alive = [
                f"port {r.port}: " + ("runs" if (code := r.process.poll()) is None else f"ended with {code}")
                for r in service.replicas
            ]
        log = (self.folder / "logs" / f"{name}.log").read_text(errors="replace").splitlines()[-10:]
        return "\n".join([f"release {service.release}, {_count(service)}", *alive, *log])

    def inject(self, name: str, kind: FaultKind) -> str:
        """Inject a fault into every replica. It lasts until the process ends."""
        service = self._service(name)
        for replica in service.replicas:
            request = urllib.request.Request(f"http://127.0.0.1:{replica.port}/fault/{kind}", method="POST")
            try:
                urllib.request.urlopen(request, timeout=5).close()
            except (urllib.error.URLError, OSError) as error:
                raise DemoError(f"cannot break {name}: {error}") from None
        return f"{name} has fault {kind} now"

    def crash(self, name: str) -> str:
        """Kill every process of the service."""
        service = self._service(name)
        with service.lock:
            for replica in service.replicas:
                replica.process.kill()
                replica.process.wait()
        return f"killed {_count(service)} of {name}"

    def demand(self, name: str, factor: float) -> str:
        """Set the requests a second to this many times the initial number."""
        service = self._service(name)
        with service.lock:
            service.demand = service.spec.demand * factor
            self._write_files(service)
        return f"{name} is asked {service.demand:g} times a second now"

    @property
    def pids(self) -> list[int]:
        """The processes that should be running."""
        return [replica.process.pid for service in self._services.values() for replica in service.replicas]

    def _service(self, name: str) -> _ServiceProcesses:
        try:
            return self._services[name]
        except KeyError:
            raise DemoError(f"cannot find service {name}: there are {', '.join(self._services)}") from None

    def _restart(self, service: _ServiceProcesses) -> None:
        """Start each new process before the old one ends: a gap would look like a crash."""
        for replica in service.replicas:
            old, replica.process = replica.process, self._spawn(service, replica.port)
            _stop([old])

    def _fill(self, service: _ServiceProcesses, count: int) -> None:
        while len(service.replicas) < count:
            port = free_port()
            service.replicas.append(_ReplicaProcess(port, self._spawn(service, port)))
        self._write_files(service)

    def _write_files(self, service: _ServiceProcesses) -> None:
        """Write the service's ports, for other replicas and for Prometheus."""
        name, ports = service.spec.name, tuple(replica.port for replica in service.replicas)
        ServiceLoad(service.demand, ports).write(self.folder / "state", name)
        labels = {"service": name, "tier": service.spec.tier}
        targets = [{"targets": [f"127.0.0.1:{port}" for port in ports], "labels": labels}]
        fresh = self.folder / "targets" / f"{name}.new"
        fresh.write_text(json.dumps(targets))
        fresh.rename(self.folder / "targets" / f"{name}.json")

    def _spawn(self, service: _ServiceProcesses, port: int) -> subprocess.Popen[bytes]:
        """Start one replica. Returns when it listens."""
        if self._closed:
            raise DemoError(f"cannot start {service.spec.name}: the demo is ending")
        argv = [sys.executable, "-m", "remediator.cli.demo.service", service.spec.name, f"--port={port}"]
        argv += [f"--release={service.release}", f"--state={self.folder / 'state'}"]
        if service.spec.depends_on:
            argv.append(f"--depends-on={service.spec.depends_on}")
        log_path = self.folder / "logs" / f"{service.spec.name}.log"
        answer_end, ready_end = os.pipe()
        with os.fdopen(answer_end, "rb") as answer, log_path.open("ab") as log:
            with os.fdopen(ready_end, "wb") as ready:
                process = subprocess.Popen(
                    argv, stdin=subprocess.PIPE, stdout=ready, stderr=log, start_new_session=True
                )
            late = threading.Timer(_START_WITHIN, process.kill)
            late.start()
            said = answer.readline()
            late.cancel()
        if said != b"ready\n":
            process.kill()
            _reap(process)
            raise DemoError(f"cannot start {service.spec.name}: {_last_line(log_path)}")
        return process


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """End processes: TERM to all at once, then KILL to those that remain."""
    processes = list(processes)
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
        _reap(process)


def _reap(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return lines[-1] if lines else f"it ended, and {os.path.basename(path)} is empty"


def _count(service: _ServiceProcesses) -> str:
    number = len(service.replicas)
    return f"{number} replica" + ("" if number == 1 else "s")

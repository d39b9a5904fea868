"""One replica of a demo service: a process that simulates a steady stream of requests, with metrics at /metrics.

The process makes the requests itself, ten slices a second, so that no load generator is needed. A service that depends
on another asks it over HTTP in each slice. Faults are real: the leak takes memory, and an overload is demand above
capacity. An injected fault (`POST /fault/KIND`) lives only in this process, so that only its end clears the fault.
Release 2.1.0 of every service is a bad one.

    python -m remediator.cli.demo.service NAME --port PORT --release RELEASE --state DIR [--depends-on NAME]

`--state` is the folder with NAME.json for each service (`ServiceLoad`). The process prints `ready` once it listens, and
ends when its standard input is closed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CAPACITY = 40.0
"""Capacity of one replica in requests a second."""

NEEDS_DEPENDENCY = 0.6
"""Share of a service's requests that need the service it depends on."""

BAD_RELEASES = frozenset({"2.1.0"})
_SLICE = 0.1
_LEAK = 2_000_000
_LEAK_MOST = 250_000_000


class FaultKind(StrEnum):
    """A fault that can be injected into a process."""

    ERRORS = "errors"
    SLOW = "slow"
    LEAK = "leak"


@dataclass(frozen=True)
class ServiceLoad:
    """A service's load: requests a second for all its replicas, and their ports."""

    demand: float
    ports: tuple[int, ...]

    @classmethod
    def read(cls, state: Path, name: str) -> ServiceLoad:
        """Read a service's load. A service without a file has no requests yet."""
        try:
            document = json.loads((state / f"{name}.json").read_text())
        except FileNotFoundError:
            return cls(0.0, ())
        return cls(document["demand"], tuple(document["ports"]))

    def write(self, state: Path, name: str) -> None:
        """Replace the file atomically, because replicas read it at any time."""
        fresh = state / f"{name}.json.new"
        fresh.write_text(json.dumps({"demand": self.demand, "ports": self.ports}))
        fresh.rename(state / f"{name}.json")


@dataclass
class DemoReplica:
    """The state and metrics of this process."""

    name: str
    release: str
    state: Path
    depends_on: str = ""
    faults: set[FaultKind] = field(default_factory=set)
    leaked: list[bytes] = field(default_factory=list)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    served: int = 0

    def __post_init__(self) -> None:
        registry = self.registry
        ProcessCollector(registry=registry)
        requests = Counter("http_requests", "Requests by status code.", ["code"], registry=registry)
        # Created at once, so that an error ratio is 0 instead of absent while there are no errors.
        self.requests = {code: requests.labels(code) for code in ("200", "500", "503")}
        self.duration = Histogram(
            "http_request_duration_seconds",
            "How long requests took.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
            registry=registry,
        )
        self.utilisation = Gauge(
            "service_utilisation_ratio", "Demand over capacity of this replica.", registry=registry
        )
        Gauge("service_info", "A constant 1, with the release.", ["release"], registry=registry).labels(
            self.release
        ).set(1)

    def serve_slice(self) -> None:
        """Simulate the requests of one tenth of a second."""
        share = ServiceLoad.read(self.state, self.name)
        offered = share.demand / max(1, len(share.ports))
        load = offered / CAPACITY
        self.utilisation.set(load)
        if FaultKind.LEAK in self.faults and len(self.leaked) * _LEAK < _LEAK_MOST:
            self.leaked.append(os.urandom(1) * _LEAK)
        dependency_fails = bool(self.depends_on) and not self._ask_dependency()
        for _ in range(int(offered * _SLICE + random.random())):
            self._answer(load, dependency_fails)

    def work(self) -> bool:
        """Answer one request of another service. Returns whether it succeeded."""
        return self._answer(0.0, False) == "200"

    def _answer(self, load: float, dependency_fails: bool) -> str:
        if random.random() > 1 / max(1.0, load):
            code = "503"
        elif (dependency_fails and random.random() < NEEDS_DEPENDENCY) or (self._broken() and random.random() < 0.6):
            code = "500"
        else:
            code = "200"
        # The queue grows near the capacity.
        took = random.uniform(0.01, 0.04) / (1 - min(load, 0.95))
        if FaultKind.SLOW in self.faults:
            took += random.uniform(6.0, 8.0)
        self.requests[code].inc()
        self.duration.observe(took)
        self.served += 1
        return code

    def _broken(self) -> bool:
        return FaultKind.ERRORS in self.faults or self.release in BAD_RELEASES

    def _ask_dependency(self) -> bool:
        ports = ServiceLoad.read(self.state, self.depends_on).ports
        if not ports:
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{random.choice(ports)}/work", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False


class _ReplicaServer(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_port = True  # a new replica listens before the old one ends

    def __init__(self, port: int, replica: DemoReplica) -> None:
        self.replica = replica
        super().__init__(("127.0.0.1", port), _ReplicaHandler)


class _ReplicaHandler(BaseHTTPRequestHandler):
    server: _ReplicaServer

    def do_GET(self) -> None:
        replica = self.server.replica
        if self.path == "/metrics":
            self._reply(200, generate_latest(replica.registry), "text/plain; version=0.0.4; charset=utf-8")
        elif self.path == "/work":
            self._reply(200 if replica.work() else 500, b"worked\n")
        else:
            self._reply(404, b"there is /metrics, /work and /fault/KIND\n")

    def do_POST(self) -> None:
        try:
            kind = FaultKind(self.path.removeprefix("/fault/"))
        except ValueError:
            self._reply(404, f"no fault of this name; there are {', '.join(FaultKind)}\n".encode())
            return
        self.server.replica.faults.add(kind)
        print(f"fault {kind} from now on", file=sys.stderr, flush=True)
        self._reply(200, b"broken\n")

    def _reply(self, status: int, body: bytes, content_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log: there is a scrape every second."""


def _end_with_owner() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Serve until killed, or until the parent process is gone."""
    parser = argparse.ArgumentParser(prog="python -m remediator.cli.demo.service")
    parser.add_argument("name")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--release", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--depends-on", default="")
    args = parser.parse_args()
    replica = DemoReplica(args.name, args.release, args.state, args.depends_on)
    server = _ReplicaServer(args.port, replica)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=_end_with_owner, daemon=True).start()
    print(f"{args.name} {args.release} serves on port {args.port}", file=sys.stderr, flush=True)
    print("ready", flush=True)
    due = time.monotonic()
    while True:
        replica.serve_slice()
        # Catch up on late slices, but not on those missed while the machine slept.
        due = max(due + _SLICE, time.monotonic() - 1)
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()

"""A storm: 10,000 alerts of 10,000 services in 10 notifications, then all of them resolved, beside the bare cost.

    .venv/bin/python tests/bench/storm.py [--alerts 10000]

Ours is the daemon, from the first request until its own metrics say that every alert has a disposition; Prometheus is
away, so that each of them is held. Bare is one program that does the least which that needs: it decodes the same bodies,
inserts the alerts, settles them, writes a journal row and a log line for each, and commits four times. Wall time depends
on what else the machine does; the CPU time of both does so less. `ready` is the slowest answer of /-/ready meanwhile.
"""

from __future__ import annotations

import argparse
import re
import resource
import sqlite3
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import msgspec
from real.remediator import RealRemediator

RULES = """
services:
  - {name: "{{ labels.instance }}", match: ['instance!=""'], target: {command: {restart: ["true"]}}}
runbooks:
  - {name: any, steps: [restart]}
"""
NOTIFICATIONS = 10


def bodies(count: int, *, resolved: bool) -> list[bytes]:
    """The notifications, with `count` alerts in all."""
    each = count // NOTIFICATIONS
    return [msgspec.json.encode(notification(range(n * each, (n + 1) * each), resolved)) for n in range(NOTIFICATIONS)]


def notification(numbers: Sequence[int], resolved: bool) -> dict[str, object]:
    """One notification."""
    alerts = [
        {
            "status": "resolved" if resolved else "firing",
            "labels": {"alertname": "Down", "instance": f"host-{n}", "severity": "critical", "job": "node"},
            "annotations": {"summary": f"host-{n} is down", "runbook_url": "https://runbooks.example/down"},
            "startsAt": "2026-11-28T10:00:00.000Z",
            "endsAt": "2026-11-28T11:00:00.000Z" if resolved else "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example:9090/graph",
            "fingerprint": f"{n:016x}",
        }
        for n in numbers
    ]
    return {"version": "4", "status": "firing", "groupKey": "{}", "receiver": "remediator", "alerts": alerts}


class Alert(msgspec.Struct):
    """One alert, as far as the bare program stores it."""

    fingerprint: str
    labels: dict[str, str]
    startsAt: str  # noqa: N815
    status: str


class Notification(msgspec.Struct):
    """One body."""

    alerts: list[Alert]


def bare(folder: Path, firing: Sequence[bytes], resolved: Sequence[bytes]) -> Iterator[tuple[float, float]]:
    """Wall and CPU seconds of the bare program: for the alerts that fire, then for their ends."""
    database = sqlite3.connect(folder / "bare.db", isolation_level=None)
    database.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE alerts (key TEXT PRIMARY KEY, status TEXT, labels TEXT, disposition TEXT, text TEXT) STRICT;"
        "CREATE TABLE journal (id INTEGER PRIMARY KEY, at REAL, service TEXT, text TEXT) STRICT;"
    )
    with (folder / "bare.log").open("w") as log:
        for batch, text in ((firing, "is held"), (resolved, "is over")):
            began, used = time.perf_counter(), time.process_time()
            alerts = [alert for body in batch for alert in msgspec.json.decode(body, type=Notification).alerts]
            rows = [(a.fingerprint + a.startsAt, a.status, msgspec.json.encode(a.labels).decode()) for a in alerts]
            half = len(rows) // 2
            for part in (rows[:half], rows[half:]):
                database.execute("BEGIN IMMEDIATE")
                database.executemany("INSERT OR REPLACE INTO alerts (key, status, labels) VALUES (?, ?, ?)", part)
                database.execute("COMMIT")
            for part in (rows[:half], rows[half:]):
                database.execute("BEGIN IMMEDIATE")
                database.executemany(
                    "UPDATE alerts SET disposition = 'held', text = ? WHERE key = ?", [(text, row[0]) for row in part]
                )
                database.executemany(
                    "INSERT INTO journal (at, service, text) VALUES (0, ?, ?)", [(row[0], text) for row in part]
                )
                database.execute("COMMIT")
            log.writelines(f"ts=0 level=info msg={text} service={row[0]}\n" for row in rows)
            log.flush()
            yield time.perf_counter() - began, time.process_time() - used
    database.close()


class Ready(threading.Thread):
    """Asks /-/ready again and again, and keeps the longest time that an answer took."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = f"{url}/-/ready"
        self.over = threading.Event()
        self.slowest = 0.0

    def run(self) -> None:
        """Ask until it is over."""
        while not self.over.wait(0.05):
            began = time.perf_counter()
            with urllib.request.urlopen(self._url, timeout=60) as response:
                response.read()
            self.slowest = max(self.slowest, time.perf_counter() - began)


def decided(remediator: RealRemediator) -> int:
    """How many alerts have got a first disposition or an end, by the daemon's own metrics."""
    return sum(
        int(float(n)) for n in re.findall(r"^remediator_alerts_total\{.*\} (\S+)$", remediator.text("/metrics"), re.M)
    )


def cpu(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100.0


def ours(remediator: RealRemediator, batch: Sequence[bytes], goal: int) -> tuple[float, float, float]:
    """Wall and CPU seconds of the daemon until it has decided on so many alerts, and the slowest answer meanwhile."""
    assert remediator.process is not None
    ready = Ready(remediator.url)
    ready.start()
    began, used = time.perf_counter(), cpu(remediator.process.pid)
    threads = [threading.Thread(target=post, args=(remediator.webhook, body)) for body in batch]
    for thread in threads:
        thread.start()
    while decided(remediator) < goal:
        # Metrics of ten thousand services cost the daemon something, too.
        time.sleep(0.25)
    took = time.perf_counter() - began, cpu(remediator.process.pid) - used
    ready.over.set()
    ready.join()
    return *took, ready.slowest


def post(url: str, body: bytes) -> None:
    """Post one notification."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as response:
        assert response.status == 200


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=10_000)
    count = parser.parse_args().alerts
    firing, resolved = (bodies(count, resolved=over) for over in (False, True))
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        remediator = RealRemediator(folder / "remediator", prometheus="http://127.0.0.1:9", rules=RULES)
        remediator.start()
        try:
            title = f"storm of {count} alerts"
            print(
                f"{title:<26}{'bare':>10}{'ours':>10}{'ratio':>8}{'CPU bare':>10}{'CPU ours':>10}{'ratio':>8}{'ready':>10}"
            )
            for (wall, used), batch, name, goal in zip(
                bare(folder, firing, resolved),
                (firing, resolved),
                ("firing", "resolved"),
                (count, 2 * count),
                strict=True,
            ):
                mine, my_cpu, slowest = ours(remediator, batch, goal)
                print(
                    f"{name:<26}{wall:>8.2f} s{mine:>8.2f} s{mine / wall:>8.1f}{used:>8.2f} s{my_cpu:>8.2f} s"
                    f"{my_cpu / used:>8.1f}{slowest * 1000:>7.0f} ms"
                )
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(f"(this bench itself took {memory // 1024} MB)")
        finally:
            remediator.kill()


if __name__ == "__main__":
    main()

"""Benchmark of a backtest: 100 services under 5 thresholds over 30 days, a point each 15 seconds.

    .venv/bin/python tests/bench/backtest.py [--days 30] [--services 100] [--always-bad 0]

Prints what a replay by either reading takes beside the bare cost of reading the same recordings and looking at each of
their values once, in the same run and on one core, and the memory of the process. `--always-bad N` has N of the services
be bad from start to end, which no heal changes as recorded.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.pop(0)

from remediator.config.policy import Policy
from remediator.model.rulebook import Rulebook
from remediator.rules.loader import load_rules
from remediator.simulation.backtest.analysis.findings import findings
from remediator.simulation.backtest.data.history import ALERTS, History
from remediator.simulation.backtest.data.recording import Recorded, Recording, Run
from remediator.simulation.backtest.replay import ReplayReading, replay

STEP, STRETCH, DAY = 15, 43_200, 86_400
END = 1_700_006_400
THRESHOLDS = 5

RUNBOOK = """
runbooks:
  - name: web
    steps: [restart, rollback]
    verify: {healthy_for: 30s, within: 2m}
    limits: {cooldown: 10m}
"""


def rules(folder: Path, services: int) -> Rulebook:
    lines = ["services:"]
    for n in range(services):
        commands = f"{{restart: [ctl, restart, s{n}], rollback: [ctl, rollback, s{n}]}}"
        lines.append(f"  - {{name: s{n}, target: {{command: {commands}}}}}")
    lines.append("thresholds:")
    times = "degraded: '>= 0.05', failed: '> 0.10', for: 1m, keep_for: 1m"
    lines += [f"  - {{name: m{n}, expr: m{n}, {times}}}" for n in range(THRESHOLDS)]
    (folder / "rules.yml").write_text("\n".join(lines) + RUNBOOK)
    return load_rules([folder / "rules.yml"], service_label="service")[0]


def record(history: History, services: int, always_bad: int) -> int:
    """Write recordings as `gather` does, in which every series is bad now and then; how many points they have."""
    dice, points = random.Random(1), 0
    span = history.end - history.start
    bad = {
        (t, s): [(dice.randrange(span), dice.choice([120, 600, 1800])) for _ in range(4)]
        for t in range(THRESHOLDS)
        for s in range(services)
        if dice.random() < 0.2
    }
    bad |= {(0, s): [(0, span + STEP)] for s in range(always_bad)}
    calm = array("d", [dice.random() * 0.02 for _ in range(STRETCH // STEP + 1)])
    for start, end in history.stretches():
        count = (end - start) // STEP + 1
        for t in range(THRESHOLDS):
            series = []
            for s in range(services):
                values = calm[:count]
                for since, lasted in bad.get((t, s), []):
                    first = max(0, (history.start + since - start) // STEP)
                    last = min(count, (history.start + since + lasted - start) // STEP)
                    if first < last:
                        values[first:last] = array("d", [0.3] * (last - first))
                series.append(Recorded({"service": f"s{s}"}, [Run(0, values)]))
                points += count
            history.keep(f"m{t}", start, end, Recording(start, STEP, count, series))
        history.keep(ALERTS, start, end, Recording(start, STEP, count, []))
    return points


def bare(history: History) -> None:
    """Read everything, and look at each value once."""
    for start, end in history.stretches():
        for t in range(THRESHOLDS):
            for one in history.recording(f"m{t}", start, end).series:
                for run in one.runs:
                    max(run.values)


def timed(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--always-bad", type=int, default=0)
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        book = rules(folder, given.services)
        start = END - given.days * DAY
        history = History(None, "bench", folder, start, END, STEP, STRETCH)  # type: ignore[arg-type]
        points = record(history, given.services, given.always_bad)
        table = Table("", "seconds", "beside bare", "incidents", "commands")
        least = timed(lambda: bare(history))
        table.add_row("bare: read, and look at each value once", f"{least:.1f}", "1.0", "", "")
        for reading in ReplayReading:
            left = []
            took = timed(lambda reading=reading, left=left: left.append(replay(book, Policy(), history, reading)))  # type: ignore[misc]
            found = findings(left[0], reading, start, END, STEP, book.named)
            row = (f"{took:.1f}", f"{took / least:.1f}", str(len(found.troubles)), str(len(found.commands)))
            table.add_row(f"replay, {reading}", *row)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Console().print(table)
    print(f"{points / 1e6:.1f} million points, {peak:.0f} MiB at most, one core")


if __name__ == "__main__":
    main()

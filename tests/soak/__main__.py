"""A day in the life, for as long as it is told: real processes with faults in all of them, and what must not grow.

    PYTHONPATH=tests .venv/bin/python -m soak [--for 15m] [--services 30] [--seed 1] [--report soak.html]

One remediator heals a fleet under a real Prometheus and a real Alertmanager. Services break all the time; Prometheus and
Alertmanager are stopped, suspended and killed; remediator is killed now and then. Its memory, descriptors, threads, file,
queues and journal are sampled. In the end everything has to be well again and nothing may have grown: the last third of
the samples is held against the one before. Writes one page with a plot of each. Exit code 0, or 1 with what went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from soak.day import Day
from soak.report import findings, write_report

from remediator.model.durations import parse_duration


def main() -> int:
    """Run it, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--for", dest="lasts", default="15m", help="how long (default %(default)s)")
    parser.add_argument("--services", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=Path("soak.html"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        day = Day(Path(folder), services=given.services, seed=given.seed)
        asyncio.run(day.run(parse_duration(given.lasts)))
    found = [*day.faults, *findings(day.samples)]
    write_report(given.report, day, found)
    last = day.samples[-1]
    print(
        f"{day.broken} troubles, {day.disturbances} disturbances, {last.incidents:.0f} incidents; {given.report} has the plots"
    )
    for sentence in found or ["nothing grew, and everything was well in the end"]:
        print(sentence)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

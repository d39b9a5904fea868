"""One fleet and everything that befalls it: who breaks what, and what is sampled meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import time
from dataclasses import dataclass, fields
from pathlib import Path

from real.prometheus import Exposition, RealAlertmanager, RealPrometheus, free_port
from real.remediator import RealRemediator

EVERY = 2.0
"""Seconds between two samples."""
_WELL_WITHIN = 180.0
"""Seconds in which everything has to be well again once nothing breaks any more."""
RULES = """
services:
  - name: '{{{{ labels.service }}}}'
    match: ['service=~"s[0-9]+"']
    target: {{command: {{restart: [rm, -f, '{folder}/{{{{ service.name }}}}']}}}}
thresholds:
  - {{name: errors, expr: soak_errors, failed: '> 0', for: 2s}}
runbooks:
  - name: restart
    steps: [restart]
    verify: {{healthy_for: 2s, within: 30s}}
    limits: {{cooldown: 1s}}
"""


@dataclass
class Sample:
    """What was measured at one time: `at` in seconds since the start, `memory` and files in bytes, the rest counts."""

    at: float
    memory: float
    descriptors: float
    threads: float
    database: float
    log: float
    journal: float
    incidents: float
    lag: float
    undecided: float
    cycle: float
    """Seconds that the last cycles of decisions took on average."""


GAUGES = tuple(field.name for field in fields(Sample) if field.name != "at")
STEADY = ("memory", "descriptors", "threads", "lag", "undecided", "cycle")
"""What must not grow with time. File, log and journal grow with what happens, up to the retention."""


class Day:
    """A run. `samples` has what was measured, `faults` what was not as it should be."""

    def __init__(self, folder: Path, *, services: int, seed: int) -> None:
        self.samples: list[Sample] = []
        self.faults: list[str] = []
        self.broken = self.disturbances = 0
        self._rng = random.Random(seed)
        self._names = [f"s{number}" for number in range(services)]
        self._folder = folder
        self._bad = folder / "bad"
        self._bad.mkdir()
        self._began = time.monotonic()
        self._cycles = (0.0, 0.0)

    async def run(self, lasts: float) -> None:
        """Live through `lasts` seconds, then come to rest."""
        port = free_port()
        with Exposition(self._exposition()) as self._exposed:
            self._alertmanager = RealAlertmanager(self._folder, webhook=f"http://127.0.0.1:{port}/webhook")
            self._prometheus = RealPrometheus(
                self._folder,
                targets=[self._exposed.address],
                rules=[{"alert": "Errors", "expr": "soak_errors > 0", "labels": {"severity": "critical"}}],
                alertmanagers=[self._alertmanager.address],
            )
            self._remediator = RealRemediator(
                self._folder / "remediator",
                port=port,
                prometheus=self._prometheus.url,
                rules=RULES.format(folder=self._bad),
                config={
                    "alertmanagers": [{"url": self._alertmanager.url, "receiver": "webhook"}],
                    "limits": {"rate": "100000/1h", "panic": "100%", "concurrent": 8},
                },
            )
            async with self._alertmanager, self._prometheus, self._remediator:
                self._began = time.monotonic()
                works = [asyncio.ensure_future(work()) for work in (self._show, self._watch)]
                harm = [asyncio.ensure_future(work()) for work in (self._break, self._disturb)]
                await asyncio.sleep(lasts)
                await _cancel(harm)
                await asyncio.to_thread(self._restore)
                await self._come_to_rest()
                await _cancel(works)

    def _exposition(self) -> str:
        bad = set(os.listdir(self._bad))
        return "\n".join(f'soak_errors{{service="{name}"}} {int(name in bad)}' for name in self._names)

    async def _show(self) -> None:
        """Let Prometheus see who is bad."""
        while True:
            self._exposed.text = self._exposition()
            await asyncio.sleep(0.2)

    async def _break(self) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(0.5, 3.0))
            (self._bad / self._rng.choice(self._names)).touch()
            self.broken += 1

    async def _disturb(self) -> None:
        """Do something to one of the three, every now and then, and undo it."""
        while True:
            await asyncio.sleep(self._rng.uniform(5.0, 25.0))
            self.disturbances += 1
            server = self._rng.choice((self._prometheus, self._alertmanager))
            match self._rng.randrange(4):
                case 0:
                    await asyncio.to_thread(server.kill)
                    await asyncio.sleep(self._rng.uniform(0.0, 8.0))
                    await asyncio.to_thread(server.start)
                case 1:
                    server.suspend()
                    await asyncio.sleep(self._rng.uniform(1.0, 12.0))
                    server.resume()
                case 2:
                    self._exposed.text = None
                    await asyncio.sleep(self._rng.uniform(1.0, 5.0))
                case _:
                    # A start begins the count of what grows anew, so that it is seldom.
                    if self._rng.random() < 0.2:
                        await asyncio.to_thread(self._remediator.kill)
                        await asyncio.to_thread(self._remediator.start, ready=False)

    def _restore(self) -> None:
        """Have everything run that a disturbance may have left down."""
        for server in (self._prometheus, self._alertmanager):
            if server.process is None or server.process.poll() is not None:
                server.start()
            else:
                server.resume()

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                self.samples.append(await asyncio.to_thread(self._sample))
            await asyncio.sleep(EVERY)

    def _sample(self) -> Sample:
        process = self._remediator.process
        assert process is not None
        status = Path(f"/proc/{process.pid}/status").read_text()
        text = self._remediator.text("/metrics")
        count, total = (
            _value(text, "remediator_cycle_duration_seconds_count"),
            _value(text, "remediator_cycle_duration_seconds_sum"),
        )
        before, self._cycles = self._cycles, (count, total)
        files = self._remediator.folder.glob("remediator.db*")
        return Sample(
            at=time.monotonic() - self._began,
            memory=float(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024,  # type: ignore[index]
            descriptors=len(os.listdir(f"/proc/{process.pid}/fd")),
            threads=float(re.search(r"Threads:\s+(\d+)", status)[1]),  # type: ignore[index]
            database=sum(file.stat().st_size for file in files),
            log=(self._remediator.folder / "remediator.log").stat().st_size,
            journal=_value(text, "remediator_holds_total") + _value(text, "remediator_steps_total"),
            incidents=_value(text, "remediator_heals_total"),
            lag=_value(text, "remediator_announcer_lag_entries"),
            undecided=_value(text, "remediator_alerts_undecided"),
            cycle=(total - before[1]) / max(1.0, count - before[0]) if count >= before[0] else 0.0,
        )

    async def _come_to_rest(self) -> None:
        """Wait until everything is well, and say what is not."""
        deadline = time.monotonic() + _WELL_WITHIN
        while unrest := await asyncio.to_thread(self._unrest):
            if time.monotonic() > deadline:
                self.faults.append(f"does not come to rest: {unrest}")
                return
            await asyncio.sleep(1.0)

    def _unrest(self) -> str:
        if bad := sorted(os.listdir(self._bad)):
            return f"{', '.join(bad)} are bad"
        try:
            open_now = self._remediator.request("/api/v1/incidents?open=true")
            undecided = _value(self._remediator.text("/metrics"), "remediator_alerts_undecided")
        except OSError as error:
            return f"remediator does not answer: {error}"
        listed = open_now["incidents"] if isinstance(open_now, dict) else open_now
        if listed:
            return f"{len(listed)} incidents are open"
        return f"{undecided:.0f} alerts are undecided" if undecided else ""


def _value(text: str, name: str) -> float:
    """The sum of a metric's samples in an exposition."""
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


async def _cancel(tasks: list[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""Directs the demo: injects faults on time, follows remediator's HTTP API, approves as its operator, and records how
each fault ended."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp

from remediator.cli.demo.faults import DemoFault
from remediator.cli.demo.processes import DemoError, DemoServices

Json = dict[str, Any]

_EVERY = 0.4
_HEALTHY_WITHIN = 40.0
_HEALED_WITHIN = 90.0
"""Maximum seconds from the last fault to the last recovery."""
_SILENT_FOR = 10.0
_CONSIDERS_FOR = 2.0
"""Seconds until the operator approves. A moment later the service may be healthy, or wait for a dependency."""
_OPERATOR = "the operator (whom the demo plays)"
_HEALED = ("recovered", "cleared")


@dataclass
class FaultProgress:
    """A fault and its outcome. Times are seconds since the epoch; `injected_at` is 0 until it is injected."""

    fault: DemoFault
    injected_at: float = 0.0
    incident: Json | None = None
    healed_by_root: bool = False
    """Whether healing the root cause healed this service before remediator noticed it."""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.healed_by_root or (self.incident is not None and not self.incident["open"])

    @property
    def healed(self) -> bool:
        """Whether the service is healthy again, as remediator verified."""
        return self.healed_by_root or (self.incident is not None and self.incident["verdict"] in _HEALED)

    @property
    def found_by(self) -> str:
        """Which alert or thresholds opened the incident."""
        if self.incident is None:
            return ""
        if self.incident["source"] == "alertmanager":
            return f"alert {self.incident['labels'].get('alertname', '')}"
        return f"threshold {', '.join(self.incident['thresholds'])}"

    @property
    def steps(self) -> list[str]:
        """The actions that ran, in order."""
        return [run["action"] for run in (self.incident or {}).get("runs", ()) if run["step"] is not None]

    @property
    def took(self) -> float | None:
        """Seconds from the fault to the end of the incident."""
        if self.incident is None or self.incident["closedAt"] is None:
            return None
        return seconds(self.incident["closedAt"]) - self.injected_at


@dataclass
class DemoState:
    """Everything that the screen shows."""

    started_at: float
    progresses: list[FaultProgress]
    services: list[Json] = field(default_factory=list)
    journal: list[Json] = field(default_factory=list)

    def progress(self, service: str) -> FaultProgress:
        """The progress of a service's fault. Each service has one fault."""
        return next(progress for progress in self.progresses if progress.fault.service == service)


class Director:
    """Runs the faults against a remediator at `url`.

    `on_state` is called when the state changed, `on_entry` with each journal entry, `on_fault` with each fault.
    """

    def __init__(
        self,
        url: str,
        demo_services: DemoServices,
        faults: Sequence[DemoFault],
        *,
        credential: str = "",
        speed: float,
        on_state: Callable[[DemoState], None],
        on_entry: Callable[[Json], None],
        on_fault: Callable[[DemoFault], None],
    ) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        self._demo_services = demo_services
        self._speed = speed
        self._on_state, self._on_entry, self._on_fault = on_state, on_entry, on_fault
        self.state = DemoState(time.time(), [FaultProgress(fault) for fault in faults])

    async def run(self) -> DemoState:
        """Wait until all services are healthy, inject the faults, and return when all are over or time is up."""
        timeout = aiohttp.ClientTimeout(total=None, connect=5)
        async with aiohttp.ClientSession(self._url, headers=self._headers, timeout=timeout) as session:
            listening = asyncio.create_task(self._listen(session))
            try:
                await self._follow(session, lambda: all(map(_is_well, self.state.services)), _HEALTHY_WITHIN)
                if not all(map(_is_well, self.state.services)):
                    ill = "; ".join(f"{s['name']}: {s['text']}" for s in self.state.services if not _is_well(s))
                    raise DemoError(f"cannot begin: not all services are healthy after {_HEALTHY_WITHIN:.0f}s: {ill}")
                self.state.started_at = time.time()
                injecting = asyncio.create_task(self._inject_all())
                try:
                    last = max(progress.fault.at for progress in self.state.progresses) / self._speed
                    await self._follow(session, self._over, last + _HEALED_WITHIN)
                    if injecting.done():
                        injecting.result()
                finally:
                    injecting.cancel()
            finally:
                listening.cancel()
        return self.state

    def _over(self) -> bool:
        return all(progress.over for progress in self.state.progresses)

    async def _inject_all(self) -> None:
        """Inject one fault after another, each at its time."""
        for progress in sorted(self.state.progresses, key=lambda progress: progress.fault.at):
            due = self.state.started_at + progress.fault.at / self._speed
            await asyncio.sleep(max(0.0, due - time.time()))
            progress.injected_at = time.time()
            self._on_fault(progress.fault)
            if progress.fault.inject is not None:
                await asyncio.to_thread(progress.fault.inject, self._demo_services)

    async def _follow(self, session: aiohttp.ClientSession, done: Callable[[], bool], within: float) -> None:
        """Poll the API until `done`, for at most `within` seconds."""
        deadline = heard_at = time.monotonic()
        deadline += within
        while time.monotonic() < deadline:
            try:
                self.state.services = await _get(session, "/api/v1/services")
                incidents = await _get(session, "/api/v1/incidents?limit=100")
                for incident in filter(_awaits_approval, incidents):
                    await _approve(session, incident["id"])
            except (aiohttp.ClientError, TimeoutError) as error:
                if time.monotonic() - heard_at > _SILENT_FOR:
                    raise DemoError(f"cannot reach remediator at {self._url} any more: {error}") from None
            else:
                heard_at = time.monotonic()
                self._assign(incidents)
                self._on_state(self.state)
                if self.state.services and done():
                    return
            await asyncio.sleep(_EVERY)

    def _assign(self, incidents: list[Json]) -> None:
        """Assign each fault its incident: the newest that opened after the fault."""
        healthy = {service["name"] for service in self.state.services if _is_well(service)}
        for progress in self.state.progresses:
            mine = (
                incident
                for incident in incidents
                if incident["service"] == progress.fault.service
                and progress.injected_at
                and seconds(incident["openedAt"]) >= progress.injected_at
            )
            progress.incident = next(mine, None)
        for progress in self.state.progresses:
            if progress.fault.root and progress.incident is None:
                root = self.state.progress(progress.fault.root)
                progress.healed_by_root = root.healed and progress.fault.service in healthy

    async def _listen(self, session: aiohttp.ClientSession) -> None:
        """Pass on each journal entry of the event stream."""
        after = 0
        while True:
            try:
                async for entry in _events(session, after):
                    after = entry["id"]
                    self.state.journal.append(entry)
                    self._on_entry(entry)
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(1)


def seconds(text: str) -> float:
    """A time of the API as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def _is_well(service: Json) -> bool:
    """Whether a service is healthy; if no threshold judges it, whether it has no alert."""
    return service["health"] == "healthy" or (not service["readings"] and not service["firingAlerts"])


def _awaits_approval(incident: Json) -> bool:
    """Whether it has waited for approval for as long as the operator takes."""
    hold = incident["hold"] if incident["open"] else None
    return hold is not None and hold["gate"] == "approval" and seconds(hold["since"]) + _CONSIDERS_FOR <= time.time()


async def _approve(session: aiohttp.ClientSession, id: int) -> None:
    """Do what `remediator approve ID` does. 409 means that the incident has just closed."""
    path, timeout = f"/api/v1/incidents/{id}/approve", aiohttp.ClientTimeout(total=5)
    async with session.post(path, json={"author": _OPERATOR}, timeout=timeout) as response:
        if response.status != 409:
            response.raise_for_status()


async def _get(session: aiohttp.ClientSession, path: str) -> list[Json]:
    async with session.get(path, raise_for_status=True, timeout=aiohttp.ClientTimeout(total=5)) as response:
        answer: list[Json] = (await response.json())["data"]
        return answer


async def _events(session: aiohttp.ClientSession, after: int) -> AsyncIterator[Json]:
    async with session.get("/api/v1/events", params={"after": str(after)}, raise_for_status=True) as response:
        async for line in response.content:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))

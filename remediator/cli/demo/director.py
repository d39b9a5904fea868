"""The show: strikes the faults on time, follows remediator's HTTP API, says yes as its operator to what asks for
approval, and knows how each fault ended."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp

from remediator.cli.demo.faults import Fault
from remediator.cli.demo.processes import DemoError, Fleet

Json = dict[str, Any]

_EVERY = 0.4
_HEALTHY_WITHIN = 40.0
_HEALED_WITHIN = 90.0
"""Seconds that remediator has after the last fault."""
_SILENT_FOR = 10.0
_CONSIDERS_FOR = 2.0
"""Seconds that the operator takes to say yes: what asks may be well, or wait for what it depends on, a moment later."""
_OPERATOR = "the operator (whom the demo plays)"
_HEALED = ("recovered", "cleared")


@dataclass
class Patient:
    """A fault and what became of it. Times are seconds since the epoch; `struck_at` 0 means not yet."""

    fault: Fault
    struck_at: float = 0.0
    incident: Json | None = None
    spared: bool = False
    """Whether the root was healed before anything was noticed here."""

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        return self.spared or (self.incident is not None and not self.incident["open"])

    @property
    def healed(self) -> bool:
        """Whether it is well again, as remediator has verified."""
        return self.spared or (self.incident is not None and self.incident["verdict"] in _HEALED)

    @property
    def found_by(self) -> str:
        """How the trouble came to remediator's knowledge."""
        if self.incident is None:
            return ""
        if self.incident["source"] == "alertmanager":
            return f"alert {self.incident['labels'].get('alertname', '')}"
        return f"threshold {', '.join(self.incident['thresholds'])}"

    @property
    def steps(self) -> list[str]:
        """The actions that were run, in order."""
        return [run["action"] for run in (self.incident or {}).get("runs", ()) if run["step"] is not None]

    @property
    def took(self) -> float | None:
        """Seconds from the strike to the end of the incident."""
        if self.incident is None or self.incident["closedAt"] is None:
            return None
        return seconds(self.incident["closedAt"]) - self.struck_at


@dataclass
class Scene:
    """What there is to see now."""

    started_at: float
    patients: list[Patient]
    services: list[Json] = field(default_factory=list)
    journal: list[Json] = field(default_factory=list)

    def patient(self, service: str) -> Patient:
        """The fault of a service; each has one."""
        return next(patient for patient in self.patients if patient.fault.service == service)


class Show:
    """Runs the script against a remediator at `url`.

    `changed` is called whenever the scene is new, `told` with each journal entry, `struck` with each fault.
    """

    def __init__(
        self,
        url: str,
        fleet: Fleet,
        faults: Sequence[Fault],
        *,
        speed: float,
        changed: Callable[[Scene], None],
        told: Callable[[Json], None],
        struck: Callable[[Fault], None],
    ) -> None:
        self._url = url
        self._fleet = fleet
        self._speed = speed
        self._changed, self._told, self._struck = changed, told, struck
        self.scene = Scene(time.time(), [Patient(fault) for fault in faults])

    async def run(self) -> Scene:
        """Wait until all is well, break it all, and return when every fault is over, or has had its time."""
        async with aiohttp.ClientSession(self._url, timeout=aiohttp.ClientTimeout(total=None, connect=5)) as session:
            listening = asyncio.create_task(self._listen(session))
            try:
                await self._follow(session, lambda: all(map(_well, self.scene.services)), _HEALTHY_WITHIN)
                if not all(map(_well, self.scene.services)):
                    ill = "; ".join(f"{s['name']}: {s['text']}" for s in self.scene.services if not _well(s))
                    raise DemoError(f"cannot begin: not all services are healthy after {_HEALTHY_WITHIN:.0f}s: {ill}")
                self.scene.started_at = time.time()
                striking = asyncio.create_task(self._strike_all())
                try:
                    last = max(patient.fault.at for patient in self.scene.patients) / self._speed
                    await self._follow(session, self._over, last + _HEALED_WITHIN)
                    if striking.done():
                        striking.result()
                finally:
                    striking.cancel()
            finally:
                listening.cancel()
        return self.scene

    def _over(self) -> bool:
        return all(patient.over for patient in self.scene.patients)

    async def _strike_all(self) -> None:
        """Break one thing after another."""
        for patient in sorted(self.scene.patients, key=lambda patient: patient.fault.at):
            due = self.scene.started_at + patient.fault.at / self._speed
            await asyncio.sleep(max(0.0, due - time.time()))
            patient.struck_at = time.time()
            self._struck(patient.fault)
            if patient.fault.strike is not None:
                await asyncio.to_thread(patient.fault.strike, self._fleet)

    async def _follow(self, session: aiohttp.ClientSession, done: Callable[[], bool], within: float) -> None:
        """Look at the API again and again until `done`, at the longest `within` seconds."""
        deadline = heard_at = time.monotonic()
        deadline += within
        while time.monotonic() < deadline:
            try:
                self.scene.services = await _get(session, "/api/v1/services")
                incidents = await _get(session, "/api/v1/incidents?limit=100")
                for incident in filter(_asks, incidents):
                    await _approve(session, incident["id"])
            except (aiohttp.ClientError, TimeoutError) as error:
                if time.monotonic() - heard_at > _SILENT_FOR:
                    raise DemoError(f"cannot reach remediator at {self._url} any more: {error}") from None
            else:
                heard_at = time.monotonic()
                self._assign(incidents)
                self._changed(self.scene)
                if self.scene.services and done():
                    return
            await asyncio.sleep(_EVERY)

    def _assign(self, incidents: list[Json]) -> None:
        """Give each patient its incident: the newest that opened after the strike."""
        healthy = {service["name"] for service in self.scene.services if _well(service)}
        for patient in self.scene.patients:
            mine = (
                incident
                for incident in incidents
                if incident["service"] == patient.fault.service
                and patient.struck_at
                and seconds(incident["openedAt"]) >= patient.struck_at
            )
            patient.incident = next(mine, None)
        for patient in self.scene.patients:
            if patient.fault.root and patient.incident is None:
                root = self.scene.patient(patient.fault.root)
                patient.spared = root.healed and patient.fault.service in healthy

    async def _listen(self, session: aiohttp.ClientSession) -> None:
        """Pass on each journal entry as it is told."""
        after = 0
        while True:
            try:
                async for entry in _events(session, after):
                    after = entry["id"]
                    self.scene.journal.append(entry)
                    self._told(entry)
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(1)


def seconds(text: str) -> float:
    """The time an API answer names."""
    return datetime.fromisoformat(text).timestamp()


def _well(service: Json) -> bool:
    """Healthy, or, where no threshold looks at it, without an alert."""
    return service["health"] == "healthy" or (not service["readings"] and not service["firingAlerts"])


def _asks(incident: Json) -> bool:
    """Whether it has been waiting for approval for long enough to be given it."""
    hold = incident["hold"] if incident["open"] else None
    return hold is not None and hold["gate"] == "approval" and seconds(hold["since"]) + _CONSIDERS_FOR <= time.time()


async def _approve(session: aiohttp.ClientSession, id: int) -> None:
    """What `remediator approve ID` does. An incident that has closed just now needs no answer any more."""
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

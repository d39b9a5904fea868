"""What a story can see of its remediator: health, decisions, holds, incidents, pages, the journal and its metrics.

Only questions live here; `scenario` adds the acts.
"""

from __future__ import annotations

import asyncio

from remediator.clients.grafana import Annotation
from remediator.decision.case import ServiceView, Why
from remediator.decision.decide import Ask, decide
from remediator.errors import RemediatorError
from remediator.model.health import Health
from remediator.model.incident import Entry, Hold, Incident, StoredAlert
from remediator.model.paging import PageAlert
from remediator.simulation.fake_grafana import FakeGrafana
from remediator.simulation.process import Process
from remediator.simulation.scripted import Ran, ScriptedEnvironment
from remediator.simulation.virtual_loop import VirtualLoop
from remediator.store.sql_store import SqlStore
from remediator.store.sqlite import open_in_memory


class ScenarioView:
    """The observable half of a `Scenario`. `process` is None while remediator is down; the store outlives it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise TypeError("cannot make a scenario here: it wants a VirtualLoop to run in")
        self._loop = loop
        self.start = loop.time()
        self.environment = ScriptedEnvironment()
        self.grafana = FakeGrafana()
        self.process: Process | None = None
        self._store: SqlStore = open_in_memory()

    @property
    def now(self) -> float:
        """Seconds since the beginning of the story."""
        return self._loop.time() - self.start

    @property
    def ran(self) -> list[Ran]:
        """Every call that was made, in order."""
        return self.environment.ran

    @property
    def commands(self) -> list[str]:
        """The text of every call that was made, in order."""
        return [ran.text for ran in self.environment.ran]

    def view(self, service: str) -> ServiceView | None:
        """The service as pages and the API show it. None when it does not exist or remediator is down."""
        return self.process.observer.view(service, self._loop.time()) if self.process is not None else None

    def health(self, service: str) -> Health:
        """The service's health as pages and the API show it; unknown when there is no such service."""
        view = self.view(service)
        return view.health if view is not None else Health.UNKNOWN

    async def why(self, service: str) -> Why | None:
        """What `remediator why` says of the service."""
        return await self._running.engine.why(service)

    def decision(self, service: str) -> str:
        """The sentence of the present decision on the service; empty when there is no such service."""
        state = self._running.state
        case = self._running.observer.observe(service, self._loop.time())
        decision = decide(case) if case is not None else None
        if isinstance(decision, Ask):
            # Deciding again would ask again. The sentence of the first time is the one in force.
            return state.decided.get(service, decision.text)
        return decision.text if decision is not None else ""

    def hold(self, service: str) -> Hold | None:
        """What holds the service's heal, or its alerts when it has no incident. None when nothing holds them."""
        state = self._running.state
        incident = state.open.get(service)
        return incident.hold if incident is not None else state.waiting.get(service)

    def pages(self) -> list[PageAlert]:
        """The alerts to people that fire now."""
        return self._running.engine.pages()

    async def incidents(self) -> list[Incident]:
        """Every incident, oldest first."""
        return list(reversed(await self._store.incidents(limit=100_000)))

    async def open_incidents(self) -> list[Incident]:
        """The open incidents."""
        return await self._store.open_incidents()

    async def alerts(self) -> list[StoredAlert]:
        """Every alert, oldest change first."""
        return list(reversed(await self._store.alerts(limit=1_000_000)))

    async def journal(self) -> list[Entry]:
        """Every entry, oldest first."""
        return await self._store.journal(limit=1_000_000)

    async def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of one of remediator's metrics with these labels, counted since its last start."""
        await self._running.count()
        families = self._running.metrics.registry.collect()
        samples = (sample for family in families for sample in family.samples)
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    async def annotations(self, service: str) -> list[Annotation]:
        """The service's annotations in Grafana, oldest first."""
        await self._running.annotate()
        return [shown for shown in self.grafana.annotations.values() if f"service:{service}" in shown.tags]

    @property
    def _running(self) -> Process:
        if self.process is None:
            raise RemediatorError("cannot do that: remediator is down")
        return self.process

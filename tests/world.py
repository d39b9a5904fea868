"""A small world on virtual time: the real store, evaluator, state and engine; only clock, queries and hands are the
test's. Values are set by threshold and service, commands have effects, and everything that was run is on record."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from virtual import VirtualClock

from remediator.clients.prometheus.client import Answer, Series
from remediator.config.policy import Policy
from remediator.engine.assembly import make_engine
from remediator.engine.broadcast import Broadcast
from remediator.engine.evaluator import Evaluator
from remediator.engine.intake import Intake
from remediator.metrics import Metrics
from remediator.model.action import Call, Outcome, Result
from remediator.model.alert import Alert, fingerprint
from remediator.model.health import QueryStatus
from remediator.model.incident import Entry, Incident
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Share
from remediator.rules.loader import load_rules
from remediator.store.interface import Store
from remediator.store.sqlite import open_sqlite

RULES = """
services:
  - {name: checkout, target: {command: {restart: [ctl, restart, checkout], rollback: [ctl, rollback, checkout]}}}
  - {name: search, target: {command: {restart: [ctl, restart, search], rollback: [ctl, rollback, search]}}}
thresholds:
  - {name: error_ratio, expr: error_ratio, degraded: '>= 0.05', failed: '> 0.10'}
runbooks:
  - name: web
    steps: [restart, rollback]
    verify: {healthy_for: 10s, within: 60s}
    limits: {cooldown: 5m}
"""

NO_PANIC = Share(100.0, percent=True)
"""A share of the fleet that no more than all of it can exceed."""


@dataclass
class Effect:
    """What a command does: how long it takes, how it ends, and what happens to the world when it has."""

    takes: float = 1.0
    exit_code: int = 0
    then: Callable[[], object] = lambda: None


@dataclass
class World:
    """One remediator in a world of services. `ran` lists (seconds since the start, argv) of every command spawned."""

    path: Path
    clock: VirtualClock
    rulebook: Rulebook
    policy: Policy
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    effects: dict[str, Effect] = field(default_factory=dict)
    ran: list[tuple[float, str]] = field(default_factory=list)
    query_status: QueryStatus = QueryStatus.SEEN
    guards: dict[str, bool] = field(default_factory=dict)
    under_way: int = 0
    most_under_way: int = 0
    start: float = 0.0

    def set(self, threshold: str, **services: float) -> None:
        """Values that Prometheus holds from now on."""
        self.values.setdefault(threshold, {}).update(services)

    def effect(self, command: str, effect: Effect) -> None:
        """What a command does from now on; the default takes a second and changes nothing."""
        self.effects[command] = effect

    def heals(self, command: str, **services: float) -> None:
        """A command after which these services have these error ratios."""
        self.effect(command, Effect(then=lambda: self.set("error_ratio", **services)))

    @property
    def commands(self) -> list[str]:
        return [command for _, command in self.ran]

    async def opened(self) -> None:
        """Start remediator on what its store holds."""
        self.store: Store = self.clock.attended(await open_sqlite(str(self.path)))
        self.metrics = Metrics()

        alerts_stored = Broadcast()
        self.intake = Intake(self.store, self.clock, self.metrics, alerts_stored)
        self.evaluator = Evaluator(
            self.rulebook,
            self.answer,
            clock=self.clock,
            metrics=self.metrics,
            interval=5.0,
            stale_after=30.0,
            intake=self.intake,
        )
        self.parts = make_engine(
            self.rulebook,
            self.policy,
            self.evaluator,
            store=self.store,
            clock=self.clock,
            metrics=self.metrics,
            run=self.run,
            query=self.query,
            alerts_stored=alerts_stored,
            committed=Broadcast(),
        )
        self.state, self.observer, self.engine = self.parts.state, self.parts.observer, self.parts.engine
        await self.parts.load()
        self.tasks: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(work) for work in (self.evaluator.run(), self.engine.run())
        ]

    async def crashed(self) -> None:
        """Stop as kill -9 does: nothing is told, nothing is written down, commands end with their owner."""
        for task in (*self.tasks, *self.engine._step_tasks._tasks.values(), *self.engine._step_tasks._asking.values()):
            task.cancel()
        await asyncio.gather(*self.tasks, *self.engine._step_tasks._tasks.values(), return_exceptions=True)
        await self.store.close()

    def answer(self, expr: str) -> Answer:
        now = self.clock.now()
        if self.query_status is not QueryStatus.SEEN:
            return Answer(at=now, query_status=self.query_status, series=[], error=f"Prometheus: {self.query_status}")
        if expr in self.guards:
            return Answer(at=now, query_status=QueryStatus.SEEN, series=[Series({}, float(self.guards[expr]))])
        series = [Series({"service": name}, value) for name, value in self.values.get(expr.strip(), {}).items()]
        return Answer(at=now, query_status=QueryStatus.SEEN, series=series)

    async def query(self, expr: str) -> Answer:
        return self.answer(expr)

    async def run(self, call: Call) -> Result:
        command = " ".join(call.argv)
        self.ran.append((self.clock.now() - self.start, command))
        effect = self.effects.get(command, Effect())
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.clock.wait(asyncio.Event(), min(effect.takes, call.timeout))
        finally:
            self.under_way -= 1
        if effect.takes > call.timeout:
            return Result(Outcome.TIMED_OUT, f"did not end within {call.timeout:g}s")
        effect.then()
        if effect.exit_code:
            return Result(Outcome.FAILED, f"exited with {effect.exit_code}", effect.exit_code)
        return Result(Outcome.SUCCEEDED, "exited with 0", 0, "done\n")

    async def fire(self, name: str = "HighErrors", *, at: float | None = None, **labels: str) -> Alert:
        """An alert arrives from Alertmanager."""
        every = {"alertname": name, **labels}
        starts_at = self.clock.now() if at is None else at
        alert = Alert(fingerprint(every), starts_at, None, every)
        await self.intake([alert])
        return alert

    async def resolve(self, alert: Alert) -> None:
        """Alertmanager says that an alert is over."""
        await self.intake([Alert(alert.fingerprint, alert.starts_at, self.clock.now(), alert.labels)])

    async def pass_time(self, seconds: float) -> None:
        await self.clock.run_for(seconds)

    async def incidents(self) -> list[Incident]:
        """Every incident, oldest first."""
        return list(reversed(await self.store.incidents(limit=1000)))

    async def journal(self) -> list[Entry]:
        return await self.store.journal(limit=10_000)


@contextlib.asynccontextmanager
async def world(
    tmp_path: Path, rules: str = RULES, policy: Policy | None = None, values: dict[str, float] | None = None
) -> AsyncIterator[World]:
    """A world in which every service of the rules is healthy, after its first look."""
    rule_file = tmp_path / "rules.yml"
    rule_file.write_text(rules)
    rulebook, _ = load_rules([rule_file], service_label="service")
    clock = VirtualClock(start=1_000_000.0)
    made = World(tmp_path / "remediator.db", clock, rulebook, policy or Policy(settle=0.0))
    for threshold in rulebook.thresholds:
        made.set(threshold.expr.strip(), **dict.fromkeys(rulebook.named, 0.0))
    await made.opened()
    await made.pass_time(6)
    made.start = clock.now()
    try:
        yield made
    finally:
        await made.crashed()


Work = Callable[[], Awaitable[object]]

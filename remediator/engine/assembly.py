"""Putting an engine together: the one place that joins evaluator, state, observer and loop, for the daemon, for
simulations and for tests alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from remediator.clients.prometheus.client import Answer
from remediator.config.policy import Policy
from remediator.engine.broadcast import Broadcast
from remediator.engine.evaluator import Evaluator
from remediator.engine.loop import POLL, Engine
from remediator.engine.observe import Observer
from remediator.engine.schedule import Schedule
from remediator.engine.state import EngineState
from remediator.metrics import Metrics
from remediator.model.action import Run
from remediator.model.alert import Source
from remediator.model.clock import Clock
from remediator.model.rulebook import Rulebook
from remediator.store.interface import Store


@dataclass(frozen=True)
class EngineParts:
    """An engine and what it is made of."""

    evaluator: Evaluator
    state: EngineState
    observer: Observer
    engine: Engine
    store: Store

    async def load(self) -> None:
        """Take up what the store remembers; to be called before evaluator and engine run."""
        await self.engine.load()
        firing = [stored.alert for stored in await self.store.firing_alerts()]
        await self.evaluator.restore([alert for alert in firing if alert.source is Source.THRESHOLD])


def make_engine(
    rulebook: Rulebook,
    policy: Policy,
    evaluator: Evaluator,
    *,
    store: Store,
    clock: Clock,
    metrics: Metrics,
    run: Run,
    query: Callable[[str], Awaitable[Answer]],
    queries: Mapping[str, Callable[[str], Awaitable[Answer]]] | None = None,
    alerts_stored: Broadcast,
    committed: Broadcast,
    leads: bool = True,
    shared: bool = False,
    reconciled: bool = True,
    poll: float = POLL,
    schedule: Schedule | None = None,
) -> EngineParts:
    """An engine on an evaluator. The parameters are those of `Engine`; `reconciled` is false where alerts have to be
    compared with Alertmanager's before anything is done."""
    state = EngineState(rulebook, policy, evaluator, reconciled=reconciled)
    observer = Observer(state, evaluator)
    engine = Engine(
        store=store,
        state=state,
        observer=observer,
        evaluations=evaluator,
        clock=clock,
        metrics=metrics,
        run=run,
        query=query,
        queries=queries or {},
        alerts_stored=alerts_stored,
        committed=committed,
        poll=poll,
        leads=leads,
        shared=shared,
        schedule=schedule,
    )
    return EngineParts(evaluator, state, observer, engine, store)

"""A replay: remediator on virtual time, with recorded answers as its Prometheus and calls that are only recorded."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from remediator.config.policy import Policy
from remediator.model.action import Outcome
from remediator.model.health import Health
from remediator.model.incident import DIAGNOSE, Entry, EntryKind, Incident, StoredAlert
from remediator.model.matcher import Matcher
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Mode, Threshold
from remediator.simulation.backtest.data.alerts import RecordedAlerts
from remediator.simulation.backtest.data.history import History
from remediator.simulation.backtest.data.recording import Recorded, Recording
from remediator.simulation.backtest.evaluator import RecordedEvaluator
from remediator.simulation.backtest.playback import Playback, RecordedEnvironment, healthy_value
from remediator.simulation.fake_grafana import FakeGrafana
from remediator.simulation.process import Process
from remediator.simulation.virtual_loop import VirtualLoop, run_virtually
from remediator.store.sqlite import open_in_memory

_ALL = 10_000_000


class ReplayReading(StrEnum):
    """The assumed effect of a heal, which history cannot know."""

    RECORDED = "recorded"
    """No effect: everything goes on as it was recorded."""
    CURED = "cured"
    """The first successful step ends the trouble, until the recording itself shows its end."""


class Replayed(msgspec.Struct, frozen=True):
    """The outcome of a replay. Incidents, alerts and journal entries are oldest first.

    `healths` are each service's changes of health by thresholds, `unanswered` the sentences on what could not be seen.
    `counted` says whether a replica count of 1 was assumed.
    """

    incidents: list[Incident]
    alerts: list[StoredAlert]
    entries: list[Entry]
    healths: dict[str, list[tuple[float, Health]]]
    unanswered: list[str]
    counted: bool


def replay(
    rulebook: Rulebook,
    policy: Policy,
    history: History,
    reading: ReplayReading,
    alerts: Sequence[Matcher] | None = (),
    on_stretch: Callable[[], None] = lambda: None,
) -> Replayed:
    """Play the whole history. Alerts that match `alerts` come by the webhook as well; None means no alerts at all.

    `on_stretch` is called after each stretch. Call this outside of any event loop.
    """
    story = functools.partial(_play, rulebook, policy, history, reading, alerts, on_stretch)
    return run_virtually(story, float(history.start))


def in_earnest(rulebook: Rulebook, policy: Policy) -> tuple[Rulebook, Policy]:
    """The rules with every runbook in the mode `auto`, and the policy with healing switched on."""
    runbooks = [msgspec.structs.replace(runbook, mode=Mode.AUTO) for runbook in rulebook.runbooks]
    earnest = Rulebook(
        rulebook.services, rulebook.thresholds, runbooks, rulebook.targets.values(), rulebook.service_label
    )
    return earnest, msgspec.structs.replace(policy, auto_heal=True)


async def _play(
    rulebook: Rulebook,
    policy: Policy,
    history: History,
    reading: ReplayReading,
    alerts: Sequence[Matcher] | None,
    on_stretch: Callable[[], None],
) -> Replayed:
    replay = _Replay(rulebook, policy, history, reading, alerts)
    try:
        for start, end in history.stretches():
            await replay.pass_stretch(start, end)
            on_stretch()
        return await replay.ended()
    finally:
        await replay.close()


class _Owner(NamedTuple):
    """The service that owns a series or an alert, and the thresholds that judge it."""

    name: str
    judging: tuple[Threshold, ...]


_NOBODY = _Owner("", ())


class _Replay:
    """One replay under way."""

    def __init__(
        self,
        rulebook: Rulebook,
        policy: Policy,
        history: History,
        reading: ReplayReading,
        alerts: Sequence[Matcher] | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise TypeError("cannot replay here: it wants a VirtualLoop to run in")
        self._loop = loop
        self._rulebook = rulebook
        self._history = history
        self._reading = reading
        self._alerts = None if alerts is None else RecordedAlerts(history, alerts)
        self._thresholds: dict[str, list[Threshold]] = {}
        for threshold in rulebook.thresholds:
            self._thresholds.setdefault(threshold.expr.strip(), []).append(threshold)
        self._environment = RecordedEnvironment(history)
        self._store = open_in_memory()
        # An evaluation sees what was recorded at its time. It has to stay fresh until the next one.
        policy = msgspec.structs.replace(policy, stale_after=max(policy.stale_after, 2.0 * history.step + 1))
        self._process = Process(
            rulebook,
            policy,
            float(history.step),
            self._environment,
            FakeGrafana(),
            self._store,
            loop,
            True,
            evaluator=functools.partial(RecordedEvaluator, environment=self._environment, concern=self._concern),
        )
        self._process.evaluator.evaluated.subscribe(self._on_evaluated)
        self._process.committed.subscribe(self._on_committed)
        self._started = False
        self._healths: dict[str, list[tuple[float, Health]]] = {}
        self._owners: dict[tuple[str, ...], _Owner] = {}
        self._sees: dict[str, bool] = {}
        """The thresholds that had series, and whether any belonged to a service that they judge."""
        self._coming: set[str] = set()
        """The services of the alerts that come next. The evaluation at that time has to see them, for corroboration."""
        self._read_up_to = 0
        self._reads: set[asyncio.Task[None]] = set()
        self._healthy: dict[tuple[str, tuple[str, ...]], float] = {}
        """The values of series whose cure goes on after the stretch."""

    async def pass_stretch(self, start: int, end: int) -> None:
        """Load the stretch's recordings, and let time pass until its end."""
        self._load(start, end)
        if not self._started:
            self._started = True
            await self._process.start()
            await self._loop.rest()
        if self._alerts is not None:
            await self._send_alerts(self._alerts, start, end)
        await asyncio.sleep(end - self._loop.time())
        await self._loop.rest()

    async def _send_alerts(self, alerts: RecordedAlerts, start: int, end: int) -> None:
        for at, turns in alerts.turns(start, end):
            self._coming = {self._owner(turn.labels).name for turn in turns}
            await asyncio.sleep(at - self._loop.time())
            await self._loop.rest()
            await self._process.intake(alerts.sent(at, turns))

    async def ended(self) -> Replayed:
        """The outcome, after the last stretch."""
        incidents = list(reversed(await self._store.incidents(limit=_ALL)))
        alerts = sorted(await self._store.alerts(limit=_ALL), key=lambda stored: stored.alert.key[::-1])
        entries = await self._store.journal(limit=_ALL)
        blind = [
            f"threshold {threshold.name} saw {'no series of a service that it judges' if seen is False else 'no series'}"
            for threshold in self._rulebook.thresholds
            if not (seen := self._sees.get(threshold.name))
        ]
        unanswered = [*self._environment.unanswered, *blind]
        return Replayed(incidents, alerts, entries, self._healths, unanswered, self._environment.counted)

    async def close(self) -> None:
        """End remediator and close its store."""
        if self._started:
            await self._process.kill()
        await self._store.close()

    # Series.

    def _load(self, start: int, end: int) -> None:
        for expr, thresholds in self._thresholds.items():
            recording = self._history.recording(expr, start, end)
            playbacks = [self._playback(one, recording, thresholds) for one in recording.series]
            self._environment.load(expr, recording, playbacks)
            if self._healthy:
                self._go_on_cured(expr, playbacks, start)

    def _playback(self, one: Recorded, recording: Recording, thresholds: list[Threshold]) -> Playback:
        """The series for playing back, as the thresholds see it that judge its service."""
        owner = self._owner(one.labels)
        judging = [threshold for threshold in thresholds if threshold in owner.judging]
        for threshold in thresholds:
            self._sees[threshold.name] = self._sees.get(threshold.name, False) or threshold in judging
        return Playback(one, recording, judging, owner.name)

    def _go_on_cured(self, expr: str, playbacks: Iterable[Playback], start: int) -> None:
        for playback in playbacks:
            key = (expr, _key(playback.labels))
            value = self._healthy.pop(key, None)
            if value is not None and playback.cure(start, value):
                self._healthy[key] = value

    def _owner(self, labels: Mapping[str, str]) -> _Owner:
        key = _key(labels)
        if key not in self._owners:
            service = self._rulebook.service_for(labels)
            self._owners[key] = _Owner(service.name, self._rulebook.thresholds_for(service)) if service else _NOBODY
        return self._owners[key]

    # Callbacks of the process, and cures.

    def _concern(self) -> set[str]:
        return self._process.state.troubled | self._coming

    def _on_evaluated(self) -> None:
        now, process = self._loop.time(), self._process
        for name in process.evaluator.changed:
            service = process.state.service(name)
            if service is None or not self._rulebook.thresholds_for(service):
                continue
            health = process.evaluator.judgement(service, now).health
            known = self._healths.setdefault(name, [])
            if not known or known[-1][1] is not health:
                known.append((now, health))

    def _on_committed(self) -> None:
        if self._reading is ReplayReading.CURED:
            task = self._loop.create_task(self._read_on())
            self._reads.add(task)
            task.add_done_callback(self._reads.discard)

    async def _read_on(self) -> None:
        entries = await self._store.journal(after=self._read_up_to, limit=_ALL)
        for entry in entries:
            self._read_up_to = max(self._read_up_to, entry.id)
            healed = entry.kind is EntryKind.STEP_ENDED and entry.data.get("outcome") == Outcome.SUCCEEDED
            if healed and entry.data.get("step", DIAGNOSE) >= 0:
                await self._cure(entry.service)

    async def _cure(self, name: str) -> None:
        now = self._loop.time()
        service = self._process.state.service(name)
        for threshold in self._rulebook.thresholds_for(service) if service is not None else ():
            self._cure_series(name, threshold, now)
        self._environment.changed()
        if self._alerts is not None:
            over = self._alerts.cure(lambda labels: self._owner(labels).name == name, now)
            await self._process.intake(over)

    def _cure_series(self, name: str, threshold: Threshold, now: float) -> None:
        expr = threshold.expr.strip()
        value = healthy_value(threshold)
        for playback in self._environment.owned(expr, name):
            if playback.bad(now) and playback.cure(now, value):
                self._healthy[expr, _key(playback.labels)] = value


def _key(labels: Mapping[str, str]) -> tuple[str, ...]:
    return (*labels, *labels.values())

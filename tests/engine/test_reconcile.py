"""Keeping in step with Alertmanager: lost notifications in both directions, races, and what nothing is concluded from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from virtual import VirtualClock

from remediator.clients.alertmanager import Snapshot
from remediator.engine.alertmanager_routes import longest_group_wait
from remediator.engine.broadcast import Broadcast
from remediator.engine.intake import Intake
from remediator.engine.reconcile import INTERVAL, SILENCES, YOUNG, Reconciler
from remediator.errors import RemoteError, StoreError
from remediator.metrics import Metrics
from remediator.model.alert import Alert, Source, fingerprint
from remediator.model.matcher import parse_matcher
from remediator.model.silence import Silence, Suppression
from remediator.store.interface import Store
from remediator.store.sqlite import open_sqlite

START = 1_000_000.0


def alert(name: str, *, at: float = START - 500, **fields: object) -> Alert:
    labels = {"alertname": name, "service": "checkout"}
    return Alert(fingerprint(labels), at, None, labels, **fields)  # type: ignore[arg-type]


@dataclass
class Held:
    """What an Alertmanager holds, in the place of the client."""

    clock: VirtualClock
    firing: list[Alert] = field(default_factory=list)
    unpaged: list[Alert] = field(default_factory=list)
    kept: list[Silence] = field(default_factory=list)
    up_since: float = 0.0
    down: bool = False
    asked: list[float] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None
    suppressed: dict[str, Suppression] = field(default_factory=dict)
    unprocessed: set[str] = field(default_factory=set)
    routes: str = "route: {receiver: team}"
    receivers: frozenset[str] = frozenset()

    async def alerts(self) -> Snapshot:
        self.asked.append(self.clock.now() - START)
        snapshot = Snapshot(
            tuple(self.firing), self.up_since, tuple(self.unpaged), dict(self.suppressed), frozenset(self.unprocessed)
        )
        if self.down:
            raise RemoteError("cannot read the alerts at http://am: refused", retry=True)
        result = self.meanwhile()
        if hasattr(result, "__await__"):
            await result
        return snapshot

    async def config(self) -> str:
        return self.routes

    async def silences(self) -> list[Silence]:
        if self.down:
            raise RemoteError("cannot read the silences at http://am: refused", retry=True)
        return list(self.kept)


@dataclass
class Bench:
    clock: VirtualClock
    store: Store
    held: Held
    reconciler: Reconciler
    intake: Intake
    silenced: list[tuple[Silence, ...]]
    compared: list[float]
    suppressed: list[Mapping[str, Suppression]]

    async def firing(self) -> set[str]:
        return {stored.alert.name for stored in await self.store.firing_alerts()}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = VirtualClock(START)
    store: Store = clock.attended(await open_sqlite(str(tmp_path / "remediator.db")))
    metrics, held = Metrics(), Held(clock)
    intake = Intake(store, clock, metrics, Broadcast())
    silenced: list[tuple[Silence, ...]] = []
    suppressed: list[Mapping[str, Suppression]] = []
    compared: list[float] = []
    reconciler = Reconciler(
        held,  # type: ignore[arg-type]
        store,
        clock=clock,
        metrics=metrics,
        intake=intake,
        on_silences=silenced.append,
        on_suppressed=suppressed.append,
        on_compared=lambda: compared.append(clock.now() - START),
    )
    yield Bench(clock, store, held, reconciler, intake, silenced, compared, suppressed)
    await store.close()


async def test_what_fires_and_was_not_told_is_taken_in(bench: Bench) -> None:
    bench.held.firing = [alert("A")]
    await bench.reconciler.once()
    assert await bench.firing() == {"A"}


async def test_what_is_over_and_was_not_told_is_resolved(bench: Bench) -> None:
    await bench.intake([alert("A"), alert("B")])
    bench.held.firing = [alert("A")]
    await bench.clock.run_for(1)
    await bench.reconciler.once()
    assert await bench.firing() == {"A"}


async def test_the_same_labels_that_fire_since_another_time_are_another_alert(bench: Bench) -> None:
    await bench.intake([alert("A", at=START - 900)])
    bench.held.firing = [alert("A", at=START - 100)]
    await bench.clock.run_for(1)
    await bench.reconciler.once()
    (stored,) = await bench.store.firing_alerts()
    assert stored.alert.starts_at == START - 100


async def test_an_alertmanager_that_does_not_answer_says_nothing(bench: Bench) -> None:
    await bench.intake([alert("A")])
    bench.held.down = True
    await bench.clock.run_for(1)
    await bench.reconciler.once()
    assert await bench.firing() == {"A"}
    # Nobody waits for it for ever.
    assert bench.compared == [1.0]


async def test_an_alertmanager_that_has_just_started_knows_of_nothing_yet(bench: Bench) -> None:
    await bench.intake([alert("A")])
    bench.held.up_since = START
    bench.held.firing = [alert("B")]
    await bench.clock.run_for(YOUNG - 1)
    await bench.reconciler.once()
    assert await bench.firing() == {"A", "B"}
    await bench.clock.run_for(INTERVAL)
    await bench.reconciler.once()
    assert await bench.firing() == {"B"}


async def test_what_comes_in_while_it_is_asked_is_newer_than_what_it_says(bench: Bench) -> None:
    await bench.intake([alert("Old"), alert("Ends")])
    await bench.clock.run_for(1)
    bench.held.firing = [alert("Old"), alert("Ends")]

    async def webhook() -> None:
        ended = alert("Ends")
        await bench.intake([Alert(ended.fingerprint, ended.starts_at, START + 1, ended.labels), alert("New")])

    bench.held.meanwhile = webhook
    await bench.reconciler.once()
    assert await bench.firing() == {"Old", "New"}


async def test_what_alertmanager_cannot_know_of_is_not_concluded_from_it(bench: Bench) -> None:
    await bench.intake([alert("Grafana", sender="grafana"), alert("Threshold", source=Source.THRESHOLD)])
    await bench.clock.run_for(1)
    await bench.reconciler.once()
    assert await bench.firing() == {"Grafana", "Threshold"}


async def test_pages_of_its_own_are_not_taken_in(bench: Bench) -> None:
    labels = {"alertname": "RemediationFailed", "service": "checkout", "sender": "remediator"}
    bench.held.firing = [Alert(fingerprint(labels), START, None, labels)]
    await bench.reconciler.once()
    assert await bench.firing() == set()


async def test_it_compares_at_once_then_every_minute_and_when_woken(bench: Bench) -> None:
    import asyncio

    running = asyncio.ensure_future(bench.reconciler.run())
    await bench.clock.run_for(INTERVAL + SILENCES)
    assert bench.held.asked == [0.0, INTERVAL]
    await bench.clock.run_for(5)
    bench.reconciler.wake()
    await bench.clock.run_for(1)
    assert bench.held.asked[2:] == [INTERVAL + SILENCES + 5]
    running.cancel()


async def test_it_is_asked_again_soon_after_it_could_not_be(bench: Bench) -> None:
    import asyncio

    bench.held.down = True
    bench.held.firing = [alert("A")]
    running = asyncio.ensure_future(bench.reconciler.run())
    await bench.clock.run_for(40)
    bench.held.down = False
    await bench.clock.run_for(SILENCES)
    assert await bench.firing() == {"A"}
    running.cancel()


async def test_silences_are_told_when_they_change_and_ours_are_none(bench: Bench) -> None:
    silence = Silence("1", (parse_matcher('service="checkout"'),), START, START + 60, "ada", "mine")
    ours = Silence("2", silence.matchers, START, START + 60, "remediator", "incident 7")
    bench.held.kept = [ours, silence]
    for _ in range(3):
        await bench.reconciler.once()
    assert bench.silenced == [(silence,)]
    bench.held.kept = [ours]
    await bench.reconciler.once()
    assert bench.silenced[1:] == [()]


async def test_a_store_that_cannot_be_read_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.held.firing = [alert("A")]

    async def fails(alerts: object) -> None:
        raise StoreError("cannot write to the database: disk full")

    monkeypatch.setattr(bench.reconciler, "_intake", fails)
    await bench.reconciler.once()
    monkeypatch.undo()
    await bench.reconciler.once()
    assert await bench.firing() == {"A"}


async def test_what_no_person_is_sent_is_said_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.held.firing = bench.held.unpaged = [alert("A"), alert("B")]
    for _ in range(2):
        await bench.reconciler.once()
        await bench.clock.run_for(INTERVAL)
    said = [record.getMessage() for record in caplog.records if "no person" in record.getMessage()]
    assert said == [
        "no person is sent A, B: by Alertmanager's route no receiver but remediator's gets them"
        " (remediator check --alertmanager URL says more)"
    ]
    assert bench.reconciler.unpaged == ("A", "B")
    bench.held.unpaged = []
    await bench.reconciler.once()
    assert bench.reconciler.unpaged == ()


async def test_what_is_suppressed_and_was_not_told_is_not_taken_in(bench: Bench) -> None:
    quiet, loud = alert("Quiet"), alert("Loud")
    bench.held.firing = [quiet, loud]
    bench.held.suppressed = {quiet.fingerprint: Suppression(inhibited_by=("NodeDown",))}
    await bench.reconciler.once()
    assert await bench.firing() == {"Loud"}
    assert bench.suppressed == [bench.held.suppressed]


async def test_what_alertmanager_would_not_have_told_yet_is_not_taken_in(bench: Bench) -> None:
    bench.held.routes = "route: {receiver: team, group_wait: 1m, routes: [{receiver: remediator, group_wait: 5m}]}"
    young, old, unrouted = alert("Young", at=START - 240), alert("Old", at=START - 301), alert("Unrouted")
    bench.held.firing = [young, old, unrouted]
    bench.held.unprocessed = {unrouted.fingerprint}
    await bench.reconciler.once()
    assert await bench.firing() == {"Old"}


async def test_an_alert_waits_as_long_as_its_own_route(bench: Bench) -> None:
    bench.held.receivers = frozenset({"remediator"})
    bench.held.routes = """
route:
  receiver: team
  group_wait: 10m
  routes:
    - {receiver: remediator, group_wait: 20s, match: {alertname: Quick}, continue: true}
    - {receiver: remediator, group_wait: 5m, matchers: ['alertname=~"Slow|Quick.+"'], continue: true}
    - {receiver: team}
"""
    bench.held.firing = [alert(name, at=START - 60) for name in ("Quick", "Slow", "Quicker", "Other")]
    await bench.reconciler.once()
    assert await bench.firing() == {"Quick"}


async def test_our_own_silence_suppresses_nothing(bench: Bench) -> None:
    down = alert("Down")
    bench.held.kept = [Silence("theirs", (parse_matcher('a="b"'),), START, START + 60, "ada")]
    bench.held.firing = [down]
    bench.held.suppressed = {down.fingerprint: Suppression(silenced_by=("ours",))}
    await bench.reconciler.once()
    assert bench.suppressed == []
    bench.held.suppressed = {down.fingerprint: Suppression(silenced_by=("ours", "theirs"))}
    bench.reconciler.wake()
    await bench.reconciler.once()
    assert bench.suppressed == [{down.fingerprint: Suppression(silenced_by=("theirs",))}]


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ("route: {receiver: a}", 30.0),
        ("route: {receiver: a, group_wait: 0s}", 0.0),
        ("route: {receiver: a, group_wait: 10s, routes: [{receiver: b}]}", 10.0),
        (
            "route: {receiver: a, group_wait: 10s, routes: [{receiver: b, routes: [{receiver: c, group_wait: 2m}]}]}",
            120.0,
        ),
        ("{}", 0.0),
    ],
)
def test_the_longest_group_wait_of_any_route(config: str, seconds: float) -> None:
    assert longest_group_wait(config) == seconds


async def test_what_a_young_alertmanager_was_seen_to_hold_is_over_when_it_does_not_any_more(bench: Bench) -> None:
    """It can only have lost what it held before its start."""
    held, lost = alert("Held"), alert("Lost")
    await bench.intake([held, lost])
    bench.held.up_since = START - 10
    bench.held.firing = [held]
    await bench.clock.run_for(1)
    await bench.reconciler.once()
    assert await bench.firing() == {"Held", "Lost"}
    bench.held.firing = []
    bench.reconciler.wake()
    await bench.clock.run_for(1)
    await bench.reconciler.once()
    assert await bench.firing() == {"Lost"}

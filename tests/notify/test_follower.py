"""Followers: every entry, in order, at the announcer's own pace, over failures and restarts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from notify.story import HastyClock, Story
from virtual import VirtualClock

from remediator.engine.broadcast import Broadcast
from remediator.errors import ConflictError, RemoteError, StoreError
from remediator.metrics import Metrics
from remediator.model.clock import Clock, SystemClock
from remediator.model.incident import Entry
from remediator.notify.follower import Follower
from remediator.store.sql_store import SqlStore


class Listener:
    """Hears entries, unless `refuse` raises for them."""

    def __init__(self, *, durable: bool = False, name: str = "listener") -> None:
        self.name, self.durable = name, durable
        self.heard: list[int] = []
        self.refuse: Callable[[Entry], object] = lambda entry: None
        self.heard_one = asyncio.Event()

    async def tell(self, entry: Entry) -> None:
        self.refuse(entry)
        self.heard.append(entry.id)
        self.heard_one.set()


class Failing:
    """Raises these, one at each call, then no more."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self, *_: object) -> None:
        if self.errors:
            raise self.errors.pop(0)


class Flaky:
    """The store, but for reading the journal, which fails first."""

    def __init__(self, store: SqlStore, failing: Failing) -> None:
        self._store, self._failing = store, failing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def journal(self, **wanted: Any) -> list[Entry]:
        self._failing()
        return await self._store.journal(**wanted)


MAY_PASS = RemoteError("cannot reach it", retry=True)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def follow(store: SqlStore, clock: HastyClock, metrics: Metrics) -> Callable[..., Follower]:
    def make(announcer: Listener, clock: Clock = clock, store: Any = store) -> Follower:
        return Follower(announcer, store, clock=clock, metrics=metrics, jitter=lambda: 1.0)

    return make


def value(metrics: Metrics, name: str, announcer: str = "listener") -> float | None:
    return metrics.registry.get_sample_value(f"remediator_announcer_{name}", {"announcer": announcer})


async def ids(store: SqlStore) -> list[int]:
    return [entry.id for entry in await store.journal(limit=10_000)]


async def test_everything_in_order_once(story: Story, store: SqlStore, follow: Callable[..., Follower]) -> None:
    listener = Listener()
    follower = follow(listener)
    await follower.begin()
    for number in range(30):  # More than a page of entries.
        await story.heals(f"s{number}")
    await follower.catch_up()
    await story.heals("another")
    await follower.catch_up()
    assert listener.heard == await ids(store)


async def test_others_begin_at_the_present_end(story: Story, store: SqlStore, follow: Callable[..., Follower]) -> None:
    await story.heals()
    listener = Listener()
    await follow(listener).catch_up()
    assert listener.heard == []
    assert await store.cursor("listener") is None


async def test_a_durable_one_begins_at_the_end_once_and_goes_on_after_a_restart(
    story: Story, store: SqlStore, follow: Callable[..., Follower]
) -> None:
    await story.heals("before it was configured")
    listener = Listener(durable=True)
    await follow(listener).begin()
    before = await ids(store)
    await story.heals("while nobody followed")
    await follow(listener).catch_up()
    await story.heals("after another restart")
    await follow(listener).catch_up()
    assert listener.heard == [id for id in await ids(store) if id not in before]
    assert await store.cursor("listener") == listener.heard[-1]


async def test_patience_grows_to_a_minute_and_never_ends(
    story: Story, store: SqlStore, clock: HastyClock, metrics: Metrics, follow: Callable[..., Follower]
) -> None:
    listener = Listener()
    follower = follow(listener)
    await follower.begin()
    await story.heals()
    listener.refuse = Failing(*[MAY_PASS] * 2000)
    await follower.catch_up()
    assert listener.heard == await ids(store)
    assert clock.waits[:8] == [0.5, 1, 2, 4, 8, 16, 32, 60]
    assert set(clock.waits[8:]) == {60}
    assert value(metrics, "failures_total") == 2000
    assert value(metrics, "dropped_total") == 0


async def test_jitter_shortens_a_wait_by_up_to_half(story: Story, store: SqlStore, clock: HastyClock) -> None:
    listener = Listener()
    follower = Follower(listener, store, clock=clock, metrics=Metrics(), jitter=lambda: 0.0)
    await follower.begin()
    await story.opens()
    listener.refuse = Failing(*[MAY_PASS] * 3)
    await follower.catch_up()
    assert clock.waits == [0.25, 0.5, 1]


async def test_one_line_for_each_reason_and_one_when_it_is_over(
    story: Story, caplog: pytest.LogCaptureFixture, follow: Callable[..., Follower]
) -> None:
    caplog.set_level(logging.INFO)
    listener = Listener()
    follower = follow(listener)
    await follower.begin()
    await story.opens()
    listener.refuse = Failing(*[MAY_PASS] * 50, *[RemoteError("cannot log in", retry=True)] * 50)
    await follower.catch_up()
    assert [record.getMessage() for record in caplog.records] == [
        "listener waits and tries again: cannot reach it",
        "listener waits and tries again: cannot log in",
        "listener is told again, after 100 failed attempts",
    ]


@pytest.mark.parametrize(
    "error",
    [RemoteError("cannot take this one", retry=False), ConflictError("cannot write this one"), KeyError("a defect")],
)
async def test_what_repeating_cannot_help_is_given_up_and_counted(
    story: Story,
    store: SqlStore,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
    follow: Callable[..., Follower],
    error: Exception,
) -> None:
    listener = Listener(durable=True)
    follower = follow(listener)
    await follower.begin()
    await story.heals()
    listener.refuse = Failing(error)
    await follower.catch_up()
    assert listener.heard == (await ids(store))[1:]
    assert (value(metrics, "failures_total"), value(metrics, "dropped_total")) == (1, 1)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith("gives up telling listener of entry 1 (error_ratio 0.2 > 0.1 for 15s)")


async def test_what_was_given_up_is_not_taken_up_after_a_restart(
    story: Story, store: SqlStore, follow: Callable[..., Follower]
) -> None:
    listener = Listener(durable=True)
    follower = follow(listener)
    await follower.begin()
    await story.heals()
    refuse_one = Failing(RemoteError("cannot take this one", retry=False))
    stuck = asyncio.Event()

    def refuse(entry: Entry) -> None:
        refuse_one()
        stuck.set()
        raise MAY_PASS

    listener.refuse = refuse
    task = asyncio.create_task(follower.catch_up())
    await stuck.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    listener.refuse = Failing()
    await follow(listener).catch_up()
    assert listener.heard == (await ids(store))[1:]


async def test_a_store_that_cannot_be_read_is_waited_for(
    story: Story, store: SqlStore, metrics: Metrics, follow: Callable[..., Follower]
) -> None:
    listener = Listener(durable=True)
    await follow(listener).begin()
    await story.heals()
    flaky = Flaky(store, Failing(*[StoreError("cannot read the disk")] * 3))
    await follow(listener, store=flaky).catch_up()
    assert listener.heard == await ids(store)
    assert value(metrics, "failures_total") == 3


async def test_lag_is_what_is_yet_to_be_told(
    story: Story, store: SqlStore, metrics: Metrics, follow: Callable[..., Follower]
) -> None:
    listener = Listener(durable=True)
    follower = follow(listener)
    await follower.begin()
    await story.heals()
    lags = []

    def refuse(entry: Entry) -> None:
        lags.append(value(metrics, "lag_entries"))
        if len(lags) < 3:
            raise MAY_PASS

    listener.refuse = refuse
    await follower.catch_up()
    assert lags[:3] == [4, 4, 4]
    assert value(metrics, "lag_entries") == 0


async def test_a_dead_neighbour_delays_no_other(story: Story, store: SqlStore, metrics: Metrics) -> None:
    """One announcer's neighbour never answers; the other hears everything meanwhile, on the wake alone."""
    dead, alive = Listener(name="dead"), Listener(name="alive")
    never = asyncio.Event()

    async def hang(entry: Entry) -> None:
        await never.wait()

    dead.tell = hang  # type: ignore[method-assign]
    committed = Broadcast()
    followers = [
        Follower(one, store, clock=SystemClock(), metrics=metrics, committed=committed) for one in (dead, alive)
    ]
    for follower in followers:
        await follower.begin()
    tasks = [asyncio.create_task(follower.run()) for follower in followers]
    for number in range(3):
        await story.heals(f"s{number}")
        committed.notify()
        while alive.heard != await ids(store):
            alive.heard_one.clear()
            await alive.heard_one.wait()
    for task in tasks:
        task.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True))


async def test_what_nobody_woke_for_is_found_by_looking(
    story: Story, store: SqlStore, follow: Callable[..., Follower]
) -> None:
    clock = VirtualClock()
    listener = Listener()
    follower = follow(listener, clock=clock, store=clock.attended(store))
    await follower.begin()
    task = asyncio.create_task(follower.run())
    await clock.settle()
    await story.heals()
    await clock.settle()
    assert listener.heard == []
    await clock.run_for(5)
    assert listener.heard == await ids(store)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_while_it_waits_for_a_neighbour(
    story: Story, store: SqlStore, follow: Callable[..., Follower]
) -> None:
    listener = Listener(durable=True)
    follower = follow(listener, clock=SystemClock())
    await follower.begin()
    await story.heals()
    tried = asyncio.Event()

    def refuse(entry: Entry) -> None:
        tried.set()
        raise MAY_PASS

    listener.refuse = refuse
    task = asyncio.create_task(follower.run())
    await tried.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.cursor("listener") == 0

"""Pages and silences as states: posted, posted again, ended, and put right after whatever went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from virtual import VirtualClock

from remediator.engine.broadcast import Broadcast
from remediator.errors import RemoteError
from remediator.metrics import Metrics
from remediator.model.clock import rfc3339
from remediator.model.matcher import Matcher
from remediator.model.paging import HealSilence, PageAlert
from remediator.model.silence import Silence
from remediator.notify.alertmanager import EVERY, RESEND, Pager

START = 1_000_000.0
FAILED = PageAlert(
    {"alertname": "RemediationFailed", "service": "cart"}, {"summary": "it failed"}, START - 30, "/incidents/7"
)
HUSH = HealSilence(7, {"alertname": "Down", "service": "cart"}, START + 600)


@dataclass
class Cluster:
    """An Alertmanager in the place of the client: what was posted, and its silences."""

    clock: VirtualClock
    posts: list[tuple[float, list[Mapping[str, Any]]]] = field(default_factory=list)
    kept: dict[str, Silence] = field(default_factory=dict)
    down: bool = False
    answer_lost: bool = False
    looks: int = 0

    def _ask(self) -> None:
        if self.down:
            raise RemoteError("cannot ask: refused", retry=True)

    async def post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        self._ask()
        self.posts.append((self.clock.now() - START, list(alerts)))

    async def silences(self) -> list[Silence]:
        self._ask()
        self.looks += 1
        return [silence for silence in self.kept.values() if silence.ends_at > self.clock.now()]

    async def silence(
        self, labels: Mapping[str, str], starts_at: float, ends_at: float, author: str, comment: str
    ) -> str:
        self._ask()
        id = str(len(self.kept) + 1)
        matchers = tuple(Matcher(name, "=", value) for name, value in labels.items())
        self.kept[id] = Silence(id, matchers, starts_at, ends_at, author, comment)
        if self.answer_lost:
            raise RemoteError("cannot set a silence: no answer within 10s", retry=True)
        return id

    async def expire(self, id: str) -> None:
        self._ask()
        del self.kept[id]


class Bench:
    """A pager, and what it is to keep."""

    def __init__(self) -> None:
        self.clock = VirtualClock(START)
        self.cluster = Cluster(self.clock)
        self.pages: list[PageAlert] = []
        self.heal_silences: list[HealSilence] = []
        self.metrics = Metrics()
        self.committed = Broadcast()
        self.restart()

    def restart(self, mark: str = "https://heal") -> None:
        self.pager = Pager(
            self.cluster,  # type: ignore[arg-type]
            pages=lambda: self.pages,
            heal_silences=lambda: self.heal_silences,
            clock=self.clock,
            metrics=self.metrics,
            mark=mark,
            committed=self.committed,
            external_url="https://heal/",
        )

    @property
    def posted(self) -> list[tuple[float, str, str]]:
        """When which alert was posted, and until when it is good."""
        return [(at, one["labels"]["alertname"], one["endsAt"]) for at, alerts in self.cluster.posts for one in alerts]


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_a_page_says_what_where_and_since_when(bench: Bench) -> None:
    bench.pages = [FAILED]
    await bench.pager.once()
    ((_, (alert,)),) = bench.cluster.posts
    assert alert == {
        "labels": FAILED.labels,
        "annotations": {"summary": "it failed", "link": "https://heal/incidents/7"},
        "startsAt": rfc3339(START - 30),
        "endsAt": rfc3339(START + 240),
        "generatorURL": "https://heal/incidents/7",
    }


async def test_it_is_sent_again_every_minute_and_ended_once_when_it_is_over(bench: Bench) -> None:
    bench.pages = [FAILED]
    running = asyncio.ensure_future(bench.pager.run())
    await bench.clock.run_for(2 * RESEND + EVERY)
    bench.pages = []
    bench.committed.notify()
    await bench.clock.run_for(RESEND)
    times = [at for at, _, _ in bench.posted]
    assert times[0] == 0
    assert all(RESEND <= later - earlier <= RESEND + EVERY for earlier, later in pairwise(times[:-1]))
    last_at, _, last_end = bench.posted[-1]
    assert last_end == rfc3339(START + last_at)
    assert last_at <= 2 * RESEND + EVERY + 1
    running.cancel()


async def test_an_outage_delays_a_page_and_loses_none(bench: Bench) -> None:
    bench.cluster.down = True
    bench.pages = [FAILED]
    running = asyncio.ensure_future(bench.pager.run())
    await bench.clock.run_for(600)
    assert bench.posted == []
    bench.cluster.down = False
    await bench.clock.run_for(61)
    assert [name for _, name, _ in bench.posted] == ["RemediationFailed"]
    running.cancel()


async def test_one_that_ends_during_an_outage_is_ended_after_it(bench: Bench) -> None:
    bench.pages = [FAILED]
    await bench.pager.once()
    bench.pages, bench.cluster.down = [], True
    with pytest.raises(RemoteError):
        await bench.pager.once()
    bench.cluster.down = False
    await bench.pager.once()
    assert [end for _, _, end in bench.posted][1:] == [rfc3339(START)]
    await bench.pager.once()
    assert len(bench.posted) == 2


async def test_a_silence_is_set_once_kept_and_expired_at_once_when_the_heal_is_over(bench: Bench) -> None:
    bench.heal_silences = [HUSH]
    for _ in range(3):
        await bench.pager.once()
    (silence,) = bench.cluster.kept.values()
    assert (silence.author, silence.ends_at) == ("remediator", START + 600)
    assert silence.comment == "incident 7 is being healed (https://heal)"
    assert {matcher.name: matcher.value for matcher in silence.matchers} == HUSH.labels
    bench.heal_silences = []
    await bench.pager.once()
    assert bench.cluster.kept == {}


async def test_what_a_process_before_has_left_is_expired_and_what_it_goes_on_with_is_kept(bench: Bench) -> None:
    other = HealSilence(8, {"alertname": "Slow", "service": "shop"}, START + 600)
    bench.heal_silences = [HUSH, other]
    await bench.pager.once()
    before = dict(bench.cluster.kept)
    bench.restart()
    bench.heal_silences = [other]
    await bench.pager.once()
    assert list(bench.cluster.kept.values()) == [before["2"]]


async def test_a_silence_whose_answer_was_lost_is_found_and_a_double_goes(bench: Bench) -> None:
    bench.heal_silences = [HUSH]
    bench.cluster.answer_lost = True
    with pytest.raises(RemoteError):
        await bench.pager.once()
    bench.cluster.answer_lost = False
    await bench.cluster.silence(HUSH.labels, START, START + 600, "remediator", "incident 7 (https://heal)")
    await bench.pager.once()
    assert len(bench.cluster.kept) == 1


async def test_silences_of_people_and_of_another_remediator_are_left_alone(bench: Bench) -> None:
    await bench.cluster.silence(HUSH.labels, START, START + 600, "ada", "mine (https://heal)")
    await bench.cluster.silence(HUSH.labels, START, START + 600, "remediator", "incident 3 (https://other)")
    await bench.pager.once()
    assert len(bench.cluster.kept) == 2
    bench.heal_silences = [HUSH]
    await bench.pager.once()
    assert len(bench.cluster.kept) == 3


async def test_it_does_not_look_at_silences_while_there_can_be_none(bench: Bench) -> None:
    for _ in range(3):
        await bench.pager.once()
    assert bench.cluster.looks == 1


async def test_one_that_has_reached_its_end_is_not_set_again(bench: Bench) -> None:
    bench.heal_silences = [HealSilence(7, HUSH.labels, START - 1)]
    await bench.pager.once()
    assert bench.cluster.kept == {}


async def test_a_page_that_could_not_be_posted_is_posted_at_the_next_look(bench: Bench) -> None:
    bench.pages = [FAILED]
    bench.cluster.down = True
    with pytest.raises(RemoteError):
        await bench.pager.once()
    bench.cluster.down = False
    await bench.pager.once()
    assert [name for _, name, _ in bench.posted] == ["RemediationFailed"]


async def test_the_end_of_a_page_that_could_not_be_posted_is_posted_at_the_next_look(bench: Bench) -> None:
    bench.pages = [FAILED]
    await bench.pager.once()
    bench.pages = []
    bench.cluster.down = True
    with pytest.raises(RemoteError):
        await bench.pager.once()
    bench.cluster.down = False
    await bench.pager.once()
    assert [end for _, _, end in bench.posted][1:] == [rfc3339(START)]

"""Annotations: what they say, where they go, and that there is exactly one of each whatever happens to Grafana or us."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import cases
import msgspec
import pytest
from doubles.grafana import Fault, GrafanaDouble
from hypothesis import given, settings
from hypothesis import strategies as st
from notify.story import HastyClock, Story

from remediator.clients.grafana import Grafana
from remediator.clients.http_options import HttpClient
from remediator.metrics import Metrics
from remediator.model.action import Outcome
from remediator.model.gate import Gate
from remediator.model.incident import DIAGNOSE, Hold, Verdict
from remediator.model.rules import Dashboard
from remediator.notify.follower import Follower
from remediator.notify.grafana import GrafanaAnnouncer
from remediator.store.sql_store import SqlStore
from remediator.store.sqlite import open_sqlite

Items = list[dict[str, Any]]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def restart(grafana: Grafana, store: SqlStore, clock: HastyClock, metrics: Metrics) -> Callable[[], Follower]:
    """A follower as it is after a start of the process: it knows only what the store knows."""

    def make() -> Follower:
        announcer = GrafanaAnnouncer(grafana, store, external_url="https://heal.example/")
        return Follower(announcer, store, clock=clock, metrics=metrics)

    return make


@pytest.fixture
async def follower(restart: Callable[[], Follower]) -> Follower:
    made = restart()
    await made.begin()
    return made


def tagged(double: GrafanaDouble, tag: str) -> Items:
    return [item for item in double.annotations.values() if tag in item["tags"]]


def regions(double: GrafanaDouble) -> Items:
    return [item for item in double.annotations.values() if not any(tag.startswith("run:") for tag in item["tags"])]


def plain(item: dict[str, Any]) -> list[str]:
    """Its tags but for the one that only we read."""
    return [tag for tag in item["tags"] if not tag.startswith("key:")]


# What is said.


async def test_an_incident_is_a_point_that_becomes_a_region(
    story: Story, double: GrafanaDouble, follower: Follower
) -> None:
    incident = await story.opens()
    await follower.catch_up()
    (item,) = double.annotations.values()
    at = round(incident.opened_at * 1000)
    assert (item["time"], item["timeEnd"], item["dashboardUID"]) == (at, at, None)
    assert plain(item) == ["remediator", "service:checkout", "incident:1"]
    assert item["text"] == (
        "<b>checkout is failed</b><br>Why: error_ratio 0.2 &gt; 0.1 for 15s<br>Runbook: web<br>"
        '<a href="https://heal.example/incidents/1">incident 1</a>'
    )
    await story.ends(await story.begins(incident), Outcome.FAILED)
    await story.ends(await story.begins(incident, 1, "rollback"))
    closed = await story.closes(incident)
    await follower.catch_up()
    (item,) = regions(double)
    assert (item["time"], item["timeEnd"]) == (at, round(closed.closed_at * 1000))  # type: ignore[operator]
    assert plain(item) == ["remediator", "service:checkout", "action:rollback", "verdict:recovered", "incident:1"]
    assert item["text"] == (
        "<b>checkout recovered after 5s</b><br>healthy for 15s<br>Why: error_ratio 0.2 &gt; 0.1 for 15s<br>"
        "Runbook: web<br>restart: failed after 1s: it failed<br>rollback: succeeded after 1s<br>"
        '<a href="https://heal.example/incidents/1">incident 1</a>'
    )


async def test_a_step_is_a_point_that_learns_its_outcome(
    story: Story, double: GrafanaDouble, follower: Follower
) -> None:
    incident = await story.opens()
    run = await story.begins(incident)
    await follower.catch_up()
    (item,) = tagged(double, "run:1")
    at = round(run.started_at * 1000)
    assert (item["time"], item["timeEnd"]) == (at, at)
    assert plain(item) == ["remediator", "service:checkout", "action:restart", "incident:1", "run:1"]
    link = '<a href="https://heal.example/incidents/1">incident 1</a>'
    assert item["text"] == (
        "<b>restart checkout</b><br>running<br>Why: error_ratio 0.2 &gt; 0.1 for 15s<br>"
        f"<code>systemctl restart checkout</code><br>{link}"
    )
    await story.ends(run, Outcome.TIMED_OUT, "".join(f"line {n} <b>\n" for n in range(100)))
    await follower.catch_up()
    assert len(double.annotations) == 2
    assert (item["time"], item["timeEnd"]) == (at, at)
    assert plain(item)[:4] == ["remediator", "service:checkout", "action:restart", "outcome:timed_out"]
    lines = "\n".join(f"line {n} &lt;b&gt;" for n in range(90, 100))
    assert item["text"] == (
        "<b>restart checkout</b><br>timed out after 1s: it timed_out<br>Why: error_ratio 0.2 &gt; 0.1 for 15s<br>"
        f"<code>systemctl restart checkout</code><pre>{lines}</pre>{link}"
    )


async def test_evidence_is_part_of_the_region(story: Story, double: GrafanaDouble, follower: Follower) -> None:
    incident = await story.opens()
    await story.ends(await story.begins(incident, DIAGNOSE, "diagnose"), output="out of memory\n")
    await story.closes(incident, Verdict.CLEARED)
    await follower.catch_up()
    (item,) = double.annotations.values()
    assert "<pre>out of memory</pre>" in item["text"]
    assert plain(item) == ["remediator", "service:checkout", "action:none", "verdict:cleared", "incident:1"]


async def test_what_would_be_run_is_said_on_the_region(
    store: SqlStore, story: Story, double: GrafanaDouble, follower: Follower
) -> None:
    incident = await story.opens()
    await follower.catch_up()
    await store.hold_incident(incident.id, Hold(Gate.COOLDOWN, "restart was run"), story.now())
    await follower.catch_up()
    (item,) = double.annotations.values()
    assert "Held" not in item["text"]
    would = "runbook web is in observe mode: would run restart (systemctl restart checkout)"
    await store.hold_incident(incident.id, Hold(Gate.OBSERVE, would), story.now())
    await follower.catch_up()
    (item,) = double.annotations.values()
    assert f"Held: {would}" in item["text"]
    await story.closes(incident, Verdict.CLEARED)
    await follower.catch_up()
    (item,) = double.annotations.values()
    assert "Held" not in item["text"]


async def test_without_an_address_there_is_no_link(
    story: Story, store: SqlStore, grafana: Grafana, double: GrafanaDouble, clock: HastyClock
) -> None:
    follower = Follower(GrafanaAnnouncer(grafana, store), store, clock=clock, metrics=Metrics())
    await follower.begin()
    await story.opens()
    await follower.catch_up()
    assert double.annotations[1]["text"].endswith("<br>incident 1")


NASTY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


@given(name=NASTY, action=NASTY, text=NASTY, output=NASTY)
def test_whatever_things_are_called_grafana_keeps_it(name: str, action: str, text: str, output: str) -> None:
    """No second colon, no tag or list of tags too long, no markup from outside, and no NUL, which PostgreSQL refuses."""
    announcer = GrafanaAnnouncer(None, None, external_url="https://heal.example")  # type: ignore[arg-type]
    run = msgspec.structs.replace(cases.run(2**62, action=action, output=output, text=text), service=name)
    incident = cases.incident(None, run, id=2**62, service=name, text=text, closing=text)
    incident = msgspec.structs.replace(incident, closed_at=cases.NOW, verdict=Verdict.SUPERSEDED)
    double = GrafanaDouble()
    for annotation in (announcer._region(incident), announcer._point(incident, run)):
        tags = [*annotation.tags, "key:0123456789abcdef"]
        assert all(tag.count(":") <= 1 and len(tag.partition(":")[2]) <= 100 and tag.isprintable() for tag in tags)
        assert 2 + sum(len(tag.encode()) + 3 for tag in tags) <= double.tags_length
        assert len(annotation.text) < 20_000
        assert "\0" not in annotation.text
        stripped = annotation.text
        for ours in ("<b>", "</b>", "<br>", "<pre>", "</pre>", "</a>", '<a href="https://heal.example/incidents/'):
            stripped = stripped.replace(ours, "")
        assert "<" not in stripped


async def test_a_hostile_service_is_kept_as_it_is_written(
    story: Story, double: GrafanaDouble, follower: Follower
) -> None:
    name = 'shop/a:b:c <img src=x onerror="alert(1)">\n' + "x" * 200
    await story.heals(name)
    await follower.catch_up()
    assert len(double.annotations) == 2
    for item in double.annotations.values():
        service = next(tag for tag in item["tags"] if tag.startswith("service:"))
        assert service.startswith('service:shop/a_b_c <img src=x onerror="alert(1)"> xxx')
        assert "<img" not in item["text"]


# Where it goes.


async def test_the_dashboard_the_rules_name(story: Story, double: GrafanaDouble, follower: Follower) -> None:
    double.dashboards |= {"rules", "alert"}
    plan = cases.plan(dashboard=Dashboard("rules", 3))
    incident = await story.opens(plan=plan, annotations={"__dashboardUid__": "alert", "__panelId__": "9"})
    await story.begins(incident)
    await follower.catch_up()
    assert [(i["dashboardUID"], i["panelId"]) for i in double.annotations.values()] == [("rules", 3)] * 2


@pytest.mark.parametrize(
    ("panel", "kept"), [("9", 9), ("", 0), ("x", 0), ("-1", 0), ("９", 0), ("9" * 30, 0), ("1.5", 0)]
)
async def test_the_dashboard_the_alert_names(
    story: Story, double: GrafanaDouble, follower: Follower, panel: str, kept: int
) -> None:
    double.dashboards.add("alert")
    incident = await story.opens(annotations={"__dashboardUid__": "alert", "__panelId__": panel})
    await story.begins(incident)
    await follower.catch_up()
    assert [(i["dashboardUID"], i["panelId"]) for i in double.annotations.values()] == [("alert", kept)] * 2


async def test_an_unknown_dashboard_leaves_it_to_the_organisation(
    story: Story, double: GrafanaDouble, follower: Follower
) -> None:
    await story.opens(annotations={"__dashboardUid__": "gone"})
    await follower.catch_up()
    assert double.annotations[1]["dashboardUID"] is None


async def test_a_forbidden_dashboard_holds_nothing_up(
    story: Story, double: GrafanaDouble, follower: Follower, metrics: Metrics
) -> None:
    double.dashboards.add("secret")
    double.forbidden_dashboards.add("secret")
    await story.opens(annotations={"__dashboardUid__": "secret", "__panelId__": "1"})
    await follower.catch_up()
    assert [(i["dashboardUID"], i["panelId"]) for i in double.annotations.values()] == [(None, 0)]
    assert metrics.registry.get_sample_value("remediator_announcer_failures_total", {"announcer": "grafana"}) == 0


# Exactly one of each.


async def complete(store: SqlStore, double: GrafanaDouble) -> None:
    """Grafana shows each incident and each step run once, and as the store has it."""
    incidents = await store.incidents(limit=1000)
    runs = [run for incident in incidents for run in incident.runs if run.step != DIAGNOSE]
    counts = Counter(
        next((tag for tag in item["tags"] if tag.startswith("run:")), None)
        or next(tag for tag in item["tags"] if tag.startswith("incident:"))
        for item in double.annotations.values()
    )
    assert counts == Counter([*(f"incident:{i.id}" for i in incidents), *(f"run:{r.id}" for r in runs)])
    for incident in incidents:
        (item,) = [item for item in regions(double) if f"incident:{incident.id}" in item["tags"]]
        begin, end = incident.opened_at, incident.closed_at or incident.opened_at
        assert (item["time"], item["timeEnd"]) == (round(begin * 1000), round(end * 1000))
        assert (f"verdict:{incident.verdict}" in item["tags"]) == (incident.verdict is not None)
    for run in runs:
        (item,) = tagged(double, f"run:{run.id}")
        assert item["time"] == item["timeEnd"] == round(run.started_at * 1000)
        assert (f"outcome:{run.outcome}" in item["tags"]) == (run.outcome is not None)


async def test_told_late_it_is_as_good(
    story: Story, store: SqlStore, double: GrafanaDouble, follower: Follower
) -> None:
    await double.stop()
    for number in range(20):
        await story.heals(f"s{number}")
    await double.start()
    await follower.catch_up()
    await complete(store, double)


async def test_an_outage_in_the_middle_of_an_incident(
    story: Story, store: SqlStore, double: GrafanaDouble, follower: Follower, clock: HastyClock
) -> None:
    incident = await story.opens()
    run = await story.begins(incident)
    await follower.catch_up()
    await double.stop()
    await story.ends(run)
    await story.closes(incident)
    caught_up = asyncio.create_task(follower.catch_up())
    while len(clock.waits) < 50:
        await asyncio.sleep(0)
    await double.start()
    await caught_up
    await complete(store, double)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.ERROR,
        Fault.TOO_MANY,
        Fault.GATEWAY,
        Fault.LOGIN_PAGE,
        Fault.DROP,
        Fault.DONE_THEN_DROP,
        Fault.DONE_THEN_ERROR,
        Fault.HALF_DONE,
    ],
)
@pytest.mark.parametrize("at", range(8))
async def test_one_fault_at_any_request(
    story: Story, store: SqlStore, double: GrafanaDouble, follower: Follower, fault: Fault, at: int
) -> None:
    double.next_faults.extend([*[Fault.NONE] * at, fault])
    incident = await story.opens()
    await follower.catch_up()
    await story.ends(await story.begins(incident))
    await follower.catch_up()
    await story.closes(incident)
    await follower.catch_up()
    await complete(store, double)


async def test_a_creation_carried_out_long_after_we_gave_it_up(
    story: Story, store: SqlStore, double: GrafanaDouble, follower: Follower
) -> None:
    """Looking for it finds nothing yet, so it is created again; the double is gone when the incident is over."""
    double.next_faults.extend([Fault.NONE, Fault.NONE, Fault.DONE_LATE])
    incident = await story.opens()
    await follower.catch_up()
    double.finish_late()
    assert len(double.annotations) == 2
    await story.closes(incident)
    await follower.catch_up()
    await complete(store, double)


async def test_without_the_right_to_delete_a_double_stays(
    story: Story, double: GrafanaDouble, follower: Follower
) -> None:
    double.permissions = {"annotations:create", "annotations:read", "annotations:write"}
    double.next_faults.extend([Fault.NONE, Fault.NONE, Fault.DONE_LATE])
    incident = await story.opens()
    await follower.catch_up()
    double.finish_late()
    await story.closes(incident)
    await follower.catch_up()
    assert len(double.annotations) == 2
    assert len(tagged(double, "verdict:recovered")) == 1


@pytest.mark.parametrize("narrow", [False, True])
async def test_what_somebody_deleted_comes_back_with_the_end(
    story: Story, store: SqlStore, double: GrafanaDouble, follower: Follower, narrow: bool
) -> None:
    """As it does when Grafana itself has lost its database meanwhile."""
    double.narrow = narrow
    incident = await story.opens()
    run = await story.begins(incident)
    await follower.catch_up()
    double.annotations.clear()
    await story.ends(run)
    await story.closes(incident)
    await follower.catch_up()
    await complete(store, double)


async def test_what_somebody_moved_is_still_ours(
    story: Story, store: SqlStore, double: GrafanaDouble, follower: Follower
) -> None:
    incident = await story.opens()
    await follower.catch_up()
    double.annotations[1]["time"] -= 5000
    await story.closes(incident)
    await follower.catch_up()
    assert len(double.annotations) == 1
    assert "verdict:recovered" in double.annotations[1]["tags"]


async def test_a_right_that_is_missing_is_waited_for(
    story: Story, store: SqlStore, double: GrafanaDouble, follower: Follower, clock: HastyClock
) -> None:
    incident = await story.opens()
    await follower.catch_up()
    double.permissions = {"annotations:create", "annotations:read"}
    await story.closes(incident)
    caught_up = asyncio.create_task(follower.catch_up())
    while len(clock.waits) < 5:
        await asyncio.sleep(0)
    assert len(double.annotations) == 1
    double.permissions |= {"annotations:write"}
    await caught_up
    await complete(store, double)


async def test_what_grafana_will_never_take_is_given_up(
    story: Story, store: SqlStore, double: GrafanaDouble, follower: Follower, metrics: Metrics
) -> None:
    double.tags_length = 10
    incident = await story.opens()
    await follower.catch_up()
    assert metrics.registry.get_sample_value("remediator_announcer_dropped_total", {"announcer": "grafana"}) == 1
    double.tags_length = 500
    await story.closes(incident)
    await follower.catch_up()
    await complete(store, double)


async def test_two_databases_share_a_grafana(
    grafana: Grafana, double: GrafanaDouble, tmp_path: Path, clock: HastyClock
) -> None:
    """Both count from 1, for the same service, in the same second; neither takes the other's annotations for its own."""
    for number in (1, 2):
        store = await open_sqlite(str(tmp_path / f"{number}.db"))
        follower = Follower(GrafanaAnnouncer(grafana, store), store, clock=clock, metrics=Metrics())
        await follower.begin()
        story = Story(store)
        await story.opens(opened_at=cases.NOW + number * 1e-6)
        await follower.catch_up()
        await store.close()
    assert len(tagged(double, "incident:1")) == 2


class Fuse:
    """Ends a task when it has burnt down: everything after that moment is as if the process had been killed."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.task: asyncio.Task[None] | None = None

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0 and self.task is not None:
            self.task.cancel()


class Fused:
    """An object whose every async method burns a fuse before and after it does its work."""

    def __init__(self, thing: object, fuse: Fuse) -> None:
        self._thing, self._fuse = thing, fuse

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.burn()
            result = await getattr(self._thing, name)(*args, **kwargs)
            self._fuse.burn()
            # A cancelled task goes on until it waits: this is where the process dies.
            await asyncio.sleep(0)
            return result

        return call


FAULTS = st.sampled_from([fault for fault in Fault if fault not in (Fault.HANG, Fault.DONE_THEN_HANG, Fault.DONE_LATE)])
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("heal"), st.integers(0, 2)),
        st.tuples(st.just("opens"), st.integers(0, 2)),
        st.tuples(st.just("begins"), st.integers(0, 2)),
        st.tuples(st.just("ends"), st.integers(0, 2)),
        st.tuples(st.just("closes"), st.integers(0, 2)),
        st.tuples(st.just("faults"), st.lists(FAULTS, max_size=6)),
        st.tuples(st.just("outage"), st.booleans()),
        st.tuples(st.just("killed after"), st.integers(1, 40)),
    ),
    max_size=25,
)


@pytest.mark.slow
@settings(max_examples=60)
@given(acts=ACTS)
def test_neither_lost_nor_doubled_whatever_happens(tmp_path_factory: pytest.TempPathFactory, acts: list[Any]) -> None:
    asyncio.run(play(tmp_path_factory.mktemp("play"), acts))


async def play(folder: Path, acts: list[tuple[str, Any]]) -> None:
    double = GrafanaDouble()
    await double.start()
    store = await open_sqlite(str(folder / "remediator.db"))
    story, clock = Story(store), HastyClock()
    grafana = Grafana(HttpClient(double.url))

    async def follow(fuse: Fuse) -> None:
        """One life of the process, until it has told everything or its fuse has burnt down."""
        memory: Any = Fused(store, fuse)
        announcer = GrafanaAnnouncer(Fused(grafana, fuse), memory)  # type: ignore[arg-type]
        follower = Follower(announcer, memory, clock=clock, metrics=Metrics())
        fuse.task = asyncio.create_task(follower.catch_up())
        await asyncio.wait([fuse.task])
        if not fuse.task.cancelled():
            fuse.task.result()

    await follow(Fuse(10_000))
    try:
        for act, what in acts:
            name = f"s{what}"
            incident = next((i for i in await store.open_incidents() if i.service == name), None)
            match act:
                case "heal" if incident is None:
                    await story.heals(name)
                case "opens" if incident is None:
                    await story.opens(name)
                case "begins" if incident is not None and incident.running is None:
                    await story.begins(incident, attempt=len(incident.runs) + 1)
                case "ends" if incident is not None and incident.running is not None:
                    await story.ends(incident.running)
                case "closes" if incident is not None and incident.running is None:
                    await story.closes(incident)
                case "faults":
                    double.next_faults.extend(what)
                case "outage":
                    double.fault = Fault.ERROR if what else Fault.NONE
                case "killed after":
                    await follow(Fuse(what))
        double.fault = Fault.NONE
        await follow(Fuse(100_000))
        await complete(store, double)
    finally:
        await grafana.close()
        await store.close()
        await double.stop()


# The real end of a real process.

CHILD = """
import asyncio, sys
from remediator.notify.follower import Follower
from remediator.notify.grafana import GrafanaAnnouncer
from remediator.model.clock import SystemClock
from remediator.clients.grafana import Grafana
from remediator.clients.http_options import HttpClient
from remediator.metrics import Metrics
from remediator.store.sqlite import open_sqlite

async def main(path, url):
    store = await open_sqlite(path)
    grafana = Grafana(HttpClient(url))
    follower = Follower(GrafanaAnnouncer(grafana, store), store, clock=SystemClock(), metrics=Metrics())
    await follower.catch_up()
    await grafana.close()
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def spawn() -> AsyncIterator[Callable[..., Any]]:
    spawned = []

    async def start(path: Path, url: str) -> asyncio.subprocess.Process:
        spawned.append(await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(path), url))
        return spawned[-1]

    yield start
    for process in spawned:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("before", range(4))
async def test_killed_between_grafanas_commit_and_ours(
    tmp_path: Path, double: GrafanaDouble, spawn: Callable[..., Any], before: int
) -> None:
    """kill -9 while the answer to a request is awaited that Grafana has carried out."""
    path = tmp_path / "remediator.db"
    store = await open_sqlite(str(path))
    await store.move_cursor("grafana", 0)
    await Story(store).heals()
    await store.close()
    carried_out = asyncio.Event()
    double.next_faults.extend([*[Fault.NONE] * before, Fault.DONE_THEN_HANG])
    double.carried_out = carried_out.set
    killed = await spawn(path, double.url)
    await carried_out.wait()
    os.kill(killed.pid, signal.SIGKILL)
    await killed.wait()
    assert await (await spawn(path, double.url)).wait() == 0
    store = await open_sqlite(str(path))
    await complete(store, double)
    await store.close()

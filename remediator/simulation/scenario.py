"""A world to tell stories in: remediator, what surrounds it, and everybody who acts on it, on virtual time.

async def story(world: World) -> None:
    world.set("error_ratio", 0.2, service="checkout")
    world.command("systemctl restart checkout*", Effect(then=lambda: world.set("error_ratio", 0, service="checkout")))
    await world.pass_time(300)
    assert world.commands == ["systemctl restart checkout.service"]

rehearse(rulebook, story)
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from remediator.clients.grafana import Annotation
from remediator.config.policy import Policy
from remediator.decision.case import ServiceView, Why
from remediator.decision.decide import Ask, decide
from remediator.errors import ConflictError, RemediatorError
from remediator.model.alert import Alert, fingerprint
from remediator.model.health import Health, QueryStatus
from remediator.model.incident import Approval, Entry, Hold, Incident, Pause, StoredAlert, Verdict
from remediator.model.matcher import parse_matcher
from remediator.model.paging import PageAlert
from remediator.model.rulebook import Rulebook
from remediator.model.silence import Silence
from remediator.simulation.fake_grafana import FakeGrafana
from remediator.simulation.patterns import fits, typed
from remediator.simulation.process import Process
from remediator.simulation.scripted import Effect, Ran, Sample, ScriptedEnvironment
from remediator.simulation.virtual_loop import START, VirtualLoop, run_virtually
from remediator.store.sql_store import SqlStore
from remediator.store.sqlite import open_in_memory

T = TypeVar("T")

EVALUATION = 5.0
"""Seconds between two evaluations, as in the config's default."""


class Scenario:
    """One remediator and its surroundings. Made inside of a `VirtualLoop`, one per loop; `rehearse` does so.

    Times that are given and returned are seconds since the beginning of the story, but for those within alerts,
    incidents and entries, which are seconds since the epoch. Acts are done at the present time; the effect of an act is
    there once time has passed, or after `rest`. Without `leap` every look is made, even those that see nothing new.
    """

    def __init__(
        self, rulebook: Rulebook, policy: Policy | None = None, interval: float = EVALUATION, *, leap: bool = True
    ) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise TypeError("cannot make a world here: it wants a VirtualLoop to run in")
        self.rulebook = rulebook
        self.policy = policy or Policy()
        self.environment = ScriptedEnvironment()
        self.grafana = FakeGrafana()
        self.start = loop.time()
        self._interval = interval
        self._leap = leap
        self._loop = loop
        self._store: SqlStore = open_in_memory()
        self._silences: tuple[Silence, ...] = ()
        self._requests: set[asyncio.Task[Any]] = set()
        self.process: Process | None = None

    # Time.

    @property
    def now(self) -> float:
        """Seconds since the beginning of the story."""
        return self._loop.time() - self.start

    async def rest(self) -> None:
        """Let everything happen that happens at this time."""
        await self._loop.rest()

    async def pass_time(self, seconds: float) -> None:
        """Let this much time pass, and everything happen that happens at the end of it."""
        await asyncio.sleep(seconds)
        await self._loop.rest()

    async def pass_until(self, time: float) -> None:
        """Let time pass until this time of the story."""
        await self.pass_time(self.start + time - self._loop.time())

    async def until(self, condition: Callable[[], object], within: float = 3600.0, step: float = 1.0) -> bool:
        """Let time pass, a step at a time, until the condition is true; whether it came true within so many seconds."""
        end = self.now + within
        await self.rest()
        while not condition():
            if self.now >= end:
                return False
            await self.pass_time(step)
        return True

    def at(self, time: float, act: Callable[[], object]) -> None:
        """Do something plain, such as setting a value, at a time of the story."""
        self._loop.call_at(self.start + time, act)

    # Prometheus.

    def set(self, expr: str, value: Sample, **labels: str) -> None:
        """The value that a query has from now on for one series; None takes the series away. A guard is true while it
        has any series: `set("rollout", 1)`, and `set("rollout", None)`."""
        self.environment.put(expr, labels, [value])

    def values(self, expr: str, labels: Mapping[str, str], values: Iterable[Sample], interval: float) -> None:
        """The values that a query has from now on for one series, one per interval; the last one stays."""
        self.environment.put(expr, labels, values, interval)

    def refuse(self, expr: str, sight: QueryStatus = QueryStatus.EXECUTION, error: str = "") -> None:
        """Prometheus does not answer this query from now on, until `answer_again`."""
        self.environment.refuse(expr, sight, error)

    def answer_again(self, expr: str) -> None:
        """Prometheus answers this query again."""
        self.environment.refuse(expr, QueryStatus.SEEN)

    def prometheus_down(self, sight: QueryStatus = QueryStatus.UNREACHABLE) -> None:
        """Prometheus answers nothing from now on."""
        self.environment.refuse("", sight, "cannot reach Prometheus")

    def prometheus_up(self) -> None:
        """Prometheus answers again."""
        self.environment.refuse("", QueryStatus.SEEN)

    # The hands.

    def command(self, pattern: str, *effects: Effect) -> None:
        """What commands do that fit the pattern: as one would type them, where `*` stands for anything: one effect
        after another, the last one stays. Without a word on it, a command takes a second and changes nothing."""
        self.environment.on(lambda call: fits(pattern, typed(call), str(call)), effects)

    @property
    def ran(self) -> list[Ran]:
        """Every call that was made, in order."""
        return self.environment.ran

    @property
    def commands(self) -> list[str]:
        """The same as texts."""
        return [ran.text for ran in self.environment.ran]

    # Alertmanager.

    async def fire(self, alertname: str, annotations: Mapping[str, str] | None = None, **labels: str) -> Alert:
        """An alert arrives."""
        every = {"alertname": alertname, **labels}
        alert = Alert(fingerprint(every), self._loop.time(), None, every, dict(annotations or {}))
        await self._running.intake([alert])
        return alert

    async def resolve(self, alert: Alert) -> None:
        """Alertmanager says that an alert is over."""
        over = Alert(alert.fingerprint, alert.starts_at, self._loop.time(), alert.labels, alert.annotations)
        await self._running.intake([over])

    def silence(self, *matchers: str, for_: float, comment: str = "a comment", author: str = "alex") -> None:
        """Someone silences alerts in Alertmanager, and remediator hears of it."""
        now, found = self._loop.time(), tuple(parse_matcher(matcher) for matcher in matchers)
        self._silences += (Silence(f"silence-{len(self._silences) + 1}", found, now, now + for_, author, comment),)
        self._running.engine.silenced(self._silences)

    def expire(self) -> None:
        """All silences are taken away."""
        self._silences = ()
        self._running.engine.silenced(())

    # Operators.

    async def heal(self, service: str, comment: str = "", *, force: bool = False, author: str = "alex") -> None:
        """An operator asks for a heal, and does not wait for the answer."""
        work = self._running.engine.heal(service, author, comment, force)
        self._requests.add(task := asyncio.create_task(work))
        task.add_done_callback(self._requests.discard)

    async def pause(self, *matchers: str, for_: float, comment: str = "a comment", author: str = "alex") -> Pause:
        """An operator pauses healing."""
        now = self._loop.time()
        found = [parse_matcher(matcher) for matcher in matchers]
        pause = await self._store.add_pause(found, now, now + for_, author, comment)
        self._running.engine.answered()
        # The daemon finds out by asking its store now and then.
        self._loop.call_at(pause.ends_at, self._read_again)
        return pause

    async def resume(self, id: int, author: str = "alex") -> None:
        """An operator ends a pause."""
        await self._store.end_pause(id, author, self._loop.time())
        self._running.engine.answered()

    async def approve(self, incident: int, comment: str = "", author: str = "alex") -> None:
        """An operator says yes."""
        await self._answer(incident, Approval(True, author, comment, self._loop.time()))

    async def deny(self, incident: int, comment: str = "", author: str = "alex") -> None:
        """An operator says no."""
        await self._answer(incident, Approval(False, author, comment, self._loop.time()))

    async def dismiss(self, incident: int, comment: str = "a comment", author: str = "alex") -> None:
        """An operator closes an incident. ConflictError while a step of it runs."""
        stored = await self._store.incident(incident)
        if stored is None or not stored.open or stored.running is not None:
            raise ConflictError(f"cannot dismiss incident {incident}: it is not open, or a step of it runs")
        view = self.view(stored.service)
        health = view.health if view is not None else Health.UNKNOWN
        text = f"dismissed by {author}: {comment}"
        await self._store.close_incident(incident, Verdict.DISMISSED, text, health, self._loop.time())
        self._running.engine.answered()

    # Its own life.

    async def boot(self) -> None:
        """Start remediator, on what its store holds."""
        self.process = Process(
            self.rulebook,
            self.policy,
            self._interval,
            self.environment,
            self.grafana,
            self._store,
            self._loop,
            self._leap,
        )
        await self.process.start()
        self.process.engine.silenced(self._silences)
        await self.rest()

    async def crash(self) -> None:
        """End it as kill -9 does, commands with it."""
        process, self.process = self._running, None
        for task in self._requests:
            task.cancel()
        await process.kill()

    async def shut_down(self) -> None:
        """End it as SIGTERM does."""
        process, self.process = self._running, None
        await process.stop()

    async def reload(self, rulebook: Rulebook, policy: Policy | None = None) -> None:
        """Go on by other rules, as after a SIGHUP."""
        self.rulebook, self.policy = rulebook, policy or self.policy
        if self.process is not None:
            self.process.evaluator.swap(self.rulebook)
            await self.process.engine.reload(self.rulebook, self.policy)

    async def close(self) -> None:
        """The end of the world."""
        if self.process is not None:
            await self.crash()
        await self._store.close()

    # What is to be seen.

    def view(self, service: str) -> ServiceView | None:
        """A service as it is shown; None when there is none, or remediator is down."""
        return self.process.state.view(service, self._loop.time()) if self.process is not None else None

    def health(self, service: str) -> Health:
        """A service's health as it is shown."""
        view = self.view(service)
        return view.health if view is not None else Health.UNKNOWN

    async def why(self, service: str) -> Why | None:
        """The account of a service."""
        return await self._running.engine.why(service)

    def decision(self, service: str) -> str:
        """The sentence of the decision on a service as it is now; empty when there is no such service."""
        state = self._running.state
        case = state.observe(service, self._loop.time())
        decision = decide(case) if case is not None else None
        if isinstance(decision, Ask):
            # It would ask again, and then say so again.
            return state.decided.get(service, decision.text)
        return decision.text if decision is not None else ""

    def hold(self, service: str) -> Hold | None:
        """What holds a service's heal, or its alerts when it has no incident; None when nothing does."""
        state = self._running.state
        incident = state.open.get(service)
        return incident.hold if incident is not None else state.waiting.get(service)

    def pages(self) -> list[PageAlert]:
        """What people are being called for."""
        return self._running.engine.pages()

    async def incidents(self) -> list[Incident]:
        """Every incident, oldest first."""
        return list(reversed(await self._store.incidents(limit=100_000)))

    async def open_incidents(self) -> list[Incident]:
        """The open ones."""
        return await self._store.open_incidents()

    async def alerts(self) -> list[StoredAlert]:
        """Every alert, oldest change first."""
        return list(reversed(await self._store.alerts(limit=1_000_000)))

    async def journal(self) -> list[Entry]:
        """Every entry, oldest first."""
        return await self._store.journal(limit=1_000_000)

    async def metric(self, name: str, **labels: str) -> float:
        """A metric of remediator's own, counted since its last start: the sum of the samples with these labels."""
        await self._running.count()
        families = self._running.metrics.registry.collect()
        samples = (sample for family in families for sample in family.samples)
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    async def annotations(self, service: str) -> list[Annotation]:
        """What Grafana has been told of a service, oldest first."""
        await self._running.annotate()
        return [shown for shown in self.grafana.annotations.values() if f"service:{service}" in shown.tags]

    @property
    def _running(self) -> Process:
        if self.process is None:
            raise RemediatorError("cannot do that: remediator is down")
        return self.process

    def _read_again(self) -> None:
        if self.process is not None:
            self.process.engine.answered()

    async def _answer(self, incident: int, approval: Approval) -> None:
        await self._store.answer(incident, approval)
        self._running.engine.answered()


def rehearse(
    rulebook: Rulebook,
    story: Callable[[Scenario], Coroutine[Any, Any, T] | Awaitable[T]],
    policy: Policy | None = None,
    interval: float = EVALUATION,
    start: float = START,
    *,
    leap: bool = True,
) -> T:
    """Tell a story in a world of its own, in which remediator has been started; what the story returns.

    `interval` is the seconds between evaluations, `start` the time at which the story begins. To be called from outside
    of any event loop.
    """
    return run_virtually(functools.partial(_tell, rulebook, story, policy, interval, leap), start)


async def _tell(
    rulebook: Rulebook,
    story: Callable[[Scenario], Coroutine[Any, Any, T] | Awaitable[T]],
    policy: Policy | None,
    interval: float,
    leap: bool,
) -> T:
    scenario = Scenario(rulebook, policy, interval, leap=leap)
    try:
        await scenario.boot()
        return await story(scenario)
    finally:
        await scenario.close()

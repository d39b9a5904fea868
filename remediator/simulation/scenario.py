"""Scenarios: stories about one remediator, its surroundings and everybody who acts on it, on virtual time.

async def story(scenario: Scenario) -> None:
    fixed = Effect(then=lambda: scenario.set("error_ratio", 0, service="checkout"))
    scenario.set("error_ratio", 0.2, service="checkout")
    scenario.command("systemctl restart checkout*", fixed)
    await scenario.pass_time(300)
    assert scenario.commands == ["systemctl restart checkout.service"]

rehearse(rulebook, story)
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from remediator.config.policy import Policy
from remediator.errors import ConflictError
from remediator.model.alert import Alert, fingerprint
from remediator.model.health import Health, QueryStatus
from remediator.model.incident import Approval, Pause, Verdict
from remediator.model.matcher import parse_matcher
from remediator.model.rulebook import Rulebook
from remediator.model.silence import Silence
from remediator.simulation.patterns import fits_call
from remediator.simulation.process import Process
from remediator.simulation.scenario_view import ScenarioView
from remediator.simulation.scripted import Effect, Sample
from remediator.simulation.virtual_loop import START, run_virtually

T = TypeVar("T")

EVALUATION = 5.0
"""Seconds between two evaluations, as in the config's default."""


class Scenario(ScenarioView):
    """One remediator and its surroundings. Each `VirtualLoop` has room for one; `rehearse` makes both.

    Times are seconds since the beginning of the story. Those inside alerts, incidents and entries are seconds since the
    epoch. An act happens at the present time, and its effects are visible once time has passed, or after `rest`.
    Without `leap` every evaluation is made, even those that would see nothing new.
    """

    def __init__(
        self, rulebook: Rulebook, policy: Policy | None = None, interval: float = EVALUATION, *, leap: bool = True
    ) -> None:
        super().__init__()
        self.rulebook = rulebook
        self.policy = policy or Policy()
        self._interval = interval
        self._leap = leap
        self._silences: tuple[Silence, ...] = ()
        self._requests: set[asyncio.Task[Any]] = set()
        for step in (step for runbook in rulebook.runbooks for step in runbook.steps):
            for condition in filter(None, (step.if_, step.unless)):
                self.environment.know_condition(condition)

    # Time.

    async def rest(self) -> None:
        """Let everything happen that is due now."""
        await self._loop.rest()

    async def pass_time(self, seconds: float) -> None:
        """Let this much time pass, and everything happen that is due at the end of it."""
        await asyncio.sleep(seconds)
        await self._loop.rest()

    async def pass_until(self, time: float) -> None:
        """Let time pass until this time of the story."""
        await self.pass_time(self.start + time - self._loop.time())

    async def until(self, condition: Callable[[], object], within: float = 3600.0, step: float = 1.0) -> bool:
        """Let time pass, a step at a time, until the condition is true. Returns whether that was within `within` seconds."""
        end = self.now + within
        await self.rest()
        while not condition():
            if self.now >= end:
                return False
            await self.pass_time(step)
        return True

    def at(self, time: float, act: Callable[[], object]) -> None:
        """Call something synchronous, such as `set`, at a time of the story."""
        self._loop.call_at(self.start + time, act)

    # Prometheus.

    def set(self, expr: str, value: Sample, **labels: str) -> None:
        """Set the value of one series in a query's answer from now on. None takes the series away.

        A guard is true at 1 and false at 0: `set("rollout", 1)`, then `set("rollout", 0)`. None is an empty answer.
        """
        self.environment.put(expr, labels, [value])

    def values(self, expr: str, labels: Mapping[str, str], values: Iterable[Sample], interval: float) -> None:
        """Set the values of one series in a query's answer from now on, one per interval. The last one stays."""
        self.environment.put(expr, labels, values, interval)

    def refuse(self, expr: str, query_status: QueryStatus = QueryStatus.EXECUTION, error: str = "") -> None:
        """Have Prometheus refuse this query until `answer_again`."""
        self.environment.refuse(expr, query_status, error)

    def answer_again(self, expr: str) -> None:
        """Have Prometheus answer this query again."""
        self.environment.refuse(expr, QueryStatus.SEEN)

    def prometheus_down(self, query_status: QueryStatus = QueryStatus.UNREACHABLE) -> None:
        """Have Prometheus answer no query until `prometheus_up`."""
        self.environment.refuse("", query_status, "cannot reach Prometheus")

    def prometheus_up(self) -> None:
        """Have Prometheus answer again."""
        self.environment.refuse("", QueryStatus.SEEN)

    # Commands and requests.

    def command(self, pattern: str, *effects: Effect) -> None:
        """Set what the calls that fit the pattern do: one effect after another, and the last one stays.

        The pattern is a command as one would type it, where `*` stands for anything. A command without any effect takes
        a second and changes nothing.
        """
        self.environment.on(lambda call: fits_call(pattern, call), effects)

    # Alertmanager.

    async def fire(self, alertname: str, annotations: Mapping[str, str] | None = None, **labels: str) -> Alert:
        """Have Alertmanager send a firing alert."""
        every = {"alertname": alertname, **labels}
        alert = Alert(fingerprint(every), self._loop.time(), None, every, dict(annotations or {}))
        await self._running.intake([alert])
        return alert

    async def resolve(self, alert: Alert) -> None:
        """Have Alertmanager send the alert as resolved."""
        over = Alert(alert.fingerprint, alert.starts_at, self._loop.time(), alert.labels, alert.annotations)
        await self._running.intake([over])

    def silence(self, *matchers: str, for_: float, comment: str = "a comment", author: str = "alex") -> None:
        """Silence alerts in Alertmanager. remediator knows at once."""
        now, found = self._loop.time(), tuple(parse_matcher(matcher) for matcher in matchers)
        self._silences += (Silence(f"silence-{len(self._silences) + 1}", found, now, now + for_, author, comment),)
        self._running.engine.on_silences(self._silences)

    def expire(self) -> None:
        """Expire every silence in Alertmanager."""
        self._silences = ()
        self._running.engine.on_silences(())

    # Operators.

    async def heal(self, service: str, comment: str = "", *, force: bool = False, author: str = "alex") -> None:
        """Ask for a heal as an operator does, without waiting for the answer."""
        work = self._running.engine.heal(service, author, comment, force)
        self._requests.add(task := asyncio.create_task(work))
        task.add_done_callback(self._requests.discard)

    async def pause(self, *matchers: str, for_: float, comment: str = "a comment", author: str = "alex") -> Pause:
        """Pause healing as an operator does."""
        now = self._loop.time()
        found = [parse_matcher(matcher) for matcher in matchers]
        pause = await self._store.add_pause(found, now, now + for_, author, comment)
        self._running.engine.on_operator_action()
        # The daemon notices the end of a pause by polling its store.
        self._loop.call_at(pause.ends_at, self._read_again)
        return pause

    async def resume(self, id: int, author: str = "alex") -> None:
        """End a pause as an operator does."""
        await self._store.end_pause(id, author, self._loop.time())
        self._running.engine.on_operator_action()

    async def approve(self, incident: int, comment: str = "", author: str = "alex") -> None:
        """Approve the incident's plan as an operator does."""
        await self._answer(incident, Approval(True, author, comment, self._loop.time()))

    async def deny(self, incident: int, comment: str = "", author: str = "alex") -> None:
        """Deny the incident's plan as an operator does."""
        await self._answer(incident, Approval(False, author, comment, self._loop.time()))

    async def dismiss(self, incident: int, comment: str = "a comment", author: str = "alex") -> None:
        """Close an incident as an operator does. ConflictError while a step of it runs."""
        stored = await self._store.incident(incident)
        if stored is None or not stored.open or stored.running is not None:
            raise ConflictError(f"cannot dismiss incident {incident}: it is not open, or a step of it runs")
        view = self.view(stored.service)
        health = view.health if view is not None else Health.UNKNOWN
        text = f"dismissed by {author}: {comment}"
        await self._store.close_incident(incident, Verdict.DISMISSED, text, health, self._loop.time())
        self._running.engine.on_operator_action()

    # Start and end.

    async def boot(self) -> None:
        """Start remediator with what its store holds."""
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
        self.process.engine.on_silences(self._silences)
        await self.rest()

    async def crash(self) -> None:
        """End remediator and its commands, as kill -9 does."""
        process, self.process = self._running, None
        for task in self._requests:
            task.cancel()
        await process.kill()

    async def shut_down(self) -> None:
        """End remediator as SIGTERM does."""
        process, self.process = self._running, None
        await process.stop()

    async def reload(self, rulebook: Rulebook, policy: Policy | None = None) -> None:
        """Load other rules, as after a SIGHUP."""
        self.rulebook, self.policy = rulebook, policy or self.policy
        if self.process is not None:
            self.process.evaluator.swap(self.rulebook)
            await self.process.engine.reload(self.rulebook, self.policy)

    async def close(self) -> None:
        """End remediator and close the store."""
        if self.process is not None:
            await self.crash()
        await self._store.close()

    def _read_again(self) -> None:
        if self.process is not None:
            self.process.engine.on_operator_action()

    async def _answer(self, incident: int, approval: Approval) -> None:
        await self._store.answer(incident, approval)
        self._running.engine.on_operator_action()


def rehearse(
    rulebook: Rulebook,
    story: Callable[[Scenario], Coroutine[Any, Any, T] | Awaitable[T]],
    policy: Policy | None = None,
    interval: float = EVALUATION,
    start: float = START,
    *,
    leap: bool = True,
) -> T:
    """Play a story in a new scenario in which remediator has been started. Returns what the story returns.

    `interval` is the seconds between evaluations, `start` the time at which the story begins. Call it outside of any
    event loop.
    """
    return run_virtually(functools.partial(_play, rulebook, story, policy, interval, leap), start)


async def _play(
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

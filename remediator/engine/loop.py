"""The loop: observe, decide, apply. Every decision is made here, one cycle at a time; commands run beside it.

An event (an alert stored, a judgement changed, a step ended, an operator's action) only makes the next cycle come sooner.
Nothing is done before the store has committed it, and the state changes only after. `now` is read once per cycle.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from remediator.clients.prometheus.client import Answer
from remediator.config.policy import Policy
from remediator.decision import decide as d
from remediator.decision import escalation as escalate
from remediator.decision.case import Case, Why
from remediator.decision.gates import GATES, name_of
from remediator.decision.recheck import Recheck
from remediator.engine.apply import Applier
from remediator.engine.broadcast import Broadcast
from remediator.engine.evaluations import Evaluations
from remediator.engine.observe import Observer
from remediator.engine.schedule import Schedule
from remediator.engine.state import EngineState
from remediator.engine.step_tasks import BACKOFF, RETRY, StepTasks
from remediator.engine.store_sync import StoreSync
from remediator.errors import ConflictError, StoreError
from remediator.metrics import Metrics
from remediator.model.action import Run
from remediator.model.alert import Alert, Source, fingerprint
from remediator.model.clock import Clock, retry
from remediator.model.gate import Trait
from remediator.model.incident import StoredAlert
from remediator.model.paging import HealSilence, PageAlert
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Mode
from remediator.model.silence import Silence, Suppression
from remediator.store.interface import Store

log = logging.getLogger(__name__)

_BATCH = 200
"""Services decided on before their writes are awaited, and others get their turn on the loop."""
POLL = 5.0
_POLL_SHARED = 1.0
_PANIC_EVERY = 10.0
"""Seconds between two writes that there is a panic."""
_GRACE = 8.0
"""Seconds running steps are given to end when the engine stops."""


class Engine:
    """Makes every decision. `alerts_stored` says that the store has new alerts, and `committed` is notified after each
    commit. `poll` is the seconds until the store is read for what other processes wrote; with `shared` it is read more
    often, and for actions of operators too. An engine that does not lead decides nothing and writes nothing: it keeps its
    state as the store has it, to be shown. Nobody else changes `schedule`."""

    def __init__(
        self,
        *,
        store: Store,
        state: EngineState,
        observer: Observer,
        evaluations: Evaluations,
        clock: Clock,
        metrics: Metrics,
        run: Run,
        query: Callable[[str], Awaitable[Answer]],
        queries: Mapping[str, Callable[[str], Awaitable[Answer]]],
        alerts_stored: Broadcast,
        committed: Broadcast,
        poll: float = POLL,
        leads: bool = True,
        shared: bool = False,
        schedule: Schedule | None = None,
    ) -> None:
        self.state = state
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._observer = observer
        self._evaluations = evaluations
        self._alerts_stored = alerts_stored
        self._committed = committed
        self._leads = leads
        self._schedule = schedule or Schedule()
        self._step_tasks = StepTasks(store, state, clock, metrics, run, query, self._on_done, queries)
        self._applier = Applier(store, state, self._schedule, self._step_tasks, metrics, evaluations)
        every = _POLL_SHARED if shared else poll
        self._sync = StoreSync(
            store,
            state,
            self._schedule,
            self._applier,
            evaluations,
            alerts_stored,
            committed,
            metrics,
            every,
            leads=leads,
            shared=shared,
        )
        self._woken = asyncio.Event()
        self.turned_at = time.monotonic()
        """When the loop last turned, on the machine's own clock. A watchdog reads it."""
        self._loaded_at = clock.now()
        self._panic_written = float("-inf")
        self._requests: dict[tuple[str, float], asyncio.Future[str]] = {}

    # What makes a cycle come sooner.

    def wake(self) -> None:
        """Have a cycle now."""
        self._woken.set()

    def on_operator_action(self) -> None:
        """An operator paused, answered or closed something: read what is open again."""
        self._sync.expect(operators=True)
        self._woken.set()

    def on_suppressed(self, suppressed: Mapping[str, Suppression]) -> None:
        """Alertmanager keeps these alerts, by their fingerprints, from every receiver now."""
        self.state.suppressed = suppressed
        self._decide_on_all_troubled()

    def on_silences(self, silences: tuple[Silence, ...]) -> None:
        """Alertmanager's silences are these now."""
        self.state.silences = silences
        self._decide_on_all_troubled()

    def on_compared(self) -> None:
        """The alerts have been compared with Alertmanager's, or that could not be done."""
        if not self.state.reconciled:
            self.state.reconciled = True
            self._decide_on_all_troubled()

    def _decide_on_all_troubled(self) -> None:
        now = self._clock.now()
        for name in self.state.troubled:
            self._schedule.put(name, now)
        self._woken.set()

    def _on_done(self, name: str, step_ended: bool) -> None:
        now = self._clock.now()
        if step_ended:
            self._evaluations.evaluate([name])
            for other in (name, *list(self._applier.waiting_for_slot)[: self.state.policy.concurrent]):
                self._schedule.put(other, now)
            self._committed.notify()
        elif name in self.state.open:
            self._schedule.recheck(name, now, Recheck(now))
        self._woken.set()

    # Running.

    async def load(self) -> None:
        """Take up what the store remembers: open incidents, firing alerts, recent runs, pauses."""
        await self._sync.load(self._clock.now())
        self._metrics.incidents_open.set(len(self.state.open))

    async def run(self) -> None:
        """Cycle until cancelled."""

        async def cycle() -> None:
            self._woken.clear()
            self.turned_at = time.monotonic()
            with self._metrics.cycle_duration.time():
                await self.run_cycle(self._clock.now())

        def on_failure(error: Exception, failures: int) -> None:
            log.error("cannot decide: %s", error)
            self._sync.expect()

        with self._alerts_stored.following(self.wake), self._evaluations.evaluated.following(self.wake):
            while True:
                await retry(self._clock, BACKOFF, cycle, StoreError, on_failure)
                due = min(self._sync.due, self._schedule.next())
                await self._clock.wait(self._woken, due - self._clock.now())

    async def stop(self, grace: float = _GRACE) -> None:
        """Let running steps end for `grace` seconds, then hand them over as running."""
        await self._step_tasks.stop(grace)

    async def run_cycle(self, now: float) -> None:
        """Read what is new, then decide on every service that is due, until none is."""
        await self._sync.read(now)
        while names := self._take_due(now):
            if not self._leads:
                continue
            decided = list(self._decide(names, now))
            await asyncio.gather(*(self._apply(case, decision) for case, decision in decided))
            # After all decisions of the cycle, so that they share one view of the fleet.
            for case, _ in decided:
                self.state.fleet.judged(case.service.name, case.judgement)
            await self._remember_panic()
            self._committed.notify()
            await asyncio.sleep(0)
        self._metrics.incidents_open.set(len(self.state.open))

    async def reload(self, rulebook: Rulebook, policy: Policy) -> None:
        """Go on by other rules; alerts that had no service or no runbook may have one now."""
        now = self._clock.now()
        firing = await self._store.firing_alerts()
        self.state.swap(rulebook, policy)
        await self._sync.take_in(firing, now)
        for name in self.state.open:
            self._schedule.put(name, now)
        self._sync.expect()
        self.wake()

    # What operators ask for.

    async def heal(self, name: str, author: str, comment: str, force: bool) -> StoredAlert | None:
        """Ask for a heal, as an operator's alert; its `text` says what was decided. None when there is no such service.
        `force` overrides cooldown and mode."""
        if self.state.service(name) is None:
            return None
        now = self._clock.now()
        labels = {
            "alertname": "HealRequested",
            self.state.rulebook.service_label: name,
            "author": author,
            "force": str(force).lower(),
        }
        annotations = {"comment": comment} if comment else {}
        alert = Alert(fingerprint(labels), now, None, labels, annotations, Source.OPERATOR)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._requests[alert.key] = answer
        await self._store.put_alerts([alert], now)
        self._metrics.accepted.inc()
        self._alerts_stored.notify()
        try:
            async with asyncio.timeout(self.state.policy.patience if self._leads else 0):
                text = await answer
        except TimeoutError:
            text = "is not decided yet" if self._leads else "is left to the one that leads to decide"
        finally:
            self._requests.pop(alert.key, None)
        return StoredAlert(seq=0, alert=alert, received_at=now, updated_at=now, service=name, text=text)

    async def why(self, name: str) -> Why | None:
        """The account of a service."""
        now = self._clock.now()
        case, view = self._observer.observe(name, now), self._observer.view(name, now)
        if case is None or view is None:
            return None
        gates = tuple((name_of(check), check(case)) for check in GATES)
        facts = {"commands running": f"{case.running + case.orphans} of {case.policy.concurrent}"}
        if self._leads:
            facts["decision now"] = d.decide(case).text
        if case.last_heal is not None:
            facts["last heal"] = f"{case.last_heal.action} in incident {case.last_heal.incident}"
        return Why(view, case.alerts, case.incident, gates, facts)

    # What people are to hear.

    def pages(self) -> list[PageAlert]:
        """Every page that is to fire now."""
        now, state = self._clock.now(), self.state
        statuses = self._evaluations.statuses
        dark = {name: max(status.at, self._loaded_at) for name, status in statuses.items() if not status.answers}
        dark_since = min(dark.values(), default=None)
        which = "" if len(dark) == len(statuses) else " ".join(sorted(dark))
        cases = self._observer.troubled_cases(now)
        state.drop_given_up(lambda name: name in cases and not escalate.may_resolve(cases[name]))
        troubled = [case for _, case in sorted(cases.items())]
        return escalate.pages(
            troubled, self._observer.panic(now), dark_since, state.waiting, now, which, observes=self._observes()
        )

    def heal_silences(self) -> list[HealSilence]:
        """Every silence that is to be there now, while something is being healed."""
        now = self._clock.now()
        silencing = [name for name, incident in self.state.open.items() if incident.plan.runbook.silence]
        return escalate.heal_silences(case for name in silencing if (case := self._observer.observe(name, now)))

    def _observes(self) -> bool:
        """Whether nothing is run for any service, and no open incident began when something was."""
        if not self.state.policy.auto_heal:
            return True
        return self.state.rulebook.only_observes and all(
            incident.plan.runbook.mode is Mode.OBSERVE and not incident.forced for incident in self.state.open.values()
        )

    # The inside of a cycle.

    def _take_due(self, now: float) -> list[str]:
        evaluated = self._evaluations.take_evaluated()
        for name in filter(self.state.concerns, evaluated.changed):
            self._schedule.put(name, now)
        for name in filter(self.state.concerns, evaluated.requested):
            self._schedule.recheck(name, now, Recheck(now))
        return self._schedule.take(now, _BATCH)

    def _decide(self, names: Iterable[str], now: float) -> Iterable[tuple[Case, d.Decision]]:
        for name in names:
            try:
                case = self._observer.observe(name, now)
                if case is None:
                    continue
                decision = d.decide(case)
            except Exception:
                # One service's rules must never keep the others from being healed.
                log.exception("cannot decide on %s, tries again in a minute", name)
                self._schedule.recheck(name, now, Recheck(now + 60.0))
                continue
            self.state.put_decision(name, decision.text)
            self._answer_requests(case, decision)
            deed = isinstance(decision, d.Held) and Trait.TELLS_DEED in decision.hold.gate.traits
            if deed and case.incident is not None:
                self.state.shadow.note(case.incident, now)
            if isinstance(decision, d.Gather | d.RunStep | d.Undo) and case.plan is not None:
                # The next case is decided before this step is committed, and its gates have to count it.
                counts = isinstance(decision, d.RunStep)
                self.state.fleet.reserve(case.plan.runbook.name, name, now, counts=counts)
            yield case, decision

    async def _apply(self, case: Case, decision: d.Decision) -> None:
        """A write that fails leaves everything as it was, and is decided on again."""
        name = case.service.name
        try:
            await self._applier.apply(case, decision)
        except ConflictError as error:
            log.warning("decides anew on %s: %s", name, error)
            for incident in await self._store.incidents(service=name, limit=1):
                self.state.put_incident(incident)
            self._schedule.put(name, case.now + RETRY)
        except StoreError as error:
            log.error("cannot act on %s: %s", name, error)
            self._schedule.put(name, case.now + RETRY)
        finally:
            self.state.fleet.release(name)

    async def _remember_panic(self) -> None:
        """Write down that there is a panic, so that heals begin slowly after a restart or under another leader too."""
        at = self.state.fleet.panicked_at
        if at is not None and at - self._panic_written >= _PANIC_EVERY:
            await self._store.put_panic(at)
            self._panic_written = at

    def _answer_requests(self, case: Case, decision: d.Decision) -> None:
        """Tell operators who wait for it what was decided on their requests, once it is more than a beginning."""
        if isinstance(decision, d.Ask | d.Open) or (case.incident is None and isinstance(decision, d.Wait)):
            return
        for stored in case.alerts:
            request = self._requests.get(stored.alert.key)
            if request is not None and not request.done():
                request.set_result(decision.text)

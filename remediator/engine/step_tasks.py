"""Steps under way: committed as started, then spawned, then committed as ended. Each is a task beside the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from remediator.actions.render import describe, diagnose, diagnose_timeout, perform, probe, step_timeout
from remediator.actions.supervisor import GRACE
from remediator.actions.titles import plain_title, step_title
from remediator.clients.prometheus.client import Answer
from remediator.decision import decide as d
from remediator.decision.case import Case, GuardAnswer
from remediator.engine.state import EngineState
from remediator.errors import ConflictError, RefusedError, StoreError
from remediator.metrics import Metrics
from remediator.model.action import Outcome, Result, Run
from remediator.model.clock import Backoff, Clock, retry
from remediator.model.incident import DIAGNOSE, UNDO, Incident, StepRun
from remediator.model.rules import Plan, Step
from remediator.rules.conditions import EMPTY, NO_NUMBER, truth
from remediator.rules.guards import UnknownGuardError, with_guards
from remediator.store.interface import Store
from remediator.template.compile import TemplateKind, compile_template, shortened

log = logging.getLogger(__name__)

LATE = 2.0
"""Seconds that the commit of a step's start may take for the step to be started."""
RETRY = 1.0
"""Seconds until a write that failed is tried again."""
PROBES = 8
"""How many targets are asked at a time whether they can be reached."""
BACKOFF = Backoff(first=RETRY, longest=RETRY)


Query = Callable[[str], Awaitable[Answer]]


class StepTasks:
    """Runs steps and asks guards. `on_done` is called with the name of the service, and whether it was a step that ended
    (true), or guards or a probe that were answered (false)."""

    def __init__(
        self,
        store: Store,
        state: EngineState,
        clock: Clock,
        metrics: Metrics,
        run: Run,
        query: Query,
        on_done: Callable[[str, bool], None],
        queries: Mapping[str, Query],
    ) -> None:
        self._store = store
        self._state = state
        self._clock = clock
        self._metrics = metrics
        self._run = run
        self._query = query
        self._queries = queries
        self._on_done = on_done
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._room_for_probes = asyncio.Semaphore(PROBES)

    async def begin(self, case: Case, incident: Incident, decision: d.Gather | d.RunStep | d.Undo) -> StepRun:
        """Commit that a step starts, and only then spawn it."""
        plan, context = incident.plan, case.context
        index, attempt, step = _step_of(decision)
        call, action, limit, text = "", "diagnose", diagnose_timeout(plan), decision.text
        if step is not None:
            title = step_title(plan, step, context)
            if title != plain_title(plan, step):
                text = f"{text}: {title}"
            action, limit = step.name, step_timeout(plan, step)
            try:
                call = describe(plan, step, context)
            except RefusedError:
                pass  # Performing it will say why.
        # Not the cycle's `now`: what the cycle had to read first is no part of the step's time.
        now = self._clock.now()
        run = await self._store.begin_step(incident.id, index, attempt, action, text, call, now, now + limit)
        self._state.start_run(run)
        late = self._clock.now() - now > LATE
        self._tasks[run.id] = asyncio.get_running_loop().create_task(self._perform(run, plan, step, context, late))
        return run

    async def interrupt(self, run: StepRun, text: str, now: float) -> None:
        """End what is left of a run, and write down that its outcome is unknown."""
        task = self._tasks.pop(run.id, None)
        self._state.end_run(run)
        if task is not None:
            # It is ended before anything else is run; a command takes so long to be killed.
            task.cancel()
            await asyncio.wait([task], timeout=2 * GRACE)
        ended = await self._store.end_step(run.id, Result(Outcome.UNKNOWN, text), now)
        self._state.put_run(ended)

    def ask(self, case: Case, exprs: tuple[str, ...], *, probe: bool = False) -> None:
        """Have Prometheus answer guards, and the target whether it can be reached. The answers will be in the state."""
        name = case.service.name
        if name in self._asking:
            return
        context, plan, sources = case.context, case.plan, {expr: _sources(case, expr) for expr in exprs}
        guard_empty = case.next_step is None or case.next_step.step.guard_empty

        async def ask() -> None:
            try:
                answers = {expr: await self._guard(expr, context, sources[expr], guard_empty) for expr in exprs}
                failure = await self._probe(plan, context) if probe and plan is not None else None
            finally:
                self._asking.pop(name, None)
            if exprs:
                self._state.put_guards(name, answers)
            if probe:
                self._state.put_probe(name, self._clock.now(), failure)
            self._on_done(name, False)

        self._asking[name] = asyncio.get_running_loop().create_task(ask())

    async def stop(self, grace: float) -> None:
        """Give running steps `grace` seconds to end, then hand them over as running: the next to lead verifies them."""
        if self._tasks:
            log.info("waits for %d running steps", len(self._tasks))
            await asyncio.wait([*self._tasks.values()], timeout=grace)
        left = [task for task in (*self._tasks.values(), *self._asking.values()) if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _perform(
        self, run: StepRun, plan: Plan, step: Step | None, context: dict[str, object], late: bool
    ) -> None:
        started = self._clock.now()
        try:
            if late:
                # It would be at work for longer than the next leader would wait for it.
                result, call = Result(Outcome.NOT_STARTED, "was not started, as it took too long to record it"), ""
            elif step is None:
                result, call = await diagnose(plan, context, self._run)
            else:
                result, call = await perform(plan, step, context, self._run, self._query_of(_source(plan, step)))
        except Exception as error:
            # Whatever happened, the step has to end with an outcome, or its service would be stuck until the deadline.
            log.exception("cannot tell how %s for %s ended", run.action, run.service)
            result, call = Result(Outcome.UNKNOWN, f"remediator itself failed while it ran: {error!r}"), ""
        self._metrics.step_duration.labels(run.action).observe(max(0.0, self._clock.now() - started))
        ended = await self._record_end(run, result, call)
        # An interrupted run has been taken out already, and its late end changes nothing.
        self._state.end_run(run)
        if self._tasks.pop(run.id, None) is not None and ended is not None:
            self._state.put_run(ended)
            self._on_done(run.service, True)

    async def _record_end(self, run: StepRun, result: Result, call: str) -> StepRun | None:
        """Commit how a run ended, however long the store takes to be there again; None when that was decided before."""

        async def attempt() -> StepRun:
            return await self._store.end_step(run.id, result, self._clock.now(), call)

        def on_failure(error: Exception, failures: int) -> None:
            if isinstance(error, ConflictError):
                raise error
            log.error("cannot record the end of %s for %s, tries again: %s", run.action, run.service, error)

        try:
            return await retry(self._clock, BACKOFF, attempt, StoreError, on_failure)
        except ConflictError as error:
            log.warning("the end of %s for %s came too late: %s", run.action, run.service, error)
            return None

    async def _probe(self, plan: Plan, context: dict[str, object]) -> str | None:
        """Why the target cannot be reached, or None."""
        try:
            async with self._room_for_probes:
                result = await probe(plan, context, self._run)
        except Exception as error:
            log.exception("cannot probe the target of %s", plan.service.name)
            return f"remediator itself failed while it asked: {error!r}"
        if result.outcome in (Outcome.SUCCEEDED, Outcome.REFUSED):
            # Performing the step says why a template is refused.
            return None
        said = next((line.strip() for line in reversed(result.output.splitlines()) if line.strip()), "")
        return f"{result.text}: {shortened(said, 200)}" if said else result.text

    def _query_of(self, source: str) -> Query:
        return self._queries.get(source, self._query)

    async def _guard(self, expr: str, context: dict[str, object], sources: set[str], guard_empty: bool) -> GuardAnswer:
        if len(sources) > 1:
            text = f"one guard cannot be asked of several Prometheis: {', '.join(sorted(sources))}"
            return GuardAnswer(expr, None, self._clock.now(), text)
        try:
            said = compile_template(expr, TemplateKind.PROMQL).render(context).strip()
            filled = with_guards(expr, guard_empty=guard_empty)
            asked = compile_template(filled, TemplateKind.PROMQL).render(context).strip()
        except (RefusedError, UnknownGuardError) as error:
            return GuardAnswer(expr, None, self._clock.now(), str(error))
        answer = await self._query_of("".join(sources))(asked)
        true = truth(answer, asked, guard_empty)
        text = answer.error or "; ".join(answer.warnings) or (EMPTY if true is None and not answer.series else "")
        return GuardAnswer(said, true, self._clock.now(), text or (NO_NUMBER if true is None else ""))


def _source(plan: Plan, step: Step) -> str:
    """The name of the Prometheus that answers a step's queries: its own, or its service's."""
    return step.prometheus or plan.service.prometheus


def _sources(case: Case, expr: str) -> set[str]:
    """The names of the Prometheus servers that answer a guard."""
    plan = case.plan
    steps = plan.runbook.steps if plan is not None else ()
    return {_source(plan, step) for step in steps if plan is not None and expr in (step.if_, step.unless)}


def _step_of(decision: d.Gather | d.RunStep | d.Undo) -> tuple[int, int, Step | None]:
    """The index, the attempt and the step of what was decided on; without a step it is the gathering of evidence."""
    match decision:
        case d.RunStep(next_step=next_step):
            return next_step.index, next_step.attempt, next_step.step
        case d.Undo(action=action, attempt=attempt):
            return UNDO, attempt, Step(action, action)
    return DIAGNOSE, 1, None

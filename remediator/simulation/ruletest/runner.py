"""Runs the tests of rule files: each plays in a new scenario, and every unmet expectation becomes a problem in the file.

What happens in a test lives here; how a failure is explained is in `failures`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from remediator.errors import RefusedError, RemediatorError, RemoteError
from remediator.model.action import Call
from remediator.model.alert import Alert
from remediator.model.matcher import Matcher
from remediator.model.rules import Service
from remediator.problem import Problem
from remediator.rules.guards import with_guards
from remediator.simulation.patterns import fits_call
from remediator.simulation.ruletest.expectations import mismatches
from remediator.simulation.ruletest.failures import Failures, NoteErrors
from remediator.simulation.ruletest.fields import Act, ActDoc, AlertDoc, CommandDoc, ExpectDoc, RuleTestDoc
from remediator.simulation.ruletest.loader import RuleTests, SeriesValues, query_pattern
from remediator.simulation.ruletest.promtool_values import evaluate
from remediator.simulation.scenario import Scenario
from remediator.simulation.scripted import Effect
from remediator.simulation.virtual_loop import run_virtually
from remediator.template.compile import LabelView, TemplateKind, compile_template

Event = tuple[float, Callable[[], Awaitable[None]]]


class Played(NamedTuple):
    """One test that was played: its failures, how long it took, and how long its story lasted, both in seconds."""

    name: str
    failures: tuple[Problem, ...]
    took: float
    simulated: float


def play(tests: RuleTests, index: int) -> Played:
    """Play the test at this index of its file. RemoteError when it needs promtool and promtool fails."""
    started = time.perf_counter()
    script = _Script(tests, index)
    script.evaluate()
    test = tests.doc.tests[index]
    run_virtually(script.play, test.starts)
    return Played(test.name, tuple(script.failures.problems), time.perf_counter() - started, script.lasts)


class _Script:
    """One test, played once."""

    def __init__(self, tests: RuleTests, index: int) -> None:
        self.failures = Failures(tests, index)
        self._tests = tests
        self._index = index
        self._test: RuleTestDoc = tests.doc.tests[index]
        self._computed: list[SeriesValues] = []
        self._asked: set[str] = set()
        """The expressions that were computed."""
        self._compared_calls = 0
        """How many calls earlier expectations have already compared."""
        self._fired: dict[int, Alert] = {}
        self._pauses: list[int] = []
        self._known: set[str] = set()
        """The services that exist at any time of the test."""

    @property
    def lasts(self) -> float:
        """The time of its last event or expectation."""
        times = [expect.at for expect in self._test.expect] + [act.at for act in self._test.acts]
        return max([*times, *(alert.resolves or alert.fires for alert in self._test.alerts)], default=0.0)

    def evaluate(self) -> None:
        """Compute the answers to the thresholds' expressions with the real PromQL engine."""
        promql, doc = self._test.promql, self._tests.doc
        if promql is None:
            return
        step = doc.global_.evaluation_interval or 1.0
        series = [(one.series, one.values) for one in promql.series]
        interval = promql.interval or self._test.interval or doc.interval
        said = {values.expr or values.threshold for values in self._test.values}
        exprs = {t.expr.strip() for t in self._tests.rulebook.thresholds if not said & {t.name, t.expr}}
        try:
            answers = evaluate(sorted(exprs), series, interval, step, self.lasts)
            services = self._services(dict(labels) for answer in answers.values() for labels in answer)
            guards = {
                q
                for guard, empty in self._guards()
                if guard not in said
                for q in self._queries(guard, services, guard_empty=empty)
            } - exprs
            if guards:
                answers |= evaluate(sorted(guards), series, interval, step, self.lasts)
        except RemoteError as error:
            place = self._tests.at("tests", self._index, "promql", key=True)
            raise RemoteError(f"{place}: {error}", retry=False) from None
        self._asked.update(answers, guards)
        for expr, answer in answers.items():
            self._computed += [SeriesValues(expr, dict(labels), values, step) for labels, values in answer.items()]

    async def play(self) -> None:
        """Play the story and compare."""
        doc = self._tests.doc
        self._known = {service.name for service in self._services(self._sighted())}
        self._scenario = scenario = Scenario(self._tests.rulebook, self._tests.policy, doc.global_.evaluation_interval)
        for guard, empty in self._guards():
            if (pattern := query_pattern(guard, guard_empty=empty)) is not None:
                scenario.environment.know_as(pattern, guard)
        for expr in self._asked:
            # What promtool finds empty is not what the test says nothing of.
            scenario.environment.lines.setdefault(expr, {})
        for series in self._computed:
            scenario.values(*series)
        for values in self._test.values:
            scenario.values(*self._tests.series(values, self._test))
        for command in reversed(self._test.commands):
            self._command(command)
        try:
            await scenario.boot()
            for at, event in sorted(self._events(), key=lambda event: event[0]):
                await scenario.pass_until(at)
                await event()
                await scenario.rest()
        finally:
            await scenario.close()

    def _events(self) -> Iterator[Event]:
        """Every event, in the order of the file. Comparisons come last, so that they follow the other events of their time."""
        for index, alert in enumerate(self._test.alerts):
            yield alert.fires, partial(self._fire, index, alert)
            if alert.resolves is not None:
                yield alert.resolves, partial(self._resolve, index)
        for index, act in enumerate(self._test.acts):
            yield act.at, partial(self._act, index, act)
        for index, expect in enumerate(self._test.expect):
            yield expect.at, partial(self._compare, index, expect)

    def _guards(self) -> Iterator[tuple[str, bool]]:
        """The conditions and counts of all steps, each with whether it holds when it is empty."""
        steps = (step for runbook in self._tests.rulebook.runbooks for step in runbook.steps)
        for step in steps:
            texts = (step.if_, step.unless, str(step.args.get("replicas", "")))
            yield from ((text.strip(), step.guard_empty) for text in texts if text)

    def _services(self, answered: Iterable[Mapping[str, str]]) -> list[Service]:
        """The services of the test: those with a plain name, and those that templates make of its series and alerts."""
        rulebook = self._tests.rulebook
        found = dict(rulebook.named)
        fired = (
            {"alertname": alert.alertname, **self._tests.labels(alert.service, alert.labels)}
            for alert in self._test.alerts
        )
        for labels in (*answered, *fired):
            service = rulebook.service_for(labels)
            if service is not None:
                found.setdefault(service.name, service)
        return list(found.values())

    def _sighted(self) -> Iterator[dict[str, str]]:
        """The labels of every series that a threshold sees at any time of the test."""
        exprs = {threshold.expr.strip() for threshold in self._tests.rulebook.thresholds}
        later = (values for command in self._test.commands for values in command.then)
        given = (self._tests.series(values, self._test) for values in (*self._test.values, *later))
        return (series.labels for series in (*self._computed, *given) if series.expr in exprs)

    def _queries(self, guard: str, services: Iterable[Service], *, guard_empty: bool) -> Iterator[str]:
        """The query that a guard becomes for each service. Guards that need more than the service are left out."""
        for service in services:
            labels = LabelView(service.labels)
            context = {"labels": labels, "service": {"name": service.name, "labels": labels}}
            try:
                yield (
                    compile_template(with_guards(guard, guard_empty=guard_empty), TemplateKind.PROMQL)
                    .render(context)
                    .strip()
                )
            except RefusedError:
                continue

    def _command(self, doc: CommandDoc) -> None:
        scenario = self._scenario
        after = [self._tests.series(values, self._test) for values in doc.then]

        def then() -> None:
            for series in after:
                scenario.values(*series)

        left = doc.times

        def matches(call: Call) -> bool:
            nonlocal left
            if left == 0 or not fits_call(doc.call, call):
                return False
            left = None if left is None else left - 1
            return True

        effect = Effect(takes=doc.takes, exit_code=doc.exit_code, output=doc.output, hangs=doc.hangs, then=then)
        scenario.environment.on(matches, [effect])

    async def _fire(self, index: int, doc: AlertDoc) -> None:
        labels = self._tests.labels(doc.service, doc.labels)
        with self._noted("alerts", index):
            self._fired[index] = await self._scenario.fire(doc.alertname, doc.annotations, **labels)

    async def _resolve(self, index: int) -> None:
        with self._noted("alerts", index):
            if index in self._fired:
                await self._scenario.resolve(self._fired[index])

    async def _act(self, index: int, doc: ActDoc) -> None:
        if self._missing("acts", index, doc.at, doc.service):
            return
        with self._noted("acts", index):
            await self._do(doc)

    async def _do(self, doc: ActDoc) -> None:
        scenario, service = self._scenario, self._tests.service(doc.service)
        match doc.do:
            case Act.PAUSE:
                pause = await scenario.pause(
                    *self._matchers(doc), for_=doc.for_, comment=doc.comment, author=doc.author
                )
                self._pauses.append(pause.id)
            case Act.SILENCE:
                scenario.silence(*self._matchers(doc), for_=doc.for_, comment=doc.comment, author=doc.author)
            case Act.EXPIRE:
                scenario.expire()
            case Act.RESUME:
                if not self._pauses:
                    raise RemediatorError("cannot resume: nothing is paused")
                await scenario.resume(self._pauses.pop(), doc.author)
            case Act.APPROVE:
                await scenario.approve(await self._open(doc.do, service), doc.comment, doc.author)
            case Act.DENY:
                await scenario.deny(await self._open(doc.do, service), doc.comment, doc.author)
            case Act.DISMISS:
                await scenario.dismiss(await self._open(doc.do, service), doc.comment, doc.author)
            case Act.HEAL:
                await scenario.heal(service, doc.comment, force=doc.force, author=doc.author)
            case Act.CRASH:
                await scenario.crash()
            case Act.START:
                if scenario.process is not None:
                    raise RemediatorError("cannot start remediator: it runs")
                await scenario.boot()
            case Act.PROMETHEUS_DOWN:
                scenario.prometheus_down()
            case Act.PROMETHEUS_UP:
                scenario.prometheus_up()

    def _matchers(self, doc: ActDoc) -> list[str]:
        of_service = [Matcher(self._tests.rulebook.service_label, "=", doc.service)] if doc.service else []
        return [str(matcher) for matcher in (*of_service, *doc.match)]

    async def _open(self, act: Act, service: str) -> int:
        for incident in await self._scenario.open_incidents():
            if incident.service == service:
                return incident.id
        raise RemediatorError(f"cannot {act}: {service} has no open incident")

    async def _compare(self, index: int, expect: ExpectDoc) -> None:
        scenario, service = self._scenario, self._tests.service(expect.service)
        calls = [ran.call for ran in scenario.ran[self._compared_calls :]]
        if expect.ran is not None:
            self._compared_calls = len(scenario.ran)
        if self._missing("expect", index, expect.at, expect.service):
            return
        with self._noted("expect", index):
            wrong = [mismatch async for mismatch in mismatches(scenario, expect, service, calls)]
            await self.failures.explain(scenario, index, expect, service, wrong)

    def _missing(self, kind: str, index: int, at: float, service: str) -> bool:
        """Whether the service never exists in this test, which is a failure. One that is yet to come is none: it may be
        expected that nothing is known of it."""
        if not service or service in self._known:
            return False
        self.failures.no_service(kind, index, at, service, self._known)
        return True

    def _noted(self, *path: str | int) -> NoteErrors:
        return NoteErrors(self.failures, path, lambda: self._scenario.now)

"""Playing the tests of rule files: each in a world of its own, with what is not as expected as problems in the file."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from remediator.config.document import nearest
from remediator.errors import RefusedError, RemediatorError, RemoteError
from remediator.model.action import Call
from remediator.model.alert import Alert
from remediator.model.durations import format_duration
from remediator.model.incident import DIAGNOSE, Entry
from remediator.model.matcher import Matcher
from remediator.model.rulebook import Service
from remediator.problem import Position, Problem
from remediator.rules.guards import with_guards
from remediator.simulation.patterns import fits, one_line, typed
from remediator.simulation.ruletest.expectations import Mismatch, mismatches
from remediator.simulation.ruletest.fields import Act, ActDoc, AlertDoc, CommandDoc, ExpectDoc, RuleTestDoc
from remediator.simulation.ruletest.loader import RuleTests, SeriesValues, query_pattern
from remediator.simulation.ruletest.promtool_values import evaluate
from remediator.simulation.scenario import Scenario
from remediator.simulation.scripted import Effect
from remediator.simulation.virtual_loop import run_virtually
from remediator.template.compile import LabelView, TemplateKind, compile_template

_STORY = 12
"""How many entries of the journal are shown with a failure."""

_OF_ALL = ("ran", "metrics", "pages")
"""What is expected of all services together."""

Event = tuple[float, Callable[[], Awaitable[None]]]


class Played(NamedTuple):
    """One test that was played: its failures, how long it took, and how long its story lasted, in seconds."""

    name: str
    failures: tuple[Problem, ...]
    took: float
    simulated: float


def play(tests: RuleTests, index: int) -> Played:
    """Play the test at this index of its file. RemoteError when it needs promtool, and that cannot help."""
    started = time.perf_counter()
    script = _Script(tests, index)
    script.evaluate()
    test = tests.doc.tests[index]
    run_virtually(script.play, test.starts)
    return Played(test.name, tuple(script.failures), time.perf_counter() - started, script.lasts)


class _Script:
    """One test, played once."""

    def __init__(self, tests: RuleTests, index: int) -> None:
        self.failures: list[Problem] = []
        self._tests = tests
        self._index = index
        self._test: RuleTestDoc = tests.doc.tests[index]
        self._computed: list[SeriesValues] = []
        self._looked_at = 0
        self._fired: dict[int, Alert] = {}
        self._pauses: list[int] = []
        self._known: set[str] = set()
        """The services that there are at any time of the test."""

    @property
    def lasts(self) -> float:
        """The time of the last thing that happens in it, or is expected."""
        times = [expect.at for expect in self._test.expect] + [act.at for act in self._test.acts]
        return max([*times, *(alert.resolves or alert.fires for alert in self._test.alerts)], default=0.0)

    def evaluate(self) -> None:
        """Have what the thresholds ask answered by the real PromQL engine."""
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
                q for guard in self._guards() if guard not in said for q in self._queries(guard, services)
            } - exprs
            if guards:
                answers |= evaluate(sorted(guards), series, interval, step, self.lasts)
        except RemoteError as error:
            place = self._tests.at("tests", self._index, "promql", key=True)
            raise RemoteError(f"{place}: {error}", retry=False) from None
        for expr, answer in answers.items():
            self._computed += [SeriesValues(expr, dict(labels), values, step) for labels, values in answer.items()]

    async def play(self) -> None:
        """Let it happen, and compare."""
        doc = self._tests.doc
        self._known = {service.name for service in self._services(self._sighted())}
        self._scenario = scenario = Scenario(self._tests.rulebook, self._tests.policy, doc.global_.evaluation_interval)
        for guard in self._guards():
            if (pattern := query_pattern(guard)) is not None:
                scenario.environment.know_as(pattern, guard)
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
        """Everything that is to be done, and at the end of each time what is to be compared."""
        for index, alert in enumerate(self._test.alerts):
            yield alert.fires, partial(self._fire, index, alert)
            if alert.resolves is not None:
                yield alert.resolves, partial(self._resolve, index)
        for index, act in enumerate(self._test.acts):
            yield act.at, partial(self._act, index, act)
        for index, expect in enumerate(self._test.expect):
            yield expect.at, partial(self._compare, index, expect)

    def _guards(self) -> Iterator[str]:
        steps = (step for runbook in self._tests.rulebook.runbooks for step in runbook.steps)
        for step in steps:
            yield from (text.strip() for text in (step.if_, step.unless, str(step.args.get("replicas", ""))) if text)

    def _services(self, answered: Iterable[Mapping[str, str]]) -> list[Service]:
        """The services of the test: those of a plain name, and what the series of answers and its alerts make of the
        templated ones."""
        rulebook = self._tests.rulebook
        found = dict(rulebook.named)
        fired = (
            {"alertname": alert.alertname, **self._tests.labels(alert.service, alert.labels)}
            for alert in self._test.alerts
        )
        for labels in (*answered, *fired):
            try:
                service = rulebook.service_for(labels)
            except RefusedError:
                continue
            if service is not None:
                found.setdefault(service.name, service)
        return list(found.values())

    def _sighted(self) -> Iterator[dict[str, str]]:
        """The labels of every series that a threshold sees at any time of the test."""
        exprs = {threshold.expr.strip() for threshold in self._tests.rulebook.thresholds}
        later = (values for command in self._test.commands for values in command.then)
        given = (self._tests.series(values, self._test) for values in (*self._test.values, *later))
        return (series.labels for series in (*self._computed, *given) if series.expr in exprs)

    def _queries(self, guard: str, services: Iterable[Service]) -> Iterator[str]:
        """What a guard asks Prometheus for each service, as far as that rests on the service alone."""
        for service in services:
            labels = LabelView(service.labels)
            context = {"labels": labels, "service": {"name": service.name, "labels": labels}}
            try:
                yield compile_template(with_guards(guard), TemplateKind.PROMQL).render(context).strip()
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
            if left == 0 or not fits(doc.call, typed(call), str(call)):
                return False
            left = None if left is None else left - 1
            return True

        effect = Effect(takes=doc.takes, exit_code=doc.exit_code, output=doc.output, hangs=doc.hangs, then=then)
        scenario.environment.on(matches, [effect])

    async def _fire(self, index: int, doc: AlertDoc) -> None:
        labels = self._tests.labels(doc.service, doc.labels)
        with _Noted(self, ("alerts", index)):
            self._fired[index] = await self._scenario.fire(doc.alertname, doc.annotations, **labels)

    async def _resolve(self, index: int) -> None:
        with _Noted(self, ("alerts", index)):
            if index in self._fired:
                await self._scenario.resolve(self._fired[index])

    async def _act(self, index: int, doc: ActDoc) -> None:
        if self._missing("acts", index, doc.at, doc.service):
            return
        with _Noted(self, ("acts", index)):
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
        calls = [ran.call for ran in scenario.ran[self._looked_at :]]
        if expect.ran is not None:
            self._looked_at = len(scenario.ran)
        if self._missing("expect", index, expect.at, expect.service):
            return
        with _Noted(self, ("expect", index)):
            wrong = [mismatch async for mismatch in mismatches(scenario, expect, service, calls)]
            reasons = await self._reasons(service, whole=all(m.part[0] in _OF_ALL for m in wrong)) if wrong else []
            for mismatch in wrong:
                # The reasons are the same for all, and said once.
                self.failures.append(self._problem(index, expect, service, mismatch, reasons))
                reasons = []

    def _missing(self, kind: str, index: int, at: float, service: str) -> bool:
        """Whether a service is named that never comes into being, of which anything could be expected: then that is the
        failure. Of one that is yet to come, it may well be expected that nothing is known of it."""
        if not service or service in self._known:
            return False
        message = f"{self._test.name}: at {format_duration(at)} there is no service {service}, and at no other time of this test"
        place = self._at(kind, index, "service")
        self.failures.append(Problem(place, "unknown-service", message, nearest(service, self._known)))
        return True

    def _problem(self, index: int, expect: ExpectDoc, service: str, mismatch: Mismatch, reasons: list[str]) -> Problem:
        part, expected, found = mismatch
        whose = "" if part[0] in _OF_ALL else f" of {service}"
        message = f"{self._test.name}: at {format_duration(expect.at)} {part[0]}{whose} is not as expected"
        lines = [*_side_by_side(expected, found), *reasons]
        return Problem(self._at("expect", index, *part), str(part[0]), message, "\n    ".join(lines))

    async def _reasons(self, service: str, *, whole: bool) -> list[str]:
        """What explains it: what is seen, what was decided and why, and what has happened."""
        lines = []
        up = self._scenario.process is not None
        why = await self._scenario.why(service) if up and not whole else None
        if why is not None:
            lines += [f"health    {why.service.health}: {why.service.judgement.text}"]
            lines += [f"decided   {one_line(self._scenario.decision(service))}"]
            holds = [hold for _, hold in why.gates if hold is not None] if why.incident or why.alerts else []
            lines += [f"gate      {hold.gate}: {one_line(hold.text)}" for hold in holds]
        entries = [entry for entry in await self._scenario.journal() if whole or entry.service in ("", service)]
        if entries:
            lines.append(f"story{' of ' + service if not whole else ''}")
            lines += ["  …"] if len(entries) > _STORY else []
            lines += [_told(entry, self._test.starts, whole) for entry in entries[-_STORY:]]
        return lines

    def _at(self, *path: str | int) -> Position:
        return self._tests.at("tests", self._index, *path)

    def note(self, path: tuple[str | int, ...], error: RemediatorError) -> None:
        """Something could not be done at all."""
        message = f"{self._test.name}: at {format_duration(self._scenario.now)} {error}"
        self.failures.append(Problem(self._at(*path), str(path[0]), message))


class _Noted:
    """What a person could not do in the story is a failure of the test, and the story goes on."""

    def __init__(self, script: _Script, path: tuple[str | int, ...]) -> None:
        self._script = script
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, RemediatorError):
            self._script.note(self._path, error)
            return True
        return False


def _side_by_side(expected: list[str], found: list[str]) -> list[str]:
    """Both sides; of several lines each, those that differ are marked."""
    if len(expected) == 1 and len(found) == 1:
        return [f"expected  {expected[0]}", f"found     {found[0]}"]
    import difflib

    lines = [line.rstrip() for line in difflib.ndiff(expected, found) if not line.startswith("?")]
    return ["- expected, + found", *lines]


def _told(entry: Entry, start: float, whole: bool) -> str:
    step = entry.data.get("action", "") if entry.run is not None and entry.data.get("step") != DIAGNOSE else ""
    service = f"{entry.service}: " if whole and entry.service else ""
    shown = f" ({entry.data['call']})" if step and entry.data.get("call") else ""
    said = one_line(f"{service}{entry.kind.replace('_', ' ')}: {entry.text}{shown}")
    return f"  {format_duration(entry.at - start):<8} {said}"

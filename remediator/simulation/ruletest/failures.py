"""Failures of rule tests: unmet expectations as problems in the test file, with both sides and the story beside them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from remediator.config.document import nearest
from remediator.errors import RemediatorError
from remediator.model.durations import format_duration
from remediator.model.incident import DIAGNOSE, Entry
from remediator.problem import Position, Problem
from remediator.simulation.patterns import one_line
from remediator.simulation.ruletest.expectations import Mismatch
from remediator.simulation.ruletest.fields import ExpectDoc
from remediator.simulation.ruletest.loader import RuleTests
from remediator.simulation.scenario import Scenario

_STORY = 12
"""How many entries of the journal are shown with a failure."""

_OF_ALL = ("ran", "metrics", "pages")
"""The expectations about all services together."""


class Failures:
    """The failures of the test at `index` of its file."""

    def __init__(self, tests: RuleTests, index: int) -> None:
        self.problems: list[Problem] = []
        self._tests = tests
        self._index = index
        self._test = tests.doc.tests[index]

    async def explain(
        self, scenario: Scenario, index: int, expect: ExpectDoc, service: str, wrong: Sequence[Mismatch]
    ) -> None:
        """Add a problem for each mismatch of one expectation. The reasons are the same for all and shown once."""
        if not wrong:
            return
        reasons = await self._reasons(scenario, service, whole=all(one.part[0] in _OF_ALL for one in wrong))
        for mismatch in wrong:
            self.problems.append(self._problem(index, expect, service, mismatch, reasons))
            reasons = []

    def no_service(self, kind: str, index: int, at: float, service: str, known: Collection[str]) -> None:
        """Add that a service which the test names does not exist at any time of it."""
        message = f"{self._test.name}: at {format_duration(at)} there is no service {service}, and at no other time of this test"
        place = self._at(kind, index, "service")
        self.problems.append(Problem(place, "unknown-service", message, nearest(service, known)))

    def note(self, path: tuple[str | int, ...], at: float, error: RemediatorError) -> None:
        """Add that an act or comparison could not be done."""
        message = f"{self._test.name}: at {format_duration(at)} {error}"
        self.problems.append(Problem(self._at(*path), str(path[0]), message))

    def _problem(self, index: int, expect: ExpectDoc, service: str, mismatch: Mismatch, reasons: list[str]) -> Problem:
        part, expected, found = mismatch
        whose = "" if part[0] in _OF_ALL else f" of {service}"
        message = f"{self._test.name}: at {format_duration(expect.at)} {part[0]}{whose} is not as expected"
        lines = [*_side_by_side(expected, found), *reasons]
        return Problem(self._at("expect", index, *part), str(part[0]), message, "\n    ".join(lines))

    async def _reasons(self, scenario: Scenario, service: str, *, whole: bool) -> list[str]:
        """Lines that explain a failure: what is seen, what was decided and why, and what has happened."""
        lines = []
        up = scenario.process is not None
        why = await scenario.why(service) if up and not whole else None
        if why is not None:
            lines += [f"health    {why.service.health}: {why.service.judgement.text}"]
            lines += [f"decided   {one_line(scenario.decision(service))}"]
            holds = [hold for _, hold in why.gates if hold is not None] if why.incident or why.alerts else []
            lines += [f"gate      {hold.gate}: {one_line(hold.text)}" for hold in holds]
        entries = [entry for entry in await scenario.journal() if whole or entry.service in ("", service)]
        if entries:
            lines.append(f"story{' of ' + service if not whole else ''}")
            lines += ["  …"] if len(entries) > _STORY else []
            lines += [_story_line(entry, self._test.starts, whole) for entry in entries[-_STORY:]]
        return lines

    def _at(self, *path: str | int) -> Position:
        return self._tests.at("tests", self._index, *path)


class NoteErrors:
    """A context in which a RemediatorError becomes a failure at this path of the test, and the story goes on."""

    def __init__(self, failures: Failures, path: tuple[str | int, ...], now: Callable[[], float]) -> None:
        self._failures = failures
        self._path = path
        self._now = now

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, RemediatorError):
            self._failures.note(self._path, self._now(), error)
            return True
        return False


def _side_by_side(expected: list[str], found: list[str]) -> list[str]:
    """Both sides. When one has several lines, the lines that differ are marked."""
    if len(expected) == 1 and len(found) == 1:
        return [f"expected  {expected[0]}", f"found     {found[0]}"]
    import difflib

    lines = [line.rstrip() for line in difflib.ndiff(expected, found) if not line.startswith("?")]
    return ["- expected, + found", *lines]


def _story_line(entry: Entry, start: float, whole: bool) -> str:
    step = entry.data.get("action", "") if entry.run is not None and entry.data.get("step") != DIAGNOSE else ""
    service = f"{entry.service}: " if whole and entry.service else ""
    shown = f" ({entry.data['call']})" if step and entry.data.get("call") else ""
    said = one_line(f"{service}{entry.kind.replace('_', ' ')}: {entry.text}{shown}")
    return f"  {format_duration(entry.at - start):<8} {said}"

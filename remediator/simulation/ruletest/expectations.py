"""Expectations of a rule test: compares what a test expects of a scenario at one time with what is there."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import AsyncIterator
from typing import NamedTuple

from remediator.model.action import Call
from remediator.simulation.patterns import fits, fits_call, one_line, typed
from remediator.simulation.ruletest.fields import AnnotationDoc, ExpectDoc, Unclosed
from remediator.simulation.ruletest.loader import selector
from remediator.simulation.scenario import Scenario

Part = tuple[str | int, ...]


class Mismatch(NamedTuple):
    """An unmet expectation: its key path within the expectation, and both sides as lines."""

    part: Part
    expected: list[str]
    found: list[str]


async def mismatches(scenario: Scenario, expect: ExpectDoc, service: str, calls: list[Call]) -> AsyncIterator[Mismatch]:
    """The unmet parts of an expectation. `calls` are the calls since the last expectation about commands."""
    if expect.health is not None and scenario.health(service) is not expect.health:
        yield Mismatch(("health",), [expect.health], [scenario.health(service)])
    if expect.held is not None:
        hold = scenario.hold(service)
        gate = hold.gate if hold is not None else "none"
        if gate != expect.held:
            yield Mismatch(("held",), [expect.held], [f"{gate}: {hold.text}" if hold is not None else gate])
    if expect.decision is not None:
        decision = scenario.decision(service)
        if not fits(expect.decision, decision):
            yield Mismatch(("decision",), [expect.decision], [one_line(decision) or "nothing was decided"])
    if expect.ran is not None and not _alike(expect.ran, calls):
        expected = [one if isinstance(one, str) else shlex.join(one) for one in expect.ran]
        yield Mismatch(("ran",), expected, [typed(call) for call in calls])
    if expect.verdict is not None:
        ending = await _ending(scenario, service)
        if ending != expect.verdict:
            yield Mismatch(("verdict",), [expect.verdict], [ending])
    if expect.annotation is not None:
        shown = [(_plain(a.text), a.tags) for a in await scenario.annotations(service)]
        if not any(_shows(expect.annotation, text, tags) for text, tags in shown):
            wanted = [expect.annotation.text, *(f"    {tag}" for tag in expect.annotation.tags)]
            found = [line for text, tags in shown for line in (text, *(f"    {tag}" for tag in tags))]
            yield Mismatch(("annotation",), wanted, found or ["no annotation"])
    for text, value in expect.metrics.items():
        name, labels = selector(text)
        counted = await scenario.metric(name, **labels)
        if counted != value:
            yield Mismatch(("metrics", text), [f"{text} {value:g}"], [f"{text} {counted:g}"])
    if expect.pages is not None:
        pages = sorted(page.labels["alertname"] for page in scenario.pages())
        if pages != sorted(expect.pages):
            yield Mismatch(("pages",), sorted(expect.pages) or ["no page"], pages or ["no page"])


async def _ending(scenario: Scenario, service: str) -> str:
    incidents = [incident for incident in await scenario.incidents() if incident.service == service]
    if not incidents:
        return Unclosed.NONE
    return incidents[-1].verdict or Unclosed.OPEN


def _alike(expected: tuple[str | tuple[str, ...], ...], calls: list[Call]) -> bool:
    if len(expected) != len(calls):
        return False
    return all(
        fits_call(one, call) if isinstance(one, str) else call.argv == one
        for one, call in zip(expected, calls, strict=True)
    )


def _shows(expected: AnnotationDoc, text: str, tags: tuple[str, ...]) -> bool:
    return fits(expected.text, text) and set(expected.tags) <= set(tags)


def _plain(text: str) -> str:
    """The annotation's text without markup, on one line."""
    return one_line(html.unescape(re.sub(r"<[^>]*>", " ", text)))

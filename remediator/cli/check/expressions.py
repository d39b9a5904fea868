"""The PromQL in rules, with placeholders for values that are known only when the query is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from remediator.model.rules import Threshold
from remediator.problem import Position, Problem, Severity
from remediator.rules.ruleset import Locate, RuleSet, steps_of

_PARSE_ERROR = re.compile(r"(\d+):(\d+): parse error: (.*)", re.DOTALL)
_REMARK_PLACE = re.compile(r"\((\d+):(\d+)\)$")
_TEMPLATE = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_GUARD = re.compile(r"\bguard\([^()]*\)")


@dataclass(frozen=True)
class Expression:
    """One PromQL expression and its position in a file. `threshold` is set when it is a threshold's. `source` is the
    name of the Prometheus that is asked."""

    written: str
    at: Callable[[int | None], Position]
    threshold: Threshold | None = None
    source: str = ""

    @property
    def asked(self) -> str:
        """The expression with each template and guard replaced by a word of the same length.

        Offsets stay valid that way. Templates are within strings, and guards are where a selector may be.
        """
        text = _TEMPLATE.sub(lambda found: "x" * len(found[0]), self.written)
        return _GUARD.sub(lambda found: re.sub(r"\W", "_", found[0]), text)

    def refused(self, error: str, remedy: str = "", severity: Severity = Severity.ERROR) -> Problem:
        """The problem that Prometheus' parser reports, at the position that it names."""
        found = _PARSE_ERROR.search(error)
        if found is None:
            return Problem(self.at(None), "bad-promql", error, remedy, severity)
        place = self._within(int(found[1]), int(found[2]))
        return Problem(place, "bad-promql", f"this is not PromQL: {found[3]}", remedy, severity)

    def named_in(self, remark: str) -> Position:
        """The position that the engine's remark names at its end, or that of the expression."""
        found = _REMARK_PLACE.search(remark)
        return self._within(int(found[1]), int(found[2])) if found is not None else self.at(None)

    def _within(self, line_number: int, column: int) -> Position:
        """The position of a line and column of the expression, as Prometheus counts them."""
        *before, line = self.asked.split("\n")[: max(line_number, 1)]
        # Prometheus counts bytes.
        within = len(line.encode()[: column - 1].decode(errors="ignore"))
        offset = sum(len(one) + 1 for one in before) + within
        return self.at(min(offset, max(len(self.asked) - 1, 0)))


def expressions(rules: RuleSet) -> Iterator[Expression]:
    """Every expression of the rules, except broken ones and those with `{% if %}`, which have several variants."""
    for threshold in rules.thresholds:
        if threshold.whole and "{{" not in threshold.item.expr:
            yield Expression(
                threshold.item.expr, _place(threshold.at, "expr"), threshold.item, threshold.item.prometheus
            )
    for runbook, index, step in steps_of(rules):
        texts = {"if": step.if_, "unless": step.unless}
        for key, text in texts.items():
            if text and "{%" not in text:
                yield Expression(text, _place(runbook.at, "steps", index, key), source=step.prometheus)
        count = step.args.get("replicas") if step.action == "scale" and step.spec is None else None
        if isinstance(count, str) and "{%" not in count:
            yield Expression(count, _place(runbook.at, "steps", index, "scale", "replicas"), source=step.prometheus)


def _place(at: Locate, *path: str | int) -> Callable[[int | None], Position]:
    return lambda offset: at(*path, offset=offset)

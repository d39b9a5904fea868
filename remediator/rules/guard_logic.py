"""How conditions of guards are asked: `and`, `or`, `unless` and `absent` of them as arithmetic of three values.

A guard is 0 or 1, or empty when it cannot be told. PromQL's own operators look only at which series exist, so that a guard
of 0 would hide one of 1. An operand without any guard stays the PromQL that it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from remediator.rules.conditions import as_value
from remediator.rules.promql_tree import NotUnderstood
from remediator.rules.promql_words import placed_words

Word = tuple[str, str, int]
"""The kind of a word, its text, and where it begins."""
Part = tuple[str, list[Word]]
"""An operand, with the operator before it; the first has none."""

_TEMPLATE = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_BY_PRESENCE = re.compile(r"\b(?:count|group|absent|absent_over_time|and|or|unless)\b")
"""Within these a guard is there or not, as in PromQL."""


def fill_in(text: str, guard: re.Pattern[str], expr_of: Callable[[re.Match[str]], str], *, guard_empty: bool) -> str:
    """The condition with every guard replaced by what it stands for, which has no labels.

    With `guard_empty` false a part that is empty is false.
    """
    if guard.search(text) is None:
        return text
    words = placed_words(_TEMPLATE.sub(lambda found: "x" * len(found[0]), text))
    if words is not None:
        try:
            return _Condition(text, guard, expr_of, guard_empty).filled(words)
        except NotUnderstood:
            pass
    return guard.sub(lambda found: f"(({expr_of(found)}) == 1)", text)


class _Condition:
    """A condition with guards in it."""

    def __init__(
        self, text: str, guard: re.Pattern[str], expr_of: Callable[[re.Match[str]], str], guard_empty: bool
    ) -> None:
        self._text = text
        self._guard = guard
        self._expr_of = expr_of
        self._guard_empty = guard_empty

    def filled(self, words: list[Word]) -> str:
        if self._operands(words, "or") or self._operands(words, "and", "unless") or self._inner(words):
            return f"({self._value(words)}) > bool 0"
        return self._substituted(words)

    def _value(self, words: list[Word]) -> str:
        """An expression without labels that is 1 when the words are true, 0 when they are false, and else empty."""
        if parts := self._operands(words, "or"):
            return _any([self._value(part) for _, part in parts])
        if parts := self._operands(words, "and", "unless"):
            return _all([_not(self._value(part)) if sign == "unless" else self._value(part) for sign, part in parts])
        if found := self._inner(words):
            negated, inner = found
            return _not(self._value(inner)) if negated else self._value(inner)
        alone = self._guard.fullmatch(self._written(words)) is not None
        value = self._substituted(words) if alone else as_value(self._substituted(words))
        return f"({value})" if self._guard_empty else f"(({value}) or vector(0))"

    def _operands(self, words: list[Word], *signs: str) -> list[Part]:
        """The operands of these operators. None when there is no such operator, or no guard in any of them. Neighbours
        without a guard are one operand."""
        parts = _split(words, signs)
        if len(parts) < 2 or not any(self._guarded(part) for _, part in parts):
            return []
        found = [parts[0]]
        for sign, part in parts[1:]:
            before_sign, before = found[-1]
            if before_sign != "unless" and not self._guarded(before) and not self._guarded(part):
                first, last = words.index(before[0]), words.index(part[-1])
                found[-1] = before_sign, words[first : last + 1]
            else:
                found.append((sign, part))
        return found if len(found) > 1 else []

    def _inner(self, words: list[Word]) -> tuple[bool, list[Word]] | None:
        """The inside of one pair of parentheses, or of one absent() of guards, which negates it."""
        negated = words[0][1].lower() == "absent"
        inside = words[1:] if negated else words
        if len(inside) < 3 or inside[0][1] != "(" or _end(inside, 0) != len(inside) - 1:
            return None
        return (negated, inside[1:-1]) if self._guarded(inside) else None

    def _guarded(self, words: list[Word]) -> bool:
        return self._guard.search(self._written(words)) is not None

    def _written(self, words: list[Word]) -> str:
        return self._text[words[0][2] : words[-1][2] + len(words[-1][1])]

    def _substituted(self, words: list[Word]) -> str:
        written = self._written(words)
        test = " == 1" if _BY_PRESENCE.search(self._guard.sub("", written)) else ""
        return self._guard.sub(
            lambda found: f"({self._expr_of(found)}){test}" if not test else f"(({self._expr_of(found)}){test})",
            written,
        )


def _split(words: list[Word], signs: tuple[str, ...]) -> list[Part]:
    """The words between these operators, outside of all parentheses. What the operators match on is left out."""
    parts: list[Part] = [("", [])]
    at = 0
    while at < len(words):
        kind, word, _ = words[at]
        if kind == "name" and word.lower() in signs and parts[-1][1]:
            parts.append((word.lower(), []))
            at += 1
            if at + 1 < len(words) and words[at][1].lower() in ("on", "ignoring") and words[at + 1][1] == "(":
                at = _end(words, at + 1) + 1
            continue
        end = _end(words, at) if word in ("(", "{") else at
        parts[-1][1].extend(words[at : end + 1])
        at = end + 1
    if not all(part for _, part in parts):
        raise NotUnderstood
    return parts


def _end(words: list[Word], at: int) -> int:
    """The index of the parenthesis that closes the one at this index."""
    depth = 0
    for index in range(at, len(words)):
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(words[index][1], 0)
        if depth == 0:
            return index
    raise NotUnderstood


def _not(value: str) -> str:
    return f"(1 - {value})"


def _any(values: list[str]) -> str:
    """1 when one of them is 1, 0 when all are 0."""
    known = " or ".join(f"({value} == 1)" for value in values)
    return f"({known} or ({' + '.join(values)}))"


def _all(values: list[str]) -> str:
    """0 when one of them is 0, 1 when all are 1."""
    known = " or ".join(f"({value} == 0)" for value in values)
    return f"({known} or ({' * '.join(values)}))"

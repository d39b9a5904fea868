"""What the text of a PromQL expression says: which labels its series can have, and how far it looks back.

Expressions are read only as closely as these questions need: operators have no precedence here. Where the text is not
understood the answer is None, and nothing follows from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from remediator.rules.promql_tree import (
    Aggregation,
    Constant,
    FunctionCall,
    Node,
    NotUnderstood,
    Operands,
    Past,
    RangeSelector,
    Selector,
    read,
)
from remediator.rules.promql_words import unquoted_label

T = TypeVar("T")

_KEEPING = frozenset({"bottomk", "topk", "limitk", "limit_ratio"})
"""Aggregations that choose series, and leave their labels alone."""
_NEWEST = frozenset({"irate", "idelta", "last_over_time", "present_over_time", "absent_over_time"})
"""Functions of a range for which its newest values alone decide."""
_EXTREMES = {"max_over_time": 1, "min_over_time": -1}
"""Functions of a range that keep the values of one direction for as long as it is, and lose the others at once."""


class SeriesLabels(msgspec.Struct, frozen=True):
    """Which labels a series can have: those that are named, or with `others` all but those."""

    names: frozenset[str] = frozenset()
    others: bool = False

    def __contains__(self, name: str) -> bool:
        return (name in self.names) != self.others

    def __or__(self, other: SeriesLabels) -> SeriesLabels:
        if self.others and other.others:
            return SeriesLabels(self.names & other.names, True)
        if self.others or other.others:
            most, few = (self, other) if self.others else (other, self)
            return SeriesLabels(most.names - few.names, True)
        return SeriesLabels(self.names | other.names)

    def only(self, names: frozenset[str]) -> SeriesLabels:
        """The labels after aggregating by these."""
        return SeriesLabels(frozenset(name for name in names if name in self))

    def without(self, names: frozenset[str]) -> SeriesLabels:
        """The labels after aggregating without these."""
        return SeriesLabels(self.names | names, True) if self.others else SeriesLabels(self.names - names)


ANY = SeriesLabels(others=True)
NONE = SeriesLabels()


def series_labels(expr: str) -> SeriesLabels | None:
    """Which labels the series of an expression can have at most; None when its text is not understood."""
    return _answer(expr, _labels)


def look_back(expr: str, worse: int) -> float | None:
    """For how many seconds at least what is past still shows in the values of an expression; None when its text is not
    understood. `worse` is 1 when larger values are the bad ones, -1 when smaller ones are, else 0: the maximum over some
    time shows at once that small values have ended.

    Of several parts the shortest counts: a short window beside a long one is there to see a recovery soon.
    """
    return _answer(expr, lambda node: min(_reach(node, worse), default=0.0))


def _answer(expr: str, question: Callable[[Node], T]) -> T | None:
    try:
        return question(read(expr))
    except (NotUnderstood, RecursionError):
        return None


def _labels(node: Node) -> SeriesLabels:
    match node:
        case Constant():
            return NONE
        case Selector():
            return ANY
        case RangeSelector(of=inner) | Past(of=inner):
            return _labels(inner)
        case Aggregation(name, args, names, without):
            before = _labels_of(args)
            if name in _KEEPING:
                return before
            added = _text_of(args[0]) if name == "count_values" else NONE
            return (before.without(names) if without else before.only(names)) | added
        case FunctionCall(name="absent" | "absent_over_time" | "info"):
            return ANY
        case FunctionCall(name="label_replace" | "label_join", args=[first, second, *_]):
            return _labels(first) | _text_of(second)
        case FunctionCall(args=args) | Operands(parts=args):
            return _labels_of(args)


def _labels_of(nodes: list[Node]) -> SeriesLabels:
    found = NONE
    for node in nodes:
        found |= _labels(node)
    return found


def _text_of(node: Node) -> SeriesLabels:
    name = unquoted_label(node.text) if isinstance(node, Constant) else None
    if name is None:
        raise NotUnderstood
    return SeriesLabels(frozenset({name}))


def _reach(node: Node, worse: int) -> list[float]:
    """How far back each part reads that reads the present."""
    match node:
        case Constant() | Past():
            return []
        case Selector():
            return [0.0]
        case RangeSelector(inner, seconds):
            return [seconds + further for further in _reach(inner, worse)]
        case FunctionCall(name=name, args=args) if name in _NEWEST or _EXTREMES.get(name, worse) != worse:
            return [0.0 for _ in _reach_of(args, worse)]
        case FunctionCall(args=args) | Aggregation(args=args) | Operands(parts=args):
            return _reach_of(args, worse)


def _reach_of(nodes: list[Node], worse: int) -> list[float]:
    return [reach for node in nodes for reach in _reach(node, worse)]

"""What can be told of a PromQL expression from its text alone: which labels its series can have, and how far it looks back.

This reads expressions that are right, and only as closely as these questions need: operators have no precedence here,
and functions no types. Where the text is not understood the answer is None, and nothing follows from it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec

from remediator.model.durations import parse_duration
from remediator.rules.promql_words import unquoted_label, words

T = TypeVar("T")


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
        """What aggregating by these labels leaves."""
        return SeriesLabels(frozenset(name for name in names if name in self))

    def without(self, names: frozenset[str]) -> SeriesLabels:
        """What aggregating without these labels leaves."""
        return SeriesLabels(self.names | names, True) if self.others else SeriesLabels(self.names - names)


ANY = SeriesLabels(others=True)
NONE = SeriesLabels()


def series_labels(expr: str) -> SeriesLabels | None:
    """Which labels the series of an expression can have at most; None when its text is not understood."""
    return _told(expr, _labels)


def look_back(expr: str, worse: int) -> float | None:
    """For how many seconds at least what is past still shows in the values of an expression; None when its text is not
    understood. `worse` is 1 when larger values are the bad ones, -1 when smaller ones are, else 0: the maximum over some
    time shows at once that small values have ended.

    Of several parts the shortest counts: a short window beside a long one is there to see a recovery soon.
    """
    return _told(expr, lambda node: min(_reach(node, worse), default=0.0))


# Reading: words to a tree.

_AGGREGATIONS = frozenset(
    {"sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "quantile"}
    | {"count_values", "bottomk", "topk", "limitk", "limit_ratio"}
)
_KEEPING = frozenset({"bottomk", "topk", "limitk", "limit_ratio"})
"""Aggregations that choose series, and leave their labels alone."""
_NEWEST = frozenset({"irate", "idelta", "last_over_time", "present_over_time", "absent_over_time"})
"""Functions of a range for which its newest values alone decide."""
_EXTREMES = {"max_over_time": 1, "min_over_time": -1}
"""Functions of a range that keep the values of one direction for as long as it is, and lose the others at once."""
_SIGNS = frozenset({"+", "-", "*", "/", "%", "^", "==", "!=", "<=", ">=", "<", ">"})
_OPERATORS = _SIGNS | {"and", "or", "unless", "atan2"}
_MATCHINGS = frozenset({"on", "ignoring", "group_left", "group_right"})


class _Constant(NamedTuple):
    """A number or string; `text` is a string's, with its quotes."""

    text: str


class _Selector(NamedTuple):
    """Series as they are."""


class _Range(NamedTuple):
    """A range of a selector, or a subquery."""

    of: _Node
    seconds: float


class _Past(NamedTuple):
    """What was some time ago, and so tells nothing of a recovery."""

    of: _Node


class _Call(NamedTuple):
    """A function, or an aggregation that does not group."""

    name: str
    args: list[_Node]


class _Grouped(NamedTuple):
    """An aggregation."""

    name: str
    args: list[_Node]
    names: frozenset[str]
    without: bool


class _Operands(NamedTuple):
    """What operators stand between."""

    parts: list[_Node]


_Node = _Constant | _Selector | _Range | _Past | _Call | _Grouped | _Operands


class _NotUnderstood(Exception):
    pass


def _told(expr: str, question: Callable[[_Node], T]) -> T | None:
    try:
        return question(_read(expr))
    except (_NotUnderstood, RecursionError):
        return None


@lru_cache(maxsize=1024)
def _read(expr: str) -> _Node:
    reader = _Reader(expr)
    node = reader.expression()
    if reader.next:
        raise _NotUnderstood
    return node


class _Reader:
    """Walks through the words of an expression; `next` is the one to come, '' at the end."""

    def __init__(self, expr: str) -> None:
        found = words(expr)
        if found is None:
            raise _NotUnderstood
        self._words = [*found, ("", "")]
        self._at = 0

    @property
    def kind(self) -> str:
        return self._words[self._at][0]

    @property
    def next(self) -> str:
        return self._words[self._at][1]

    def _take(self, *wanted: str) -> str:
        word = self.next
        if not word or (wanted and word not in wanted):
            raise _NotUnderstood
        self._at += 1
        return word

    def expression(self) -> _Node:
        parts = [self._operand()]
        while self.next.lower() in _OPERATORS:
            self._take()
            if self.next.lower() == "bool":
                self._take()
            while self.next.lower() in _MATCHINGS:
                self._take()
                if self.next == "(":
                    self._names()
            parts.append(self._operand())
        return parts[0] if len(parts) == 1 else _Operands(parts)

    def _operand(self) -> _Node:
        while self.next in ("+", "-"):
            self._take()
        node = self._primary()
        while True:
            if self.kind == "range":
                node = _Range(node, _seconds(self._take()[1:-1].partition(":")[0]))
            elif self.next.lower() == "offset":
                self._take()
                if self.next == "-":
                    self._take()
                self._take()
                node = _Past(node)
            elif self.next == "@":
                self._take()
                self._operand()
                node = _Past(node)
            else:
                return node

    def _primary(self) -> _Node:
        kind, word = self.kind, self.next
        if kind in ("number", "string"):
            return _Constant(self._take())
        if word == "(":
            return self._arguments()[0]
        if word == "{":
            return self._selector()
        if kind != "name":
            raise _NotUnderstood
        self._take()
        if word.lower() in _AGGREGATIONS and (self.next == "(" or self.next.lower() in ("by", "without")):
            return self._aggregation(word.lower())
        if self.next == "(":
            return _Call(word, self._arguments(least=0))
        return self._selector() if self.next == "{" else _Selector()

    def _aggregation(self, name: str) -> _Node:
        args: list[_Node] = []
        grouping, names = "", frozenset[str]()
        while (not args and self.next == "(") or (not grouping and self.next.lower() in ("by", "without")):
            if self.next == "(":
                args = self._arguments()
            else:
                grouping, names = self._take().lower(), self._names()
        if not args:
            raise _NotUnderstood
        return _Grouped(name, args, names, grouping == "without")

    def _arguments(self, least: int = 1) -> list[_Node]:
        self._take("(")
        args: list[_Node] = []
        while self.next != ")":
            args.append(self.expression())
            if self.next == ",":
                self._take()
            elif self.next != ")":
                raise _NotUnderstood
        self._take(")")
        if len(args) < least:
            raise _NotUnderstood
        return args

    def _names(self) -> frozenset[str]:
        self._take("(")
        names = set()
        while self.next != ")":
            names.add(self._name())
            if self.next == ",":
                self._take()
        self._take(")")
        return frozenset(names)

    def _name(self) -> str:
        """A label name, plain or in quotes."""
        if self.kind == "string":
            name = unquoted_label(self._take())
            if name is None:
                raise _NotUnderstood
            return name
        if self.kind != "name":
            raise _NotUnderstood
        return self._take()

    def _selector(self) -> _Node:
        self._take("{")
        while self._take() != "}":
            pass
        return _Selector()


def _seconds(text: str) -> float:
    try:
        return parse_duration(text.strip())
    except ValueError:
        raise _NotUnderstood from None


# Answering.


def _labels(node: _Node) -> SeriesLabels:
    match node:
        case _Constant():
            return NONE
        case _Selector():
            return ANY
        case _Range(of=inner) | _Past(of=inner):
            return _labels(inner)
        case _Grouped(name, args, names, without):
            before = _labels_of(args)
            if name in _KEEPING:
                return before
            added = _text_of(args[0]) if name == "count_values" else NONE
            return (before.without(names) if without else before.only(names)) | added
        case _Call(name="absent" | "absent_over_time" | "info"):
            return ANY
        case _Call(name="label_replace" | "label_join", args=[first, second, *_]):
            return _labels(first) | _text_of(second)
        case _Call(args=args) | _Operands(args):
            return _labels_of(args)


def _labels_of(nodes: list[_Node]) -> SeriesLabels:
    found = NONE
    for node in nodes:
        found |= _labels(node)
    return found


def _text_of(node: _Node) -> SeriesLabels:
    name = unquoted_label(node.text) if isinstance(node, _Constant) else None
    if name is None:
        raise _NotUnderstood
    return SeriesLabels(frozenset({name}))


def _reach(node: _Node, worse: int) -> list[float]:
    """How far each part that looks at the present looks back."""
    match node:
        case _Constant() | _Past():
            return []
        case _Selector():
            return [0.0]
        case _Range(inner, seconds):
            return [seconds + further for further in _reach(inner, worse)]
        case _Call(name=name, args=args) if name in _NEWEST or _EXTREMES.get(name, worse) != worse:
            return [0.0 for _ in _reach_of(args, worse)]
        case _Call(args=args) | _Grouped(args=args) | _Operands(args):
            return _reach_of(args, worse)


def _reach_of(nodes: list[_Node], worse: int) -> list[float]:
    return [reach for node in nodes for reach in _reach(node, worse)]

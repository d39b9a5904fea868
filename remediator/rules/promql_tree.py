"""PromQL as a tree, read from the words of an expression that is right.

Only as closely as the questions of `promql` and `promql_filters` need: functions have no types.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from remediator.model.durations import parse_duration
from remediator.rules.promql_words import unquoted_label, words

_AGGREGATIONS = frozenset(
    {"sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "quantile"}
    | {"count_values", "bottomk", "topk", "limitk", "limit_ratio"}
)
_SIGNS = frozenset({"+", "-", "*", "/", "%", "^", "==", "!=", "<=", ">=", "<", ">"})
_OPERATORS = _SIGNS | {"and", "or", "unless", "atan2"}
_MATCHINGS = frozenset({"on", "ignoring", "group_left", "group_right"})


class Constant(NamedTuple):
    """A number or string; `text` is a string's, with its quotes."""

    text: str


class Selector(NamedTuple):
    """Series as they are; `text` is their words."""

    text: str


class RangeSelector(NamedTuple):
    """A range of a selector, or a subquery."""

    of: Node
    seconds: float


class Past(NamedTuple):
    """Values of an earlier time, which say nothing about a recovery."""

    of: Node


class FunctionCall(NamedTuple):
    """A function, or an aggregation that does not group."""

    name: str
    args: list[Node]


class Aggregation(NamedTuple):
    """An aggregation."""

    name: str
    args: list[Node]
    names: frozenset[str]
    without: bool


class Operator(NamedTuple):
    """A binary operator. `at` is its index among the words of the expression, `group` group_left or group_right."""

    sign: str
    bool_: bool
    at: int
    group: str = ""


class Operands(NamedTuple):
    """Operands with operators between them, as they are written: no precedence."""

    parts: list[Node]
    operators: list[Operator]


Node = Constant | Selector | RangeSelector | Past | FunctionCall | Aggregation | Operands


class NotUnderstood(Exception):
    """The text is not PromQL as far as it is read here."""


@lru_cache(maxsize=1024)
def read(expr: str) -> Node:
    """The tree of an expression. NotUnderstood when its text is not understood."""
    reader = _Reader(expr)
    node = reader.expression()
    if reader.next:
        raise NotUnderstood
    return node


class _Reader:
    """Walks through the words of an expression; `next` is the one to come, '' at the end."""

    def __init__(self, expr: str) -> None:
        found = words(expr)
        if found is None:
            raise NotUnderstood
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
            raise NotUnderstood
        self._at += 1
        return word

    def expression(self) -> Node:
        parts = [self._operand()]
        operators = []
        while self.next.lower() in _OPERATORS:
            at = self._at
            sign = self._take().lower()
            bool_ = self.next.lower() == "bool"
            if bool_:
                self._take()
            group = ""
            while self.next.lower() in _MATCHINGS:
                matching = self._take().lower()
                group = matching if matching.startswith("group") else group
                if self.next == "(":
                    self._names()
            operators.append(Operator(sign, bool_, at, group))
            parts.append(self._operand())
        return parts[0] if len(parts) == 1 else Operands(parts, operators)

    def _operand(self) -> Node:
        minus = False
        while self.next in ("+", "-"):
            minus ^= self._take() == "-"
        node = self._primary()
        if minus and isinstance(node, Constant):
            node = Constant(f"-{node.text}")
        while True:
            if self.kind == "range":
                node = RangeSelector(node, _seconds(self._take()[1:-1].partition(":")[0]))
            elif self.next.lower() == "offset":
                self._take()
                if self.next == "-":
                    self._take()
                self._take()
                node = Past(node)
            elif self.next == "@":
                self._take()
                self._operand()
                node = Past(node)
            else:
                return node

    def _primary(self) -> Node:
        kind, word = self.kind, self.next
        if kind in ("number", "string"):
            return Constant(self._take())
        if word == "(":
            return self._arguments()[0]
        if word == "{":
            return self._selector("")
        if kind != "name":
            raise NotUnderstood
        self._take()
        if word.lower() in _AGGREGATIONS and (self.next == "(" or self.next.lower() in ("by", "without")):
            return self._aggregation(word.lower())
        if self.next == "(":
            return FunctionCall(word, self._arguments(least=0))
        return self._selector(word) if self.next == "{" else Selector(word)

    def _aggregation(self, name: str) -> Node:
        args: list[Node] = []
        grouping, names = "", frozenset[str]()
        while (not args and self.next == "(") or (not grouping and self.next.lower() in ("by", "without")):
            if self.next == "(":
                args = self._arguments()
            else:
                grouping, names = self._take().lower(), self._names()
        if not args:
            raise NotUnderstood
        return Aggregation(name, args, names, grouping == "without")

    def _arguments(self, least: int = 1) -> list[Node]:
        self._take("(")
        args: list[Node] = []
        while self.next != ")":
            args.append(self.expression())
            if self.next == ",":
                self._take()
            elif self.next != ")":
                raise NotUnderstood
        self._take(")")
        if len(args) < least:
            raise NotUnderstood
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
                raise NotUnderstood
            return name
        if self.kind != "name":
            raise NotUnderstood
        return self._take()

    def _selector(self, metric: str) -> Node:
        found = [metric, self._take("{")]
        while found[-1] != "}":
            found.append(self._take())
        return Selector(" ".join(found))


def _seconds(text: str) -> float:
    try:
        return parse_duration(text.strip())
    except ValueError:
        raise NotUnderstood from None

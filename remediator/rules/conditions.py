"""What a condition in PromQL means: true, false, or not to be told.

A condition is 0 or 1 while what it rests on exists, and an empty answer tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from remediator.clients.prometheus.client import Answer
from remediator.model.health import Comparison
from remediator.rules.promql_precedence import Binary, Tree, is_scalar, number, precedence
from remediator.rules.promql_tree import (
    Aggregation,
    FunctionCall,
    NotUnderstood,
    Operands,
    Operator,
    Past,
    RangeSelector,
    read,
)

EMPTY = "its answer is empty, so that what it asks about may be missing"
"""Why a condition cannot be told whose answer has no series."""
NO_NUMBER = "its value is no number"
"""Why a condition cannot be told whose value is NaN."""

_COMPARISONS = frozenset({"==", "!=", "<=", ">=", "<", ">"})
_TURNED = {">": "<", "<": ">", ">=": "<=", "<=": ">="}
_NEVER_ZERO = frozenset({"count", "group", "absent", "absent_over_time", "present_over_time", "count_over_time"})
_ABSENT = frozenset({"absent", "absent_over_time"})
_SETS = frozenset({"and", "or", "unless"})


class FalseFilter(msgspec.Struct, frozen=True):
    """What makes a condition empty when it is false, or an absent() true when its series are missing. `at` is the index
    of the operator among the words of the expression, -1 when there is none."""

    text: str
    at: int
    absent: bool = False


def truth(answer: Answer, asked: str, guard_empty: bool = True) -> bool | None:
    """What the answer to a condition says; `asked` is its text with guards filled in. None when that cannot be told.

    A value other than 0 is true, 0 is false. A filter that lets 0 pass, as `up == 0`, is true by each series that it lets
    pass. An empty answer is false with `guard_empty` false, and tells nothing otherwise; but that of absent() is false.
    """
    empty = False if not guard_empty or _told(asked, _empty_is_false) else None
    return answer.condition(empty=empty, zero=_told(asked, _zero_is_true))


def false_filter(expr: str) -> FalseFilter | None:
    """What makes a condition empty when it is false, so that it can never be seen to be false."""
    try:
        return _false_filter(precedence(read(expr)))
    except (NotUnderstood, RecursionError):
        return None


def as_value(expr: str) -> str:
    """The condition as an expression without labels: 1 when it is true, 0 when it is false, and empty when that cannot be
    told."""
    if _told(expr, is_scalar):
        value = f"abs(vector({expr}))"
    elif _told(expr, _zero_is_true):
        value = f"group({expr})"
    else:
        value = f"max(abs({expr}))"
    # What is no number tells nothing: the filter drops it.
    value = f"({value} >= 0) > bool 0" if not value.startswith("group") else value
    return f"({value}) or vector(0)" if _told(expr, _empty_is_false) else value


def _told(expr: str, question: Callable[[Tree], bool]) -> bool:
    try:
        return question(precedence(read(expr)))
    except (NotUnderstood, RecursionError):
        return False


def _zero_is_true(node: Tree) -> bool:
    """Whether a series of the value 0 is there because a condition is true."""
    match node:
        case Binary(left, operator, right) if operator.sign in _COMPARISONS:
            return not operator.bool_ and _passes_zero(left, operator.sign, right)
        case Binary(left, Operator(sign="and" | "unless" as sign), right):
            # Where the right side only selects, the left side's values are no condition.
            selects = sign == "unless" or _filters(right)
            return _zero_is_true(left) or (selects and not _is_bool(left))
        case Binary(left, _, right):
            return _zero_is_true(left) or _zero_is_true(right)
        case FunctionCall(name=name, args=args) | Aggregation(name=name, args=args):
            return name not in _NEVER_ZERO and any(_zero_is_true(precedence(arg)) for arg in args)
        case Operands():
            return _zero_is_true(precedence(node))
        case RangeSelector(of=inner) | Past(of=inner):
            return _zero_is_true(precedence(inner))
    return False


def _passes_zero(left: Tree, sign: str, right: Tree) -> bool:
    if is_scalar(left):
        left, right, sign = right, left, _TURNED.get(sign, sign)
    bound = number(right)
    passes = sign != ">" if bound is None else Comparison(sign, bound).holds(0.0)
    return passes and not (isinstance(left, FunctionCall | Aggregation) and left.name in _NEVER_ZERO)


def _is_bool(node: Tree) -> bool:
    """Whether the values are 0 and 1 by the way in which they are written."""
    match node:
        case Binary(left, operator, right):
            if operator.sign in _COMPARISONS:
                return operator.bool_
            return operator.sign in (*_SETS, "*", "+") and _is_bool(left) and _is_bool(right)
        case Aggregation(name="max" | "min" | "sum" | "group" | "avg", args=args):
            return _is_bool(precedence(args[-1]))
        case FunctionCall(name=name):
            return name in _ABSENT
        case Operands():
            return _is_bool(precedence(node))
    return False


def _filters(node: Tree) -> bool:
    return _false_filter(node) is not None


def _empty_is_false(node: Tree) -> bool:
    """Whether an empty answer says that the condition is false: absent() has none because there are such series."""
    match node:
        case FunctionCall(name=name):
            return name in _ABSENT
        case Binary(left, Operator(sign="and" | "or"), right):
            return _empty_is_false(left) and _empty_is_false(right)
        case Operands():
            return _empty_is_false(precedence(node))
    return False


def _false_filter(node: Tree) -> FalseFilter | None:
    match node:
        case Binary(left, operator, right) if operator.sign in _COMPARISONS:
            if is_scalar(left) and is_scalar(right):
                return None
            return (
                (_false_filter(left) or _false_filter(right))
                if operator.bool_
                else FalseFilter(operator.sign, operator.at)
            )
        case Binary(left, Operator(sign="or"), right):
            found = _false_filter(left)
            return found if found is not None and (found.absent or _false_filter(right)) else None
        case Binary(left, Operator(sign="and"), right):
            return _false_filter(left) or _false_filter(right)
        case Binary(left, Operator(sign="unless") as operator, _):
            return _false_filter(left) or FalseFilter("unless", operator.at)
        case Binary(left, _, _):
            # What is on the right of an arithmetic sign may only select the series that are meant.
            return _false_filter(left)
        case FunctionCall(name=name, args=[inner, *_]) if name in _ABSENT:
            found = _false_filter(precedence(inner))
            return None if found is None else FalseFilter(found.text, found.at, absent=True)
        case FunctionCall(args=args) | Aggregation(args=args):
            return next(filter(None, (_false_filter(precedence(arg)) for arg in args)), None)
        case Operands():
            return _false_filter(precedence(node))
        case RangeSelector(of=inner) | Past(of=inner):
            return _false_filter(precedence(inner))
    return None

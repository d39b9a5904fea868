"""Which comparison of an expression drops the series of services that are well, so that their health is never seen.

In PromQL a comparison without `bool` is a filter: series for which it is false are not in the result. Only certain cases
are reported. Filters of a divisor or of a joined vector select series, so they are not reported.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from remediator.model.health import Comparison, Health
from remediator.model.rules import Threshold
from remediator.rules.promql_precedence import Binary, Tree, is_scalar, number, precedence
from remediator.rules.promql_tree import (
    Aggregation,
    FunctionCall,
    NotUnderstood,
    Operator,
    read,
)

_COMPARISONS = frozenset({"==", "!=", "<=", ">=", "<", ">"})
_LARGE, _SMALL = frozenset({">", ">=", "==", "!="}), frozenset({"<", "<=", "=="})
_SAME_VALUE = frozenset({"sort", "sort_desc", "label_replace", "label_join"})
_SAME_SIGN = frozenset({"abs", "ceil", "floor", "round", "sgn", "sqrt", "clamp", "clamp_min", "clamp_max"})
"""Functions of a vector whose result has a series for each series of the vector."""
_VALUE_KEEPING = frozenset({"min", "max", "avg", "topk", "bottomk", "limitk", "limit_ratio"})
_COUNTING = frozenset({"count", "group"})


class HealthFilter(NamedTuple):
    """What drops series of services that are well. `at` is its word's index in the expression, -1 when unknown."""

    text: str
    at: int
    absent: bool = False
    counted: bool = False


class _Seen(NamedTuple):
    """How a value that is filtered becomes the threshold's value."""

    same: bool = True
    counted: bool = False


def health_filter(threshold: Threshold) -> HealthFilter | None:
    """The comparison, or the absent(), by which a threshold does not see services that are well. None when there is
    none for sure."""
    if threshold.degraded is None and threshold.failed is None:
        return None
    try:
        return _filter(precedence(read(threshold.expr)), threshold, _Seen())
    except (NotUnderstood, RecursionError):
        return None


def _filter(node: Tree, threshold: Threshold, seen: _Seen) -> HealthFilter | None:
    match node:
        case Binary(left, Operator(sign="or"), right):
            found = _filter(left, threshold, seen)
            return found if found and _filter(right, threshold, seen) else None
        case Binary(left, Operator(sign="and" | "unless"), _):
            return _filter(left, threshold, seen)
        case Binary(left, operator, right) if operator.sign in _COMPARISONS:
            return _comparison(left, operator, right, threshold, seen)
        case Binary(left, Operator(sign="*", group=str(group)), right) if group:
            # What is joined to get labels has the value 1.
            return _filter(left if group == "group_left" else right, threshold, seen)
        case Binary(left, Operator(sign=sign), right):
            # With two vectors, either may only say which series are meant.
            vector = left if is_scalar(right) else right if is_scalar(left) and sign in ("+", "*") else None
            return None if vector is None else _filter(vector, threshold, seen._replace(same=False))
        case FunctionCall(name="absent" | "absent_over_time" as name):
            return HealthFilter(f"{name}()", -1, absent=True)
        case FunctionCall(name=name, args=[inner, *_]) if name in _SAME_VALUE | _SAME_SIGN:
            return _filter(precedence(inner), threshold, seen._replace(same=seen.same and name in _SAME_VALUE))
        case FunctionCall(name=name, args=args) | Aggregation(name=name, args=args) if args and name in (
            _VALUE_KEEPING | _COUNTING | {"sum"}
        ):
            passed = seen if name in _VALUE_KEEPING else _Seen(same=False, counted=name in _COUNTING)
            return _filter(precedence(args[-1]), threshold, passed)
    return None


def _comparison(left: Tree, operator: Operator, right: Tree, threshold: Threshold, seen: _Seen) -> HealthFilter | None:
    sign, turned = operator.sign, {">": "<", "<": ">", ">=": "<=", "<=": ">="}
    if is_scalar(left) and not is_scalar(right):
        left, right, sign = right, left, turned.get(sign, sign)
    if operator.bool_ or is_scalar(left):
        return None if is_scalar(left) else _filter(left, threshold, seen._replace(same=False))
    bound = number(right)
    text = operator.sign if bound is None else f"{sign} {bound:g}"
    drops = (
        _drops_unknown(left, sign, right, threshold, seen)
        if bound is None
        else _drops_well(Comparison(sign, bound), threshold)
        if seen.same
        else _drops_by_direction(sign, bound, threshold, seen)
    )
    return HealthFilter(text, operator.at, counted=seen.counted) if drops else _filter(left, threshold, seen)


def _drops_well(kept: Comparison, threshold: Threshold) -> bool:
    """Whether some healthy value is dropped while some bad value is kept, of values that may really come."""
    bounds = {kept.bound, *(one.bound for one in (threshold.degraded, threshold.failed) if one is not None)}
    if not math.isfinite(kept.bound):
        return False
    near = {bound + more for bound in bounds if math.isfinite(bound) for more in (0.0, -1.0, 1.0, -1e-6, 1e-6)}
    values = near | {0.0, 1.0, 1e9} | {bound * 2 for bound in near}
    # What counts and measures is hardly ever negative, so that `>= 0` drops only what is no number.
    dropped = [value for value in values if value >= 0 and not kept.holds(value)]
    if all(threshold.judge(value).bad for value in values if value >= 0):
        # That there is a series at all means trouble.
        return bool(dropped)
    return any(threshold.judge(value) is Health.HEALTHY for value in dropped) and any(
        kept.holds(value) and threshold.judge(value).bad for value in values
    )


def _drops_by_direction(sign: str, bound: float, threshold: Threshold, seen: _Seen) -> bool:
    """The same, where the threshold's value is another one than the value that is filtered."""
    worse = _worse(threshold)
    if not math.isfinite(bound) or (sign == ">=" and bound <= 0) or (sign == ">" and bound < 0):
        return False
    if seen.counted:
        # The more of them there are, the worse: then none is left when all is well.
        return worse > 0
    return sign in (_LARGE if worse > 0 else _SMALL if worse < 0 else ())


def _drops_unknown(left: Tree, sign: str, right: Tree, threshold: Threshold, seen: _Seen) -> bool:
    """The same, where the bound is a vector or changes: what is compared with itself only drops what is no number."""
    if sign == "==" or left == right or (seen.counted and _worse(threshold) <= 0):
        return False
    return seen.same or seen.counted


def _worse(threshold: Threshold) -> int:
    """1 when larger values are worse, -1 when smaller ones are, else 0."""
    signs = {one.op[0] for one in (threshold.degraded, threshold.failed) if one is not None}
    return {">": 1, "<": -1}.get(signs.pop(), 0) if len(signs) == 1 else 0

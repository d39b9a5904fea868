"""The tree of an expression by the precedence of its operators, and which of its parts are plain numbers."""

from __future__ import annotations

from typing import NamedTuple

from remediator.rules.promql_tree import (
    Constant,
    FunctionCall,
    Node,
    Operands,
    Operator,
    Past,
    Selector,
)

_PRECEDENCE = {"or": 0, "and": 1, "unless": 1, **dict.fromkeys(("==", "!=", "<=", ">=", "<", ">"), 2), "+": 3, "-": 3}
_TIGHT = 4
_SCALARS = frozenset({"time", "scalar", "pi"})


class Binary(NamedTuple):
    """A binary operator between two expressions."""

    left: Tree
    operator: Operator
    right: Tree


Tree = Node | Binary


def precedence(node: Tree) -> Tree:
    """The tree of operands by the precedence of their operators, the weakest at the top."""
    if not isinstance(node, Operands):
        return node
    ranks = [_PRECEDENCE.get(operator.sign, _TIGHT) for operator in node.operators]
    weakest = min(ranks)
    # Operators of one rank are taken from the left, so that the last of them is at the top.
    split = max(index for index, rank in enumerate(ranks) if rank == weakest)
    return Binary(_side(node, 0, split), node.operators[split], _side(node, split + 1, len(node.operators)))


def _side(node: Operands, first: int, last: int) -> Tree:
    parts = node.parts[first : last + 1]
    return precedence(parts[0] if len(parts) == 1 else Operands(parts, node.operators[first:last]))


def is_scalar(node: Tree) -> bool:
    """Whether an expression is a number instead of series."""
    match node:
        case Constant():
            return True
        case Selector(text):
            return text.lower() in ("inf", "nan")
        case FunctionCall(name=name):
            return name in _SCALARS
        case Binary(left, _, right):
            return is_scalar(left) and is_scalar(right)
        case Operands(parts=parts):
            return all(map(is_scalar, parts))
        case Past(of=inner):
            return is_scalar(inner)
    return False


def number(node: Tree) -> float | None:
    """The value of a constant, None for what is none or changes."""
    match node:
        case Constant(text) | Selector(text):
            try:
                return float(int(text, 16)) if text.lower().lstrip("-").startswith("0x") else float(text)
            except ValueError:
                return None
        case Binary(left, Operator(sign=sign), right):
            one, other = number(left), number(right)
            if one is None or other is None:
                return None
            try:
                return {"+": one + other, "-": one - other, "*": one * other, "/": one / other if other else None}.get(
                    sign
                )
            except OverflowError:
                return None
        case Operands():
            return number(precedence(node))
    return None

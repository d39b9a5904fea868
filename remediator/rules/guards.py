"""The guards that come with the package: conditions in PromQL that rule files refer to by name, as `guard(NAME)`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

import msgspec
import yaml

from remediator.rules.guard_logic import fill_in

_REFERENCE = re.compile(r"\bguard\(\s*([^\s()]*)\s*\)")


class Guard(msgspec.Struct, frozen=True):
    """A condition. `expr` is PromQL with templates of labels: 1 when it holds, 0 when it does not, without labels, and empty
    when what it rests on is not there. `text` says what it means."""

    name: str
    text: str
    expr: str


class UnknownGuardError(ValueError):
    """There is no guard of this name; `offset` is where it stands in the text, `remedy` what there is."""

    def __init__(self, name: str, offset: int) -> None:
        close = difflib.get_close_matches(name, guards(), n=1)
        self.offset = offset
        self.remedy = f"did you mean {close[0]}?" if close else f"there are {', '.join(guards())}"
        super().__init__(f"there is no guard {name!r}")


@cache
def guards() -> Mapping[str, Guard]:
    """The guards by name."""
    text = (resources.files("remediator.rules") / "guards.yml").read_text(encoding="utf-8")
    return {guard.name: guard for guard in msgspec.convert(yaml.safe_load(text), list[Guard])}


def with_guards(text: str, *, guard_empty: bool = True) -> str:
    """PromQL with every `guard(NAME)` replaced by what it stands for. UnknownGuardError when there is none.

    With `guard_empty` false, a guard or another part of the condition that is empty is false.
    """

    for found in _REFERENCE.finditer(text):
        if found[1] not in guards():
            raise UnknownGuardError(found[1], found.start(1))

    def expr(found: re.Match[str]) -> str:
        return guards()[found[1]].expr.strip()

    return fill_in(text, _REFERENCE, expr, guard_empty=guard_empty)

"""What an expression of a template may do with values: look into them and filter them, in a sandbox.

The filters are few, and the work of each is bounded by its input. How the result is written is for `escaping`.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote as percent_encode

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from remediator.template.escaping import RegexText, regex_quoted, shortened, text_of, write

RESULT_LIMIT = 65536
"""The most bytes that a whole template may render to."""


class LabelView:
    """Labels as templates see them. `labels.items` is the label `items`; a missing label is refused."""

    __slots__ = ("_labels",)

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels

    def get(self, name: object) -> str | None:
        """The label's value, or None."""
        return self._labels.get(name) if isinstance(name, str) else None

    def __contains__(self, name: object) -> bool:
        return name in self._labels


def _regex_escape(value: object) -> str:
    """The value as a regular expression that matches only this value."""
    return RegexText(regex_quoted(text_of(value)))


def _regex(value: object) -> str:
    """The value, marked as a regular expression, so that it is not escaped again."""
    return RegexText(text_of(value))


def _literal(value: object, *words: str) -> str:
    """The value. Refused if it is a glob pattern or one of `words`, since a command may read it as several things."""
    text = text_of(value)
    if text in words or any(sign in text for sign in "*?["):
        raise ValueError(f"{shortened(text)!r} may stand for more than one thing")
    return text


_PLAIN = re.compile(r"[A-Za-z0-9_.-]")


def _name(value: object, allowed: str = "", *words: str, parts: int = 1, empty: bool = False) -> str:
    """The value if it is one plain name: ASCII letters, digits, `_`, `.` and `-`, with `allowed` signs only in between.

    Anything else is refused, and so are `words`: the program behind may read it as several names, a pattern, an option
    or another name. With `parts` it is as many names with a `/` between each. With `empty` it may be no name at all.
    """
    text = text_of(value)
    if empty and not text:
        return text
    names = text.split("/") if parts > 1 else [text]
    if len(names) != parts:
        raise ValueError(f"{shortened(text)!r} is not {parts} names with a / in between")
    for name in names:
        if not name:
            raise ValueError("a name is empty")
        if name in words:
            raise ValueError(f"{name!r} may stand for more than one thing")
        if name.startswith("-"):
            raise ValueError(f"{shortened(text)!r} would be taken for an option")
        wrong = [sign for sign in name if not _PLAIN.fullmatch(sign) and sign not in allowed]
        wrong += [sign for sign in (name[0], name[-1]) if sign in allowed]
        wrong += [name[0]] if name[0] == "." else []
        if wrong:
            raise ValueError(f"{shortened(text)!r} is not one plain name, because of {wrong[0]!r}")
    return text


def _replace(value: object, old: str, new: str) -> str:
    text = text_of(value)
    if len(text) + (text.count(old) * len(new)) > RESULT_LIMIT:
        raise ValueError(f"replacing {old!r} makes it longer than {RESULT_LIMIT} characters")
    return text.replace(old, new)


def _split(value: object, separator: str) -> list[str]:
    return text_of(value).split(separator)


_NAMED_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


def _host(value: object) -> str:
    """The host of an address: of `host`, `host:port`, `[IPv6]:port` or a URL. Refused where it names none, or several."""
    text = text_of(value)
    authority = re.split(r"[/?#]", text.partition("://")[2] if "://" in text else text, maxsplit=1)[0]
    place = authority.rpartition("@")[2]
    bracketed = re.fullmatch(r"\[([^\[\]]*)\](?::[0-9]*)?", place)
    if bracketed or place.count(":") > 1:
        host = bracketed[1] if bracketed else place
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise ValueError(f"{shortened(text)!r} names no host") from None
    host, _, port = place.partition(":")
    if not _NAMED_HOST.fullmatch(host) or not re.fullmatch("[0-9]*", port, re.ASCII):
        raise ValueError(f"{shortened(text)!r} names no host")
    return host


def _round(value: float, digits: int = 0) -> float:
    return round(value, digits) if digits else round(value)


WRITE = "write"
FILTERS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "default": lambda value, instead: instead if isinstance(value, jinja2.Undefined) or value == "" else value,
    "first": lambda value: value[0],
    "float": float,
    "host": _host,
    "int": int,
    "last": lambda value: value[-1],
    "length": len,
    "literal": _literal,
    "lower": lambda value: text_of(value).lower(),
    "name": _name,
    "regex": _regex,
    "regex_escape": _regex_escape,
    "replace": _replace,
    "round": _round,
    "split": _split,
    "string": lambda value: text_of(value),
    "tojson": lambda value: json.dumps(value if isinstance(value, (int, float)) else text_of(value)),
    "trim": lambda value: text_of(value).strip(),
    "upper": lambda value: text_of(value).upper(),
    "urlencode": lambda value: percent_encode(text_of(value), safe=""),
}


class _Missing(jinja2.StrictUndefined):
    """An undefined value: every use fails with a sentence that names it."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            return f"there is no variable {self._undefined_name}"
        return f"it has no {self._undefined_name}"


class _Sandbox(SandboxedEnvironment):
    """Treats values as data: mappings are read by key, never by attribute, and only numbers are multiplied."""

    intercepted_binops = frozenset({"*", "%"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        return (
            self.getitem(obj, attribute) if isinstance(obj, (Mapping, LabelView)) else super().getattr(obj, attribute)
        )

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, LabelView):
            value = obj.get(argument)
            return self.undefined(f"there is no label {argument}", obj, argument) if value is None else value
        if isinstance(obj, Mapping):
            return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        # "x" * 10**9 and "%9999999999d" % 1 would use unbounded memory.
        if not all(isinstance(side, (int, float)) for side in (left, right)):
            raise TypeError(f"{operator} is for numbers only")
        return super().call_binop(context, operator, left, right)


def _sandbox() -> _Sandbox:
    # Jinja's own mark {# would make a comment of the shell's ${#name}.
    sandbox = _Sandbox(
        undefined=_Missing,
        comment_start_string="{##",
        comment_end_string="##}",
        keep_trailing_newline=True,
        cache_size=0,
    )
    sandbox.globals.clear()
    sandbox.filters.clear()
    sandbox.filters.update(FILTERS, **{WRITE: write})
    return sandbox


SANDBOX = _sandbox()

"""What templates do with values: looking into them, filtering them, and writing each as its place asks for.

Label values are hostile until proven otherwise: what is no safe text for its place is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote as percent_encode

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from remediator.errors import RefusedError
from remediator.template.context import Escaping

VALUE_LIMIT = 4096
"""The most bytes that one expression may substitute."""
RESULT_LIMIT = 65536
"""The most bytes that a whole template may render to."""


class LabelView:
    """Labels as templates see them: `labels.items` is the label named items, and a label that is missing is refused."""

    __slots__ = ("_labels",)

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels

    def get(self, name: object) -> str | None:
        """The label's value, or None."""
        return self._labels.get(name) if isinstance(name, str) else None

    def __contains__(self, name: object) -> bool:
        return name in self._labels


def shortened(text: str, limit: int = 80) -> str:
    """A text for a sentence: on one line, with its middle left out when it is long."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit // 2]} … {line[-limit // 2 :]}"


def _write(value: object, escaping: str, written: str) -> str:
    """The value of the expression `written`, as its place asks for. RefusedError when it is no safe text."""
    try:
        text = _text(value)
    except TypeError as error:
        raise RefusedError(f"cannot render {written}: {error}") from None
    if "\0" in text:
        raise RefusedError(f"cannot render {written}: its value contains a NUL byte")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise RefusedError(f"cannot render {written}: its value is not valid Unicode") from None
    if size > VALUE_LIMIT:
        raise RefusedError(f"cannot render {written}: its value has {size} bytes, more than {VALUE_LIMIT}")
    return _WRITERS[Escaping[escaping]](text, written)


def _text(value: object) -> str:
    if isinstance(value, _Regex):
        return value
    if isinstance(value, str):
        # A plain str, whatever subclass came in: Markup, for one, escapes what is done to it.
        return str.__str__(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, jinja2.Undefined):
        raise TypeError(value._undefined_message)
    raise TypeError(f"{'nothing' if value is None else type(value).__name__} is neither text nor a number")


def _as_it_is(text: str, written: str) -> str:
    return text


def _no_option(text: str, written: str) -> str:
    if text.startswith("-"):
        raise RefusedError(f"cannot render {written}: its value {shortened(text)!r} would be taken for an option")
    return text


def _shell_word(text: str, written: str) -> str:
    # Always quoted, even where shlex.quote would not: a bare word may be a keyword or an assignment.
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _shell_word_start(text: str, written: str) -> str:
    return _shell_word(_no_option(text, written), written)


def _promql(quote: str, text: str) -> str:
    """As the inside of a PromQL string (prometheus/prometheus `util/strutil/quote.go`: Go's escapes; only the string's
    own quote may be escaped)."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace(quote, "\\" + quote)


def _promql_regex(quote: str, text: str) -> str:
    return _promql(quote, text if isinstance(text, _Regex) else _regex_escape(text))


class _Regex(str):
    """A value that has been made a regular expression, so that it is not escaped again."""

    __slots__ = ()


def _regex_escape(value: object) -> str:
    """A value as a regular expression that matches just it (RE2's QuoteMeta)."""
    return _Regex(re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", _text(value)))


def _regex(value: object) -> str:
    """A value that the author means to be a regular expression."""
    return _Regex(_text(value))


def _host(text: str, written: str) -> str:
    return percent_encode(text, safe=":[]")


def _segment(text: str, written: str) -> str:
    if text in (".", ".."):
        raise RefusedError(f"cannot render {written}: its value {text!r} would lead to another path")
    return percent_encode(text, safe="")


_WRITERS: dict[Escaping, Callable[[str, str], str]] = {
    Escaping.TEXT: _as_it_is,
    Escaping.OPTION_FREE: _no_option,
    Escaping.WORD: _shell_word,
    Escaping.WORD_START: _shell_word_start,
    Escaping.DOUBLE: lambda text, _: _promql('"', text),
    Escaping.SINGLE: lambda text, _: _promql("'", text),
    Escaping.DOUBLE_REGEX: lambda text, _: _promql_regex('"', text),
    Escaping.SINGLE_REGEX: lambda text, _: _promql_regex("'", text),
    Escaping.HOST: _host,
    Escaping.SEGMENT: _segment,
}


# Filters: few, and each bounded by what it is given.


def _literal(value: object, *words: str) -> str:
    """The value, unless a command would take it for more than the one thing of that name: a pattern, or one of these
    words."""
    text = _text(value)
    if text in words or any(sign in text for sign in "*?["):
        raise ValueError(f"{shortened(text)!r} may stand for more than one thing")
    return text


def _replace(value: object, old: str, new: str) -> str:
    text = _text(value)
    if len(text) + (text.count(old) * len(new)) > RESULT_LIMIT:
        raise ValueError(f"replacing {old!r} makes it longer than {RESULT_LIMIT} characters")
    return text.replace(old, new)


def _split(value: object, separator: str) -> list[str]:
    return _text(value).split(separator)


def _round(value: float, digits: int = 0) -> float:
    return round(value, digits) if digits else round(value)


WRITE = "write"
FILTERS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "default": lambda value, instead: instead if isinstance(value, jinja2.Undefined) or value == "" else value,
    "first": lambda value: value[0],
    "float": float,
    "int": int,
    "last": lambda value: value[-1],
    "length": len,
    "literal": _literal,
    "lower": lambda value: _text(value).lower(),
    "regex": _regex,
    "regex_escape": _regex_escape,
    "replace": _replace,
    "round": _round,
    "split": _split,
    "string": lambda value: _text(value),
    "tojson": lambda value: json.dumps(value if isinstance(value, (int, float)) else _text(value)),
    "trim": lambda value: _text(value).strip(),
    "upper": lambda value: _text(value).upper(),
    "urlencode": lambda value: percent_encode(_text(value), safe=""),
}


class _Missing(jinja2.StrictUndefined):
    """Fails at any use, with a sentence about what is missing."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            return f"there is no variable {self._undefined_name}"
        return f"it has no {self._undefined_name}"


class _Sandbox(SandboxedEnvironment):
    """Values are data: mappings are looked into by key, never by attribute, and only numbers are multiplied."""

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
        # "x" * 10**9 and "%9999999999d" % 1 would ask for memory without bound.
        if not all(isinstance(side, (int, float)) for side in (left, right)):
            raise TypeError(f"{operator} is for numbers only")
        return super().call_binop(context, operator, left, right)


def _sandbox() -> _Sandbox:
    # Shell's ${#name} must not begin a comment, so comments have marks that nothing else uses.
    sandbox = _Sandbox(
        undefined=_Missing,
        comment_start_string="{##",
        comment_end_string="##}",
        keep_trailing_newline=True,
        cache_size=0,
    )
    sandbox.globals.clear()
    sandbox.filters.clear()
    sandbox.filters.update(FILTERS, **{WRITE: _write})
    return sandbox


SANDBOX = _sandbox()

"""Writers: each escapes a value for one kind of context, or refuses a value that cannot be written there safely.

Values come from outside and may be hostile. The contexts are in `context`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote as percent_encode

import jinja2

from remediator.errors import RefusedError
from remediator.template.context import Escaping

VALUE_LIMIT = 4096
"""Maximum size of one substituted value, in bytes."""


def shortened(text: str, limit: int = 80) -> str:
    """The text on one line, for use in a sentence. The middle of a long text is left out."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit // 2]} … {line[-limit // 2 :]}"


def write(value: object, escaping: str, written: str) -> str:
    """Escape the value of the expression `written`. RefusedError when the value is not safe text."""
    try:
        text = text_of(value)
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


def text_of(value: object) -> str:
    """The value as text. TypeError when it is neither text nor a number."""
    if isinstance(value, RegexText):
        return value
    if isinstance(value, str):
        # Subclasses of str may change what their methods do, as Markup does.
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
    # Unlike shlex.quote, quotes every value: a bare word may be a keyword or an assignment.
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _shell_word_start(text: str, written: str) -> str:
    return _shell_word(_no_option(text, written), written)


def _promql(quote: str, text: str) -> str:
    """Escape for the inside of a PromQL string. Only the string's own quote may be escaped there."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace(quote, "\\" + quote)


def _promql_regex(quote: str, text: str) -> str:
    return _promql(quote, text if isinstance(text, RegexText) else regex_quoted(text))


class RegexText(str):
    """A value that already is a regular expression and is not escaped again."""

    __slots__ = ()


def regex_quoted(text: str) -> str:
    """A regular expression that matches only this text, as RE2's QuoteMeta gives it."""
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", text)


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

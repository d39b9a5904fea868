"""Writes YAML: text from outside stays one scalar or one comment, on one line, whatever it contains. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill
from typing import Any

_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
"""Words that YAML does not read as text."""
_PLAIN = re.compile(r"[A-Za-z][\w./-]*|\d+(?:ms|[smhdw])", re.ASCII)
_DIRECTIVE = re.compile(r"remediator(?=:\s*allow):|yaml-language-server:")
"""What `remediator check` and editors read as a directive, wherever it is in a line or comment."""
_LONGEST_COMMENT = 200
_MOST_VALUES = 20_000
"""Maximum number of values in a block: aliases of YAML can make a small document very large."""


def scalar(value: object) -> str:
    """A value as YAML scalar: plain where YAML reads that as the same text, else quoted.

    Line breaks, control and bidi characters are escaped, so that the scalar is one line and shows what it contains.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, (int, float)):
        return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    if text.isprintable() and not _DIRECTIVE.search(text):
        return "'" + text.replace("'", "''") + "'"
    escaped = visible(text.replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{escaped}"'


def visible(text: str) -> str:
    """The text with everything escaped that is not printable, or that would be read as a directive."""
    text = "".join(char if char.isprintable() else _escape(char) for char in text)
    return _DIRECTIVE.sub(lambda found: found[0].replace(":", "\\x3a"), text)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def flow(value: Any) -> str:
    """A scalar, a mapping or a list on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(name)}: {flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def block(value: Mapping[str, Any], indent: int = 0) -> str:
    """A mapping over several lines. Lists of scalars are on one line. Raises ValueError when it is too large."""
    _count(value, [_MOST_VALUES])
    return "".join(f"{line}\n" for line in _lines(value, indent))


def _count(value: Any, budget: list[int]) -> None:
    budget[0] -= 1
    if budget[0] < 0:
        raise ValueError("this is too large")
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        _count(item, budget)


def _lines(value: Mapping[str, Any], indent: int) -> Iterator[str]:
    pad = " " * indent
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield f"{pad}{scalar(name)}:"
            yield from _lines(item, indent + 2)
        elif isinstance(item, list) and any(isinstance(one, Mapping) for one in item):
            yield f"{pad}{scalar(name)}:"
            for one in item:
                yield from _item(one, indent + 2)
        else:
            yield f"{pad}{scalar(name)}: {flow(item)}"


def _item(item: Any, indent: int) -> Iterator[str]:
    pad = " " * indent
    if not isinstance(item, Mapping) or not item:
        yield f"{pad}- {flow(item)}"
        return
    first, *rest = _lines(item, indent + 2)
    yield f"{pad}- {first[indent + 2 :]}"
    yield from rest


def comment(text: str, indent: int = 0) -> str:
    """A comment of its own line or lines. The text is made visible, and cut when it is very long."""
    pad = " " * indent + "# "
    lines = fill(visible(text), 118, initial_indent=pad, subsequent_indent=pad, break_on_hyphens=False)
    return f"{lines or pad}\n"


def commented(text: str) -> str:
    """YAML that this module wrote, as comments."""
    return "".join(f"#   {line}\n" for line in text.splitlines())


def quotation(text: str) -> str:
    """A name from outside within a sentence of a comment: visible, and cut when it is very long."""
    return visible(text if len(text) <= _LONGEST_COMMENT else f"{text[:_LONGEST_COMMENT]}…")

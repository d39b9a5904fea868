"""Alertmanager's matchers: `name="v"`, `!=`, `=~`, `!~`; regexes anchored; an absent label equals the empty string.

The syntax is that of Alertmanager's UTF-8 matchers parser: the value may be quoted or bare, the name quoted when it is
not a plain label name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from remediator.model.regex import RegexError, compile_regex

Labels = Mapping[str, str]

_MATCHER = re.compile(
    r"""\s*(?P<name>"(?:[^"\\\n]|\\.)*"|[^\s{}!=~,\\"'`]+)
        \s*(?P<op>=~|!~|!=|=)
        \s*(?P<value>"(?:[^"\\\n]|\\.)*"|[^\s{}!=~,\\"'`]*)\s*""",
    re.VERBOSE,
)
_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


class MatcherError(ValueError):
    """A matcher's regular expression is refused. `offset` is the character of the matcher at fault, if it is known."""

    def __init__(self, message: str, offset: int | None) -> None:
        self.offset = offset
        super().__init__(message)


class Matcher(msgspec.Struct, frozen=True):
    """One condition on a label. `op` is one of `=`, `!=`, `=~`, `!~`."""

    name: str
    op: str
    value: str

    def matches(self, labels: Labels) -> bool:
        """Whether these labels fulfil the condition."""
        actual = labels.get(self.name, "")
        if self.op == "=":
            return actual == self.value
        if self.op == "!=":
            return actual != self.value
        try:
            return compile_regex(self.value)(actual) == (self.op == "=~")
        except RegexError:
            # Rule files have none of these, but silences and stored pauses may: in doubt they hold.
            return True

    def __str__(self) -> str:
        """The matcher as it is written: `parse_matcher` reads it back."""
        name = self.name if _PLAIN_NAME.fullmatch(self.name) else _quote(self.name)
        return f"{name}{self.op}{_quote(self.value)}"


def parse_matcher(text: str) -> Matcher:
    """Parse a matcher. ValueError with a sentence when the text is none."""
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise ValueError(f'{text!r} is not a matcher such as tier="web" or namespace=~"shop|search"')
    name, op, value = _unquote(found["name"]), found["op"], _unquote(found["value"])
    if not name:
        raise ValueError(f"{text!r} has no label name")
    if op in ("=~", "!~"):
        try:
            compile_regex(value)
        except RegexError as error:
            raise MatcherError(str(error), _offset(text, found.start("value"), error.offset)) from None
    return Matcher(name, op, value)


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Matchers separated by commas, with or without braces: `{tier="web", team!="db"}`; may be empty."""
    inner = text.strip()
    if inner.startswith("{") != inner.endswith("}"):
        raise ValueError(f"{text!r} has a brace without its partner")
    inner = inner.removeprefix("{").removesuffix("}")
    matchers, at = [], 0
    while at < len(inner) and inner[at:].strip():
        found = _MATCHER.match(inner, at)
        if found is None or (found.end() < len(inner) and inner[found.end()] != ","):
            raise ValueError(f'cannot read matchers at {inner[at:]!r}: write them as tier="web", team!="db"')
        matchers.append(parse_matcher(found.group()))
        at = found.end() + 1
    return tuple(matchers)


def matches_all(matchers: Iterable[Matcher], labels: Labels) -> bool:
    """Whether every matcher holds. An empty list matches everything."""
    return all(matcher.matches(labels) for matcher in matchers)


def _offset(text: str, start: int, offset: int | None) -> int | None:
    """The character of a matcher at which its regular expression has the character at `offset`."""
    if offset is None or text[start] != '"':
        return None if offset is None else start + offset
    at = start + 1
    for _ in range(offset):
        at += 2 if text[at] == "\\" and text[at + 1] in _ESCAPES else 1
    return at


def _unquote(text: str) -> str:
    if not text.startswith('"'):
        return text
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[0]), text[1:-1])


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

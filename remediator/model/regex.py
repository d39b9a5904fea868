"""Regular expressions in the language of Prometheus and Alertmanager (RE2), matched against a whole text.

RE2 takes time linear in the text, whatever the pattern. Patterns that list literals, or that only say how a text begins
or ends, are compared without RE2: most matchers are of this kind, and are asked for thousands of services.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import re2

from remediator.errors import RefusedError

_LARGEST = 20_000
"""Maximum size of a compiled pattern, in instructions of RE2. Each may cost a step for every byte of the text."""

_MOST_STEPS = 16_000_000
"""Maximum product of a compiled pattern's size and the bytes of a text: a sixth of a second, at the worst."""

_LITERAL = r"(?:[^\\.+*?()|\[\]{}^$]|\\[!-/:-@\[-`{-~ ])*"
_ALTERNATIVES = re.compile(rf"\^?(?P<group>\((?:\?:)?)?(?P<list>{_LITERAL}(?:\|{_LITERAL})*)(?(group)\))\$?")
_AFFIXED = re.compile(rf"\^?(?P<before>\.[*+])?(?P<text>{_LITERAL})(?P<after>\.[*+])?\$?")
_CHARACTER = re.compile(r"\\.|.", re.DOTALL)
_ONE_BYTE = re.compile(r"\\Q.*?(?:\\E|\Z)|(\\C)|\\.", re.DOTALL)
"""Finds `\\C`, one byte to RE2. Prometheus and Alertmanager, which use Go's RE2, have none."""

Regex = Callable[[str], bool]
"""Whether a pattern matches the whole of a text."""


class RegexError(ValueError):
    """RE2 refuses a pattern. `offset` is the character of the pattern at fault, None when it is the whole."""

    def __init__(self, message: str, offset: int | None) -> None:
        self.offset = offset
        super().__init__(message)


class RegexCostError(RefusedError):
    """A text is too long for a pattern so large."""


@lru_cache(maxsize=4096)
def compile_regex(pattern: str) -> Regex:
    """Compile a pattern. RegexError, with a sentence, when RE2 refuses it. What it returns raises RegexCostError for a
    text that would take too long."""
    if found := _ALTERNATIVES.fullmatch(pattern):
        return frozenset(_literals(found["list"])).__contains__
    if found := _AFFIXED.fullmatch(pattern):
        return _affixed(found["before"] or "", _literals(found["text"])[0], found["after"] or "")
    return _compiled(pattern)


def _literals(text: str) -> list[str]:
    """The alternatives of a pattern that has only literals."""
    found = [""]
    for character in _CHARACTER.findall(text):
        if character == "|":
            found.append("")
        else:
            found[-1] += character[-1]
    return found


def _affixed(before: str, text: str, after: str) -> Regex:
    """A literal with `.*` or `.+` before it, after it, or both; any character is a `.`."""
    start, end = before.count("+"), after.count("+")
    least = start + len(text) + end
    if not after:
        return lambda value: len(value) >= least and value.endswith(text)
    if not before:
        return lambda value: len(value) >= least and value.startswith(text)
    return lambda value: len(value) >= least and value.find(text, start, len(value) - end) >= 0


def _compiled(pattern: str) -> Regex:
    if any(found[1] for found in _ONE_BYTE.finditer(pattern)):
        raise _refused(pattern, "invalid escape sequence", r"\C")
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.dot_nl = True
    try:
        compiled = re2.compile(_encoded(pattern), options)._regexp
    except re2.error as error:
        reason, _, fragment = error.args[0].decode(errors="replace").partition(": ")
        raise _refused(pattern, reason, fragment) from None
    size = compiled.ProgramSize()
    if size > _LARGEST:
        raise _refused(pattern, "it is too large", "")
    match, whole = compiled.Match, re2._Anchor.ANCHOR_BOTH

    def matches(value: str) -> bool:
        encoded = _encoded(value)
        if size * len(encoded) > _MOST_STEPS:
            raise RegexCostError(
                f"cannot match a text of {len(encoded)} bytes against {pattern[:80]!r}: it would take too long"
            )
        return bool(match(whole, encoded, 0, len(encoded))[0] != (-1, -1))

    return matches


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # A half of a surrogate pair is no character. Go reads it as U+FFFD.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _refused(pattern: str, reason: str, fragment: str) -> RegexError:
    shown = f": {fragment}" if fragment and fragment != pattern else ""
    reason = reason.replace("invalid perl operator", "RE2 has no such operator")
    at = pattern.find(fragment) if fragment else -1
    return RegexError(f"{pattern!r} is not a regular expression: {reason}{shown}", at if at >= 0 else None)

"""The words of a PromQL expression, and what they alone say: the times it looks at, and the label names it quotes."""

from __future__ import annotations

import re

_WORD = re.compile(
    r"""(?P<blank>(?:\s|\#[^\n]*)+)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
      | (?P<range>\[[^\]]*\])
      | (?P<number>(?:\d[\w.]*(?:(?<=[eE])[-+]\d+)?)|\.\d\w*)
      | (?P<name>[a-zA-Z_:][\w:]*)
      | (?P<mark>==|!=|<=|>=|=~|!~|[-+*/%^<>=(){},@])""",
    re.VERBOSE,
)


def words(expr: str) -> list[tuple[str, str]] | None:
    """The words of an expression without blanks and comments: the kind of each and its text. None when the text is not
    understood."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(expr):
        word = _WORD.match(expr, at)
        if word is None:
            return None
        at = word.end()
        if word.lastgroup != "blank":
            found.append((word.lastgroup or "", word[0]))
    return found


def placed_words(expr: str) -> list[tuple[str, str, int]] | None:
    """The same, each with where it begins in the expression."""
    found = words(expr)
    if found is None:
        return None
    placed, at = [], 0
    for kind, word in found:
        at = expr.index(word, at)
        placed.append((kind, word, at))
        at += len(word)
    return placed


def offset_of(expr: str, index: int) -> int | None:
    """Where the word of this index begins in an expression; None when there is no such word."""
    found, at = words(expr) or [], 0
    for number, (_, word) in enumerate(found):
        at = expr.index(word, at)
        if number == index:
            return at
        at += len(word)
    return None


def written_label(name: str) -> str:
    """A label name as it is written in PromQL: in quotes when it is no plain one, as Prometheus 3 takes it."""
    if re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name, re.ASCII):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def unquoted_label(word: str) -> str | None:
    """The label name that a quoted word is. None when it has escapes that are not understood."""
    inner = word[1:-1]
    if word[0] == "`":
        return inner
    parts = re.split(r"\\(.)", inner)
    if any(escape not in ('"', "'", "\\") for escape in parts[1::2]):
        return None
    return "".join(parts)


_GROUPINGS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})


def without_quoted_names(expr: str) -> str:
    """The expression with plain names of the same length instead of those that are quoted, which Prometheus before 3
    does not take. The meaning is lost; whether it is PromQL, and where it is not, stays the same."""
    found = words(expr)
    if found is None:
        return expr
    at, before, grouping, braces, text = 0, "", False, False, expr
    for index, (kind, word) in enumerate(found):
        at = expr.index(word, at)
        following = found[index + 1][1] if index + 1 < len(found) else ""
        if word == "(":
            grouping = before.lower() in _GROUPINGS
        elif word == "{":
            braces = True
        elif word in (")", "}"):
            grouping = braces = False
        elif (kind == "string" and grouping) or (kind == "string" and braces and following in ("=", "!=", "=~", "!~")):
            text = text[:at] + "x" * len(word) + text[at + len(word) :]
        elif kind == "string" and braces and before in ("{", ",") and len(word) > 3:
            text = text[:at] + 'x="' + "x" * (len(word) - 4) + '"' + text[at + len(word) :]
        at += len(word)
        before = word
    return text


def ahead(expr: str, since: float) -> str | None:
    """The modifier that makes an expression look ahead, or at the bounds of the query (`@ end()`).

    The expression is evaluated over a time from `since` on, in seconds since the epoch. None when there is no such
    modifier, or the text is not understood.
    """
    found = [("", ""), *(words(expr) or []), ("", ""), ("", "")]
    for before, (kind, word), (next_kind, following), after in zip(
        found, found[1:], found[2:], found[3:], strict=False
    ):
        if (kind, word) == ("mark", "@"):
            if following.lower() in ("start", "end"):
                return f"@ {following.lower()}()"
            if next_kind == "number" and _number(following) > since:
                return f"@ {following}"
        # A metric may be named so.
        modifies = word.lower() == "offset" and (before[0] in ("name", "range") or before[1] in (")", "}"))
        if kind == "name" and modifies and following == "-" and after[0] == "number":
            return f"offset -{after[1]}"
    return None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0

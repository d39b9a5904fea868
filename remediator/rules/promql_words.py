"""The words of a PromQL expression, and what they alone tell of the times it looks at."""

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
    """The words of an expression, without blanks and comments: of what kind each is, and its text. None when the text is not
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


def ahead(expr: str, since: float) -> str | None:
    """The modifier by which an expression that is evaluated over a time from `since` on, in seconds since the epoch, looks at
    a time that was still to come, or at the bounds of the query: `@ end()`. None when there is none, or the text is not
    understood."""
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

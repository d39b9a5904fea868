"""Patterns of stories and rule tests: calls and sentences on one line, compared with a text in which `*` is anything.

Pure functions.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from remediator.model.action import Call


def one_line(text: str) -> str:
    """The text with every run of whitespace as one space."""
    return " ".join(text.split())


def typed(call: Call) -> str:
    """The call as one would type it: a command line, the text of a shell command, or a request."""
    shell = len(call.argv) == 3 and call.argv[:2] == ("sh", "-c")
    return one_line(call.argv[2] if shell else str(call))


def fits(pattern: str, *texts: str) -> bool:
    """Whether one of the texts matches the pattern. `*` stands for anything, and a run of whitespace is one space."""
    # fnmatch has further special characters, which commands often contain.
    plain = one_line(pattern).replace("[", "[[]").replace("?", "[?]")
    return any(fnmatchcase(one_line(text), plain) for text in texts)

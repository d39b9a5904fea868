"""Patterns of stories and rule tests: calls and sentences on one line, compared with a text in which `*` is anything.

Pure functions.
"""

from __future__ import annotations

import shlex
from fnmatch import fnmatchcase

from remediator.model.action import Call


def one_line(text: str) -> str:
    """The text with every run of whitespace as one space."""
    return " ".join(text.split())


def typed(call: Call) -> str:
    """The call as one would type it: a command line, the text of a shell command, or a request."""
    return one_line(str(call))


def fits_call(pattern: str, call: Call) -> bool:
    """Whether a call matches the pattern, as one would type it, or as a list of arguments that are quoted for a shell."""
    return fits(pattern, typed(call), shlex.join(call.argv) if call.argv else str(call))


def fits(pattern: str, *texts: str) -> bool:
    """Whether one of the texts matches the pattern. `*` stands for anything, and a run of whitespace is one space."""
    # fnmatch has further special characters, which commands often contain.
    plain = one_line(pattern).replace("[", "[[]").replace("?", "[?]")
    return any(fnmatchcase(one_line(text), plain) for text in texts)

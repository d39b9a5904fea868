"""Texts in stories and tests: what was run or said, on one line, and whether it is what was written down. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase

from remediator.model.action import Call


def one_line(text: str) -> str:
    """A text with every stretch of blanks and line ends as one blank."""
    return " ".join(text.split())


def typed(call: Call) -> str:
    """A call as one would type it: a command line, the text of a shell command, or a request."""
    shell = len(call.argv) == 3 and call.argv[:2] == ("sh", "-c")
    return one_line(call.argv[2] if shell else str(call))


def fits(pattern: str, *texts: str) -> bool:
    """Whether one of the texts is the pattern, in which `*` stands for anything and blanks count as one."""
    # fnmatch knows more signs than this one, and commands are full of them.
    plain = one_line(pattern).replace("[", "[[]").replace("?", "[?]")
    return any(fnmatchcase(one_line(text), plain) for text in texts)

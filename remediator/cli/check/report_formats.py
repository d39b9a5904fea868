"""Problems in formats of other programs: GitHub's annotations and checkstyle's XML."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from xml.sax.saxutils import quoteattr

from remediator.problem import Problem


def github(problems: Sequence[Problem]) -> str:
    """Workflow commands, which GitHub shows beside the lines (docs.github.com, Workflow commands)."""
    return "\n".join(
        f"::{problem.severity} file={_property(problem.position.file)},line={problem.position.line},"
        f"col={problem.position.column},title={_property(problem.check)}::{_data(_whole(problem))}"
        for problem in problems
    )


def checkstyle(problems: Sequence[Problem]) -> str:
    """The XML of checkstyle, which most CI servers read."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<checkstyle version="4.3">']
    for file, found in groupby(problems, lambda problem: problem.position.file):
        lines.append(f"  <file name={quoteattr(file)}>")
        lines += [
            f'    <error line="{problem.position.line}" column="{problem.position.column}" severity="{problem.severity}"'
            f" message={quoteattr(_whole(problem))} source={quoteattr(f'remediator.{problem.check}')}/>"
            for problem in found
        ]
        lines.append("  </file>")
    return "\n".join([*lines, "</checkstyle>"])


def _whole(problem: Problem) -> str:
    return f"{problem.message}: {problem.remedy}" if problem.remedy else problem.message


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

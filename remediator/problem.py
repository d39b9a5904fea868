"""A problem in a file a person wrote: where it is, what is wrong, which check found it, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a problem is: an error keeps the file from being loaded, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file: `line` and `column` count from 1, `source` is that line's text."""

    file: str
    line: int
    column: int
    source: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: `check` is its documented name (kebab-case), `remedy` what the author can do about it."""

    position: Position
    check: str
    message: str
    remedy: str = ""
    severity: Severity = Severity.ERROR

    def render(self) -> str:
        """Text for people: position and message, the source line with a caret, then the remedy."""
        lines = [f"{self.position}: {self.severity}: {self.message} [{self.check}]"]
        source = self.position.source
        if source.strip():
            # Tabs stay tabs in front of the caret, so that it lands under its column whatever a tab's width.
            pad = "".join("\t" if char == "\t" else " " for char in source[: self.position.column - 1])
            lines += [f"    {source}", f"    {pad}^"]
        if self.remedy:
            lines.append(f"    {self.remedy}")
        return "\n".join(lines)

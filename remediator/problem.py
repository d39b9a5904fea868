"""A problem in a file that a person wrote: its position, what is wrong, the name of the check, and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """The severity of a problem. An error keeps the file from being loaded, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file. `line` and `column` count from 1, `source` is the text of the line."""

    file: str
    line: int
    column: int
    source: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `check` is its documented name in kebab-case, `remedy` what the author can do about it."""

    position: Position
    check: str
    message: str
    remedy: str = ""
    severity: Severity = Severity.ERROR

    def render(self) -> str:
        """The text for people: position and message, the source line with a caret, then the remedy."""
        lines = [f"{self.position}: {self.severity}: {self.message} [{self.check}]"]
        source = self.position.source
        if source.strip():
            # Tabs stay tabs in front of the caret, so that it stands under its column at any tab width.
            pad = "".join("\t" if char == "\t" else " " for char in source[: self.position.column - 1])
            lines += [f"    {source}", f"    {pad}^"]
        if self.remedy:
            lines.append(f"    {self.remedy}")
        return "\n".join(lines)

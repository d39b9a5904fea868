"""YAML text to nodes with marks, or the one place where it is no YAML. Bounds the nesting; knows no values."""

from __future__ import annotations

import re

import yaml

MAX_DEPTH = 32
LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
PLAIN = "plain"
"""The tag of an unquoted scalar: its meaning depends on what is expected where it stands."""
TEXT_TAG = "tag:yaml.org,2002:str"
_OTHER = "other"


class NotYaml(Exception):
    """The text cannot be read. `line` and `column` count from 0."""

    def __init__(self, line: int, column: int, message: str, remedy: str = "", check: str = "yaml-syntax") -> None:
        self.line = line
        self.column = column
        self.remedy = remedy
        self.check = check
        super().__init__(message)


class _Loader(yaml.CSafeLoader):
    """Composes nodes. Bounds the nesting: the composer of libyaml recurses, and crashes the process when it is deep."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        return PLAIN if kind is yaml.ScalarNode and implicit[0] else _OTHER

    def descend_resolver(self, parent: yaml.Node, index: object) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _TooDeep(parent.start_mark)

    def ascend_resolver(self) -> None:
        self._depth -= 1


class _TooDeep(Exception):
    def __init__(self, mark: yaml.Mark) -> None:
        self.mark = mark
        super().__init__()


def compose(text: str) -> yaml.Node | None:
    """The root node; None for a text without one. NotYaml when it cannot be read."""
    try:
        loader = _Loader(text)
        try:
            node: yaml.Node | None = loader.get_single_node()
        finally:
            loader.dispose()
    except _TooDeep as error:
        mark = error.mark
        raise NotYaml(mark.line, mark.column, "values are nested too deeply here", check="too-deep") from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(text, error) from None
    except yaml.reader.ReaderError as error:
        raise _bad_character(text, error.position, str(error.reason)) from None
    except UnicodeEncodeError as error:
        raise _bad_character(text, error.start, "it is half of a pair") from None
    except yaml.YAMLError as error:
        raise NotYaml(0, 0, str(error)) from None
    return node


def _bad_character(text: str, offset: int, reason: str) -> NotYaml:
    lines = LINE_BREAK.split(text[:offset])
    return NotYaml(len(lines) - 1, len(lines[-1]), f"this character is not allowed in YAML: {reason}")


def _syntax_error(text: str, error: yaml.MarkedYAMLError) -> NotYaml:
    lines = LINE_BREAK.split(text)
    mark, context = error.problem_mark or error.context_mark, error.context_mark
    message = error.problem or "this is not YAML"
    if error.context and context and mark:
        # What has no end is wrong where it begins.
        mark = context if "end of stream" in message else mark
        begun = f" that begins on line {context.line + 1}" if context.line != mark.line else ""
        message = f"{error.context}{begun}: {message}"
    line, column = (min(mark.line, len(lines) - 1), mark.column) if mark else (0, 0)
    return NotYaml(line, column, f"cannot read the YAML: {message}", _syntax_remedy(lines[line], message))


def _syntax_remedy(line: str, message: str) -> str:
    if re.search(r":\s+[>|][=\s]*[-+.\d]", line):
        return "put the comparison in quotes: '> 0.10'"
    if "{{" in line:
        return "put a text with {{ }} in quotes"
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces: YAML allows no tabs there"
    if re.search(r":\s+[@`%&*!]", line):
        return "put a text that begins with this character in quotes"
    if "mapping values" in message:
        return "put a text with a colon in quotes"
    if "another document" in message:
        return "write each document to a file of its own"
    return ""

"""One file as it is read: its nodes, positions in its text, and the problems found in it.

`schema` says what may stand in a document. Nothing here knows of rules or config.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from remediator.config.yaml_nodes import LINE_BREAK, MAX_DEPTH, NotYaml, compose
from remediator.problem import Position, Problem, Severity

CHECKS = {
    "unreadable-file": "the file cannot be read, is too large, or is not UTF-8",
    "yaml-syntax": "the text is not YAML, or uses what is not supported here: tags, merge keys, several documents",
    "too-deep": "values are nested too deeply",
    "too-many-values": "aliases make more values of the file than it has characters",
    "duplicate-key": "a key stands twice in the same mapping",
    "unknown-key": "a key that means nothing here",
    "missing-key": "a key that has to be given is missing",
    "wrong-type": "a value of another kind than the one expected",
    "unquoted-text": "an unquoted word that YAML reads as something else than text: no, on, 12:30, ~",
    "bad-value": "a text, number or word outside of what is allowed",
    "contradiction": "settings that cannot be meant together",
    "one-action": "not exactly one action where one belongs",
    "one-target": "not exactly one target where one belongs",
    "empty-command": "a command without a program",
    "label-conflict": "a service's label contradicts its name",
    "unknown-extends": "a file that is extended does not exist",
    "unknown-override": "an override names a rule that the extended files do not have",
    "empty-pattern": "a pattern of rule files that fits no file",
    "bad-duration": "not a duration such as 30s, 5m or 1h30m",
    "bad-matcher": 'not a matcher such as tier="web"',
    "bad-comparison": "not a comparison with a number such as '> 0.10'",
    "unknown-guard": "there is no guard of this name",
    "bad-template": "a template that cannot be compiled, or that would not be safe where it stands",
}
"""The problems of reading, by name. Those of rules as a whole are in `rules.checks`."""

MAX_BYTES = 16 * 1024 * 1024
_LONGEST_LINE = 400
_ESCAPE_DIGITS = {"x": 2, "u": 4, "U": 8}

Path_ = tuple[str | int, ...]
"""The place of a value in a document: keys and indexes from its top."""

_GUARDED = r"pas+\w*|pwd|cred\w*|\w*token|\w*secret|api_?key"
_SECRET = re.compile(
    rf"""((?:\b(?:{_GUARDED}|auth\w*)(?<!_file)["']?\s*:\s*|://[^/\s:@]*:(?=[^/\s]*@)))(\S.*)""", re.IGNORECASE
)
_SECRET_KEY = re.compile(rf"""\s*["']?(?:{_GUARDED})(?<!_file)["']?\s*:\s*(?:[|>][-+\d]*\s*)?$""", re.IGNORECASE)
"""The values of such keys, misspelt ones included, are never shown. Nor are passwords in addresses."""


_ALLOW = re.compile(r"#.*?\bremediator:\s*allow\s+([\w, -]+)")


class Document:
    """One file: its nodes, the positions of its values, and the problems found so far.

    Reading never raises for the content of a file: problems are collected in `problems`. `root` is None when there is
    nothing to read.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._lines = LINE_BREAK.split(text)
        # Without aliases no file has more values than characters; with them it may have endlessly many.
        self._budget = len(text) + 10_000
        self._indexes: dict[int, tuple[tuple[object, ...], list[int]]] = {}
        self.root: yaml.Node | None = None
        try:
            self.root = compose(text)
        except NotYaml as error:
            self.problems.append(Problem(self.at(error.line, error.column), error.check, str(error), error.remedy))

    def report(
        self,
        where: yaml.Node | Path_,
        check: str,
        message: str,
        remedy: str = "",
        *,
        offset: int | None = None,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Note a problem at a node or a path; `offset` is a character of the scalar there."""
        place = self.place(where, offset) if isinstance(where, yaml.Node) else self.position(*where, offset=offset)
        self.problems.append(Problem(place, check, message, remedy, severity))

    def allows(self, problem: Problem) -> bool:
        """Whether a comment allows the problem: `# remediator: allow NAME`, on its line or in the comment lines above."""
        line = problem.position.line - 1
        first = line
        while first > 0 and self._lines[first - 1].lstrip().startswith("#"):
            first -= 1
        return any(problem.check == name for row in range(first, line + 1) for name, _ in self._allowed(row))

    def tells(self, problem: Problem) -> bool:
        """Whether to report a problem: an error always, a warning unless a comment allows it."""
        return problem.severity is Severity.ERROR or not self.allows(problem)

    def allowances(self) -> Iterator[tuple[str, Position]]:
        """Every name that a comment allows, with its place.

        Prose may follow a name, so only words with a hyphen count as further names: those of checks have one.
        """
        for row in range(len(self._lines)):
            for name, column in self._allowed(row):
                yield name, self.at(row, column)

    def _allowed(self, row: int) -> Iterator[tuple[str, int]]:
        """The names that the comment on a line allows, each with its column."""
        for found in _ALLOW.finditer(self._lines[row]):
            for index, word in enumerate(re.finditer(r"[^\s,]+", found[1])):
                if index == 0 or "-" in word[0].strip("-"):
                    yield word[0], found.start(1) + word.start()

    def sorted_problems(self) -> list[Problem]:
        """The problems in the order of the lines."""
        return sorted(self.problems, key=lambda problem: (problem.position.line, problem.position.column))

    def spend(self, node: yaml.Node, depth: int) -> bool:
        """Count one more value. False when there are too many; the problem is noted once."""
        self._budget -= 1
        if self._budget >= 0 and depth <= MAX_DEPTH:
            return True
        if depth > MAX_DEPTH:
            self.report(node, "too-deep", "values are nested too deeply here", "an alias may contain itself")
        elif self._budget == -1:
            self.report(
                node, "too-many-values", "aliases make too many values of this file", "use fewer aliases of aliases"
            )
        return False

    def place(self, node: yaml.Node, offset: int | None = None) -> Position:
        """The position of a node, or of a character of its text."""
        line, column = node.start_mark.line, node.start_mark.column
        if offset is not None and isinstance(node, yaml.ScalarNode):
            line, column = self._inside(node, offset)
        return self.at(line, column)

    def position(self, *path: str | int, offset: int | None = None, key: bool = False) -> Position:
        """The position of the value at a path, or of its key. If there is none, that of the nearest value around it."""
        node, key_node = self._find(path)
        if node is None:
            return self.at(0, 0)
        return self.place(key_node if key and key_node is not None else node, offset)

    def whole(self, *path: str | int) -> bool:
        """Whether no error has been found within the value at a path."""
        if not self.problems:
            return True
        node, _ = self._find(path)
        if node is None:
            return True
        return not self.has_problem_within(node)

    def has_problem_within(self, node: yaml.Node) -> bool:
        """Whether an error has been found within a node."""
        start = (node.start_mark.line + 1, node.start_mark.column + 1)
        end = (node.end_mark.line + 1, node.end_mark.column + 1)
        places = ((p.position.line, p.position.column) for p in self.problems if p.severity is Severity.ERROR)
        return any(start <= place <= end for place in places)

    def keys(self) -> set[str]:
        """The keys at the top of the file."""
        pairs = self.root.value if isinstance(self.root, yaml.MappingNode) else ()
        return {key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode)}

    def without(self, bad: object, values: list[object]) -> tuple[object, ...]:
        """The items of a list that could be read. Their indexes are kept for `indexes`."""
        kept = [index for index, value in enumerate(values) if value is not bad]
        if len(kept) == len(values):
            return tuple(values)
        left = tuple(values[index] for index in kept)
        self._indexes[id(left)] = (left, kept)
        return left

    def has(self, *path: str | int) -> bool:
        """Whether there is a value at exactly this path."""
        node = self.root
        for part in path:
            match node, part:
                case yaml.MappingNode(), str():
                    node = next((value for key, value in node.value if key.value == part), None)
                case yaml.SequenceNode(), int() if 0 <= part < len(node.value):
                    node = node.value[part]
                case _:
                    return False
        return node is not None

    def left_out(self, values: tuple[object, ...]) -> bool:
        """Whether a list of this file was read into these values without some of its items."""
        return id(values) in self._indexes

    def indexes(self, values: tuple[object, ...]) -> Iterable[int]:
        """The index in the file's list of each value that was read from it."""
        return self._indexes[id(values)][1] if id(values) in self._indexes else range(len(values))

    def text_at(self, node: yaml.Node) -> str:
        """The rest of the line on which a node begins, from there."""
        mark = node.start_mark
        return self._lines[mark.line][mark.column :] if mark.line < len(self._lines) else ""

    def at(self, line: int, column: int) -> Position:
        """The position of a line and column that count from 0. Secrets are left out of the line's text."""
        line = min(line, len(self._lines) - 1)
        source = self._lines[line]
        if len(source) > _LONGEST_LINE:
            source = ""
        if not source.isprintable():
            source = "".join(char if char == "\t" or char.isprintable() else "\ufffd" for char in source)
        source = _SECRET.sub(lambda found: found[1] + "*" * len(found[2]), source)
        if self._in_secret(line):
            source = re.sub(r"\S", "*", source)
        return Position(self.file, line + 1, column + 1, source)

    def _in_secret(self, line: int) -> bool:
        """Whether a line belongs to a value that begins below a secret's key."""
        indent = _indent(self._lines[line])
        for above in reversed(self._lines[max(line - 50, 0) : line]):
            if above.strip() and _indent(above) < indent:
                indent = _indent(above)
                if _SECRET_KEY.match(above):
                    return True
        return False

    def inner(self, node: yaml.Node, path: Path_) -> yaml.Node:
        """The node at a path within a node; the nearest around it when there is none."""
        return self._find(path, node)[0] or node

    def _find(
        self, path: Iterable[str | int], start: yaml.Node | None = None
    ) -> tuple[yaml.Node | None, yaml.Node | None]:
        node, key_node = start or self.root, None
        for part in path:
            match node, part:
                case yaml.MappingNode(), str():
                    pairs = [(key, value) for key, value in node.value if key.value == part]
                    if not pairs:
                        return node, None
                    key_node, node = pairs[0]
                case yaml.SequenceNode(), int() if part < len(node.value):
                    key_node, node = None, node.value[part]
                case _:
                    return node, None
        return node, key_node

    def _inside(self, node: yaml.ScalarNode, offset: int) -> tuple[int, int]:
        """Line and column of a character of a scalar, found by counting the characters before it that are not blank."""
        before = sum(not char.isspace() for char in node.value[:offset])
        places = itertools.islice(self._ink(node), before, None)
        return next(places, (node.start_mark.line, node.start_mark.column))

    def _ink(self, node: yaml.ScalarNode) -> Iterator[tuple[int, int]]:
        """The places of a scalar's characters that are not blank. Folding does not change these."""
        line, column = node.start_mark.line, node.start_mark.column
        if node.style in ("|", ">"):
            line, column = line + 1, 0
        elif node.style:
            column += 1
        for row in range(line, min(node.end_mark.line + 1, len(self._lines))):
            source = self._lines[row]
            while column < len(source):
                size, char = 1, source[column]
                if node.style == '"' and char == "\\":
                    size = 2 + _ESCAPE_DIGITS.get(source[column + 1 : column + 2], 0)
                    char = _escaped(source[column + 1 : column + size])
                elif node.style == "'" and source.startswith("''", column):
                    size = 2
                if not char.isspace():
                    yield row, column
                column += size
            column = 0


def open_document(path: Path) -> Document:
    """A file as a document. A file that cannot be read is an empty document with that problem."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        return _unreadable(file, f"cannot read {file}: {error.strerror or error}")
    if len(data) > MAX_BYTES:
        return _unreadable(file, f"cannot read {file}: it is larger than {MAX_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _unreadable(file, f"cannot read {file}: it is not UTF-8", line)
    return Document(file, text)


def nearest(word: str, words: Iterable[str]) -> str:
    """A remedy that suggests the nearest of the valid words."""
    known = sorted(words)
    few = len(known) <= 24
    if len(known) > 200:
        # Comparing with all of them would take longer than reading the file did.
        known = [other for other in known if other[:1] == word[:1] and abs(len(other) - len(word)) < 3][:200]
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    if len(known) == 1:
        return f"there is only {known[0]}"
    return f"there are {', '.join(known)}" if known and few else ""


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _escaped(sequence: str) -> str:
    """A character that stands for what an escape sequence gives, as far as being blank goes."""
    if sequence[:1] in _ESCAPE_DIGITS:
        code = int(sequence[1:], 16)
        return chr(code) if code <= 0x10FFFF else "x"
    return " " if sequence in ("", *" \ttnvfrN_LP") else "x"


def _unreadable(file: str, message: str, line: int = 1) -> Document:
    document = Document(file, "")
    document.problems.append(Problem(Position(file, line, 1), "unreadable-file", message))
    return document

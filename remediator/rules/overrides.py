"""Files that build on others: which files are read in which order, and what an override changes of a rule.

A file comes before what it extends, so that its own services and runbooks are chosen first. Each file is read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from remediator.config.document import Document, Path_, nearest, open_document
from remediator.config.schema import read_document
from remediator.config.struct_schema import Partial
from remediator.problem import Position, Problem, Severity
from remediator.rules.fields import RuleFileDoc
from remediator.rules.library import PREFIX, open_shipped, shipped_names

T = TypeVar("T", bound=msgspec.Struct)
KINDS = ("services", "thresholds", "runbooks", "targets")
WHOLE = frozenset({"target"})
"""Keys whose mapping is replaced as a whole."""


@dataclass(frozen=True)
class RuleFile:
    """One file as it is read, with the files that it extends, near or far."""

    document: Document
    doc: RuleFileDoc
    extends: frozenset[str]


@dataclass(frozen=True)
class Override:
    """What one file changes of a rule."""

    document: Document
    index: int
    partial: Partial


@dataclass(frozen=True)
class OverriddenRule(Generic[T]):
    """A rule of a file as it is after all overrides. It knows which file has each of its values."""

    document: Document
    kind: str
    index: int
    doc: T
    overrides: tuple[Override, ...] = ()

    @property
    def path(self) -> Path_:
        """Where it stands in its file."""
        return (self.kind, self.index)

    def changed(self, override: Override) -> OverriddenRule[T]:
        """The entry after one more override."""
        doc = overridden(self.doc, override.partial)
        return OverriddenRule(self.document, self.kind, self.index, doc, (*self.overrides, override))

    def report(
        self,
        path: Path_,
        check: str,
        message: str,
        remedy: str = "",
        *,
        offset: int | None = None,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Note a problem at a path of the file, in the file that has the value there."""
        document, place = self._origin(path)
        document.report(place, check, message, remedy, offset=offset, severity=severity)

    def whole(self, *path: str | int) -> bool:
        """Whether no error has been found within the value at a path."""
        places = [self._origin(path)] if len(path) > 2 else [(self.document, path), *map(_place, self.overrides_of())]
        return all(document.whole(*place) for document, place in places)

    def position(self, *path: str | int, offset: int | None = None, key: bool = False) -> Position:
        """Where the value at a path stands, in the file that has it."""
        document, place = self._origin(path)
        return document.position(*place, offset=offset, key=key)

    def indexes(self, values: tuple[object, ...]) -> Iterable[int]:
        """Where in its list each of the values stands."""
        documents = (self.document, *(override.document for override in self.overrides))
        return next((one.indexes(values) for one in documents if one.left_out(values)), range(len(values)))

    def overrides_of(self) -> Sequence[Override]:
        """The overrides, the last first."""
        return self.overrides[::-1]

    def _origin(self, path: Sequence[str | int]) -> tuple[Document, Path_]:
        inner = tuple(path[2:])
        if inner and self.overrides:
            for override in self.overrides_of():
                document, place = _place(override)
                if document.has(*place, *inner):
                    return document, (*place, *inner)
            if not self.document.has(*self.path, *inner):
                for override in self.overrides_of():
                    document, place = _place(override)
                    if document.has(*place, inner[0]):
                        return document, (*place, *inner)
        return self.document, tuple(path)


def _place(override: Override) -> tuple[Document, Path_]:
    return override.document, ("override", override.partial.kind, override.index)


def read_files(documents: Iterable[Document]) -> list[RuleFile]:
    """These files and all that they extend, in the order in which they are read. Problems are noted in them."""
    files: dict[str, RuleFile] = {}
    given = {_key(document.file): document for document in documents}
    for document in given.values():
        _add(document, files, given)
    return list(files.values())


def extended_files(path: Path) -> list[Path] | None:
    """The files beside it that a rule file says it extends, whether they are there or not. None when it cannot be read."""
    document = open_document(path)
    doc = read_document(document, RuleFileDoc)
    return None if doc is None else [path.parent / name for name in doc.extends if not name.startswith(PREFIX)]


def _add(document: Document, files: dict[str, RuleFile], given: dict[str, Document]) -> frozenset[str]:
    """Read a file and what it extends, unless it has been read. Returns the file's key and those of what it extends."""
    key = _key(document.file)
    if key in files:
        return files[key].extends | {key}
    doc = read_document(document, RuleFileDoc) or RuleFileDoc()
    files[key] = RuleFile(document, doc, frozenset())
    extends: set[str] = set()
    for index, name in zip(document.indexes(doc.extends), doc.extends, strict=True):
        base = _open(document, index, name, given, files)
        if base is not None:
            extends |= _add(base, files, given)
    files[key] = RuleFile(document, doc, frozenset(extends))
    return frozenset({*extends, key})


def _open(
    document: Document, index: int, name: str, given: dict[str, Document], files: dict[str, RuleFile]
) -> Document | None:
    place: Path_ = (
        ("extends",) if document.has("extends") and not document.has("extends", index) else ("extends", index)
    )
    if name.startswith(PREFIX):
        shipped = name.removeprefix(PREFIX).removesuffix(".yml")
        if shipped not in shipped_names():
            message = f"there is no rule file {name} in the package"
            document.report(place, "unknown-extends", message, nearest(shipped, shipped_names()))
            return None
        key = _key(f"{PREFIX}{shipped}.yml")
        return files[key].document if key in files else open_shipped(shipped)
    path = Path(document.file).parent / name
    key = _key(str(path))
    if key in given or key in files:
        return given[key] if key in given else files[key].document
    if not path.is_file():
        message = f"cannot extend {name}: there is no such file beside this one"
        remedy = f"a file of the package is written {PREFIX}{shipped_names()[0]}"
        document.report(place, "unknown-extends", message, remedy)
        return None
    return open_document(path)


def _key(file: str) -> str:
    return file if file.startswith(PREFIX) else str(Path(file).resolve())


def entries(files: Sequence[RuleFile], kind: str, also: Iterable[str] = ()) -> list[OverriddenRule[Any]]:
    """The rules of this kind of all files, in order, with what later files override of them.

    An override of a rule that no extended file has is an error, unless its name is among `also`.
    """
    found = [
        OverriddenRule(file.document, kind, index, doc)
        for file in files
        for index, doc in _items(file.document, getattr(file.doc, kind))
    ]
    # What is extended changes first, so that who extends it has the last word.
    for file in reversed(files):
        for index, partial in _items(file.document, getattr(file.doc.override, kind)):
            within = file.extends | {_key(file.document.file)}
            named = [at for at, entry in enumerate(found) if entry.doc.name == partial.name]
            reached = [at for at in named if _key(found[at].document.file) in within]
            if not reached:
                if partial.name not in also:
                    _report_unknown(file, kind, index, partial, [entry.doc.name for entry in found])
                continue
            override = Override(file.document, index, partial._replace(kind=kind))
            for at in reached:
                found[at] = found[at].changed(override)
    return found


def _report_unknown(file: RuleFile, kind: str, index: int, partial: Partial, names: Iterable[str]) -> None:
    if any(problem.check == "unknown-extends" for problem in file.document.problems):
        return
    message = f"there is no {kind.removesuffix('s')} {partial.name} in what this file extends"
    place = ("override", kind, index, "name")
    remedy = nearest(partial.name, set(names)) or "write extends: with the file that has it"
    file.document.report(place, "unknown-override", message, remedy)


def overridden(doc: T, partial: Partial) -> T:
    """The rule with the values of an override: those of mappings are changed one by one, all others replaced."""
    changes: dict[str, Any] = {}
    for attribute, value in partial.values.items():
        old = getattr(doc, attribute)
        if isinstance(value, Partial):
            changes[attribute] = value.make() if old is None else overridden(old, value)
        elif isinstance(value, dict) and isinstance(old, dict) and attribute not in WHOLE:
            changes[attribute] = {**old, **value}
        else:
            changes[attribute] = value
    return msgspec.structs.replace(doc, **changes)


def _items(document: Document, values: tuple[Any, ...]) -> Iterator[tuple[int, Any]]:
    return zip(document.indexes(values), values, strict=True)


def problems_of(files: Iterable[RuleFile]) -> list[Problem]:
    """The problems noted in the files so far."""
    return [problem for file in files for problem in file.document.problems]

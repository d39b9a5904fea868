"""What overrides change of a rule file, and what one version of it changes of another, value by value as written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import yaml

from remediator.config.document import Document, Path_
from remediator.problem import Position
from remediator.rules.overrides import KINDS, WHOLE, read_files

DEFAULT = "(default)"
"""What stands for a value that is not written."""


class ChangedValue(NamedTuple):
    """A value that an override changes. `path` is such as `runbooks.web.limits.cooldown`."""

    path: str
    before: str
    after: str
    where: Position


def overridden_values(base: Document, files: Iterable[Document]) -> list[ChangedValue]:
    """What these files, and those that they extend, override of a file, in the order in which they are read."""
    before = {path: written for path, written, _ in _values(base)}
    names = {path.split(".", 2)[1] for path in before} | _names(base)
    found = []
    for file in read_files(files):
        if base.file not in file.extends:
            continue
        for path, after, where in _values(file.document, ("override",)):
            if path.split(".", 2)[1] in names:
                found.append(ChangedValue(path, before.get(path, DEFAULT), after, where))
    return found


def changes_between(old: Document, new: Document) -> list[tuple[str, str, str]]:
    """The values of rules that differ: path, before, after."""
    before = {path: written for path, written, _ in _values(old)}
    after = {path: written for path, written, _ in _values(new)}
    paths = dict.fromkeys((*before, *after))
    found = [(path, before.get(path, DEFAULT), after.get(path, DEFAULT)) for path in paths]
    return [change for change in found if change[1] != change[2]]


def _values(document: Document, within: Path_ = ()) -> Iterator[tuple[str, str, Position]]:
    """Every value of the rules at a path: its own path, how it is written, and where."""
    for kind, index, item in _rules(document, within):
        name = _name(item)
        place = (*within, kind, index)
        for inner, node in _leaves(item, ()):
            if inner != ("name",):
                yield ".".join((kind, name, *map(str, inner))), _written(node), document.position(*place, *inner)


def _rules(document: Document, within: Path_) -> Iterator[tuple[str, int, yaml.MappingNode]]:
    for kind in KINDS:
        if document.root is not None and document.has(*within, kind):
            node = document.inner(document.root, (*within, kind))
            for index, item in enumerate(node.value if isinstance(node, yaml.SequenceNode) else ()):
                if isinstance(item, yaml.MappingNode):
                    yield kind, index, item


def _names(document: Document) -> set[str]:
    return {_name(item) for _, _, item in _rules(document, ())}


def _name(item: yaml.MappingNode) -> str:
    return next((str(value.value) for key, value in item.value if key.value == "name"), "")


def _leaves(node: yaml.MappingNode, path: Path_) -> Iterator[tuple[Path_, yaml.Node]]:
    for key, value in node.value:
        inner = (*path, str(key.value))
        if isinstance(value, yaml.MappingNode) and key.value not in WHOLE:
            yield from _leaves(value, inner)
        else:
            yield inner, value


def _written(node: yaml.Node) -> str:
    """A value on one line."""
    if isinstance(node, yaml.SequenceNode):
        return f"[{', '.join(map(_written, node.value))}]"
    if isinstance(node, yaml.MappingNode):
        return f"{{{', '.join(f'{_written(key)}: {_written(value)}' for key, value in node.value)}}}"
    return " ".join(str(node.value).split())

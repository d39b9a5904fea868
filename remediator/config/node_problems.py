"""What may be wrong with a YAML node whatever it stands for: another kind of node, a tag, a key that repeats."""

from __future__ import annotations

import enum
import re

import yaml

from remediator.config.document import Document
from remediator.config.yaml_nodes import PLAIN, TEXT_TAG


class Bad(enum.Enum):
    """The result of reading a value that has a problem."""

    BAD = 0


BAD = Bad.BAD
STANDARD_TAGS = (PLAIN, "other", TEXT_TAG)
_NOTHING = ("", "~", "null", "Null", "NULL")


def pairs(node: yaml.MappingNode, document: Document) -> list[tuple[str, yaml.Node, yaml.Node]]:
    """Keys as text, with their nodes and values. A key that is no text, or that repeats, is reported and left out."""
    if node.tag not in STANDARD_TAGS:
        tagged(node, document)
    pairs: dict[str, tuple[str, yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        name = key.value
        if not isinstance(key, yaml.ScalarNode):
            wrong(key, document, "a key")
        elif name == "<<" and key.tag == PLAIN:
            remedy = "write the keys out, or use an alias for the whole value"
            document.report(key, "yaml-syntax", "merge keys (<<) are not supported", remedy)
        elif name in pairs:
            first = pairs[name][1].start_mark.line + 1
            message = f"the key {name!r} stands here a second time, first on line {first}"
            document.report(key, "duplicate-key", message, "keep one of them")
        else:
            pairs[name] = (name, key, value)
    return list(pairs.values())


def wrong(node: yaml.Node, document: Document, noun: str, remedy: str = "") -> Bad:
    """Report another kind of node than the one expected."""
    found = "text"
    if nothing(node):
        found = "nothing"
        remedy = remedy or "give a value, or leave the key out"
    elif isinstance(node, yaml.MappingNode):
        found = "a mapping"
    elif isinstance(node, yaml.SequenceNode):
        found = "a list"
    if document.text_at(node).startswith("{{"):
        remedy = "put a text with {{ }} in quotes"
    document.report(node, "wrong-type", f"expected {noun}, found {found}", remedy)
    return BAD


def tagged(node: yaml.Node, document: Document) -> Bad:
    """Report a tag."""
    remedy = "put a text that begins with ! in quotes"
    document.report(node, "yaml-syntax", f"YAML tags such as {node.tag} are not supported", remedy)
    return BAD


def nothing(node: yaml.Node) -> bool:
    """Whether a node stands for no value."""
    return isinstance(node, yaml.ScalarNode) and node.tag == PLAIN and node.value in _NOTHING


def as_list(node: yaml.Node) -> str:
    """How to write as a list what was written as a text."""
    if not isinstance(node, yaml.ScalarNode):
        return ""
    if re.fullmatch(r"[\w./-]+", node.value):
        return f"write it as a list: [{node.value}]"
    if re.search(r"[\s']", node.value):
        return "write it as a list: [one, two]"
    return f"write it as a list: ['{node.value}']"

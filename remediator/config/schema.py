"""Which values may stand where in a document, from typed structs: reading them, and their JSON Schema.

`shape_of(T)` is made from a msgspec Struct, whose fields may be leaves (`leaves`), tuples, dicts with text keys, other
structs, `None`, `Any` (plain values) and unions of at most one of each. A field's `Meta(description=…)` and a struct's
docstring become the descriptions that editors show.
"""

from __future__ import annotations

import enum
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec
import yaml

from remediator.config.document import PLAIN, Document, Path_, nearest
from remediator.config.scalars import OF_TYPE, Scalar, one_of
from remediator.errors import TemplateError
from remediator.model.matcher import MatcherError

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True)
class AdditionalKeys:
    """Marks the field of a struct that takes the keys no other field has; `known` are some of them, for editors."""

    known: tuple[str, ...] = ()


class Violation(NamedTuple):
    """Something wrong between the fields of a struct, at a path within it."""

    path: Path_
    check: str
    message: str
    remedy: str


@runtime_checkable
class SelfChecking(Protocol):
    """A struct that knows more about itself than its fields' types say."""

    def violations(self) -> Iterator[Violation]:
        """What is wrong with it."""
        ...


class ScalarOrList(enum.Enum):
    """Marks a list that may be written as its only item."""

    SCALAR_OR_LIST = 0


SCALAR_OR_LIST = ScalarOrList.SCALAR_OR_LIST


class _Bad(enum.Enum):
    """What reading gives when a problem has been noted instead."""

    BAD = 0


BAD = _Bad.BAD
_STANDARD_TAGS = (PLAIN, "other", "tag:yaml.org,2002:str")
_MISREAD = re.compile(r"(?i:yes|no|on|off|true|false)|[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.[\d_]*)?", re.ASCII)
_NOTHING = ("", "~", "null", "Null", "NULL")


class Shape(Protocol):
    """What may stand somewhere. `noun` names it in sentences; `node` is the kind of node it is written as."""

    noun: str
    node: type[yaml.Node]

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        """The value, or BAD with a problem noted in the document."""
        ...

    def schema(self, parts: dict[str, Any]) -> dict[str, Any]:
        """Its JSON Schema; structs are put into `parts`."""
        ...


def read_document(document: Document, cls: type[T]) -> T | None:
    """The whole document as a struct, or None when it is empty, or could not be read; problems are noted in it."""
    if document.root is None:
        return None
    value: T | _Bad = schema_of(cls).read(document.root, document, 0)
    return None if isinstance(value, _Bad) else value


def json_schema(cls: type, title: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a document."""
    parts: dict[str, Any] = {}
    top = schema_of(cls).schema(parts)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **top, "$defs": parts}


@cache
def schema_of(hint: Any) -> Shape:
    """The shape of a type. TypeError for one that no document can hold."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        leaf = next((part for part in hint.__metadata__ if isinstance(part, Scalar)), None)
        if SCALAR_OR_LIST in hint.__metadata__:
            return _List(_list_item(args[0]), or_one=True)
        return _Scalar(leaf) if leaf else schema_of(args[0])
    if origin in (typing.Union, types.UnionType):
        shapes = tuple(schema_of(arg) for arg in args if arg not in (type(None), msgspec.UnsetType))
        nullable = type(None) in args
        return _Choice(shapes, nullable) if nullable or len(shapes) > 1 else shapes[0]
    if origin is tuple:
        return _List(schema_of(args[0]))
    if origin is dict:
        key = schema_of(args[0])
        return _Mapping(key, schema_of(args[1]))
    if hint is Any:
        return _Anything()
    if hint in OF_TYPE:
        return _Scalar(OF_TYPE[hint])
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return _Scalar(one_of(*hint))
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _Record(hint)
    raise TypeError(f"no document can hold {hint}")


def _list_item(hint: Any) -> Shape:
    """The shape of the items of `tuple[T, ...]`, or of that or None."""
    options = (hint, *typing.get_args(hint))
    return next(schema_of(typing.get_args(option)[0]) for option in options if typing.get_origin(option) is tuple)


class _Scalar:
    node: type[yaml.Node] = yaml.ScalarNode

    def __init__(self, leaf: Scalar) -> None:
        self.leaf = leaf
        self.noun = leaf.noun

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return _wrong(node, document, self.noun)
        leaf, text, plain = self.leaf, node.value, node.tag == PLAIN
        if node.tag not in _STANDARD_TAGS:
            return _tagged(node, document)
        if plain and text in _NOTHING:
            return _wrong(node, document, self.noun)
        if leaf.text and plain and _MISREAD.fullmatch(text):
            meaning = "a number to base 60" if ":" in text else "true or false"
            message = f"expected {self.noun}, but YAML reads an unquoted {text} as {meaning}"
            document.report(node, "unquoted-text", message, f"put it in quotes: '{text}'")
            return BAD
        if not leaf.text and not plain:
            document.report(node, "wrong-type", f"expected {self.noun}, found text", "take the quotes away")
            return BAD
        try:
            return leaf.parse(text)
        except TemplateError as error:
            document.report(node, "bad-template", str(error), offset=error.offset)
        except ValueError as error:
            offset = error.offset if isinstance(error, MatcherError) else None
            document.report(node, leaf.check, str(error), leaf.remedy_for(text), offset=offset)
        return BAD

    def schema(self, parts: dict[str, Any]) -> dict[str, Any]:
        return dict(self.leaf.schema)


class _List:
    node: type[yaml.Node] = yaml.SequenceNode

    def __init__(self, item: Shape, *, or_one: bool = False) -> None:
        self.item = item
        self.or_one = or_one
        self.noun = "a list"

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        if _nothing(node):
            return ()
        if self.or_one and isinstance(node, yaml.ScalarNode):
            value = self.item.read(node, document, depth)
            return BAD if value is BAD else (value,)
        if not isinstance(node, yaml.SequenceNode):
            return _wrong(node, document, self.noun, _as_list(node))
        if node.tag not in _STANDARD_TAGS:
            return _tagged(node, document)
        values = []
        for child in node.value:
            if not document.spend(child, depth):
                return BAD
            values.append(self.item.read(child, document, depth + 1))
        return document.without(BAD, values)

    def schema(self, parts: dict[str, Any]) -> dict[str, Any]:
        item = self.item.schema(parts)
        many = {"type": ["array", "null"], "items": item}
        return {"anyOf": [many, item]} if self.or_one else many


class _Mapping:
    node: type[yaml.Node] = yaml.MappingNode
    noun = "a mapping"

    def __init__(self, key: Shape, value: Shape) -> None:
        self.key = key
        self.value = value

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        if _nothing(node):
            return {}
        if not isinstance(node, yaml.MappingNode):
            return _wrong(node, document, self.noun)
        values = {}
        for name, key, child in _pairs(node, document):
            if not document.spend(child, depth):
                return BAD
            if self.key.read(key, document, depth) is BAD:
                continue
            value = self.value.read(child, document, depth + 1)
            if value is not BAD:
                values[name] = value
        return values

    def schema(self, parts: dict[str, Any]) -> dict[str, Any]:
        return {"type": ["object", "null"], "additionalProperties": self.value.schema(parts)}


class _Record:
    node: type[yaml.Node] = yaml.MappingNode

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        self.cls = cls
        self.noun = "a mapping"
        hints = typing.get_type_hints(cls, include_extras=True)
        # Asked once here: an instance check of a protocol is slow.
        self.checked = hasattr(cls, "violations")
        self.hints: Mapping[str, str] = getattr(cls, "hints", {})
        self.rest: tuple[str, Shape, AdditionalKeys] | None = None
        self.fields: dict[str, tuple[str, Shape]] = {}
        self.required: list[str] = []
        self.described: dict[str, str] = {}
        for item in msgspec.structs.fields(cls):
            hint = hints[item.name]
            marks = getattr(hint, "__metadata__", ())
            rest = next((mark for mark in marks if isinstance(mark, AdditionalKeys)), None)
            text = next((mark.description for mark in marks if isinstance(mark, msgspec.Meta)), None)
            if rest is not None:
                self.rest = (item.name, schema_of(typing.get_args(typing.get_args(hint)[0])[1]), rest)
                self.described |= dict.fromkeys(rest.known, text or "")
                continue
            shape = schema_of(hint)
            self.fields[item.encode_name] = (item.name, shape)
            if item.required:
                self.required.append(item.encode_name)
            self.described[item.encode_name] = text or _about(shape)

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        if not isinstance(node, yaml.MappingNode):
            if _nothing(node) and not self.required:
                return self.cls()
            return _wrong(node, document, self.noun)
        values: dict[str, Any] = {}
        others: dict[str, Any] = {}
        present = set()
        for name, key, child in _pairs(node, document):
            if not document.spend(child, depth):
                return BAD
            present.add(name)
            if name in self.fields:
                field, shape = self.fields[name]
                value = shape.read(child, document, depth + 1)
                if value is not BAD:
                    values[field] = value
            elif self.rest is not None and self._takes(name, child):
                value = self.rest[1].read(child, document, depth + 1)
                if value is not BAD:
                    others[name] = value
            else:
                remedy = self.hints.get(name) or nearest(name, self.fields)
                document.report(key, "unknown-key", f"unknown key {name!r}", remedy)
        missing = [name for name in self.required if name not in present]
        for name in missing:
            document.report(node, "missing-key", f"the key {name!r} is missing here", f"add {name}:")
        if missing or any(self.fields[name][0] not in values for name in self.required):
            return BAD
        if self.rest is not None:
            values[self.rest[0]] = others
        value = self.cls(**values)
        for fault in value.violations() if self.checked and isinstance(value, SelfChecking) else ():
            document.report(document.inner(node, fault.path), fault.check, fault.message, fault.remedy)
        return value

    def _takes(self, name: str, child: yaml.Node) -> bool:
        """Whether a key of no field is one of the rest, rather than a field misspelt."""
        misspelt = isinstance(child, yaml.SequenceNode) or (isinstance(child, yaml.ScalarNode) and not _nothing(child))
        return name not in self.hints and not (misspelt and nearest(name, self.fields).startswith("did"))

    def schema(self, parts: dict[str, Any]) -> dict[str, Any]:
        name = self.cls.__name__
        reference = {"$ref": f"#/$defs/{name}"}
        if name in parts:
            return reference
        properties: dict[str, Any] = {}
        parts[name] = {
            "type": "object",
            "description": _about(self),
            "properties": properties,
            "required": self.required,
            "additionalProperties": False,
        }
        for key, (_, shape) in self.fields.items():
            properties[key] = shape.schema(parts)
        if self.rest is not None:
            other = self.rest[1].schema(parts)
            properties.update(dict.fromkeys(self.rest[2].known, other))
            parts[name]["additionalProperties"] = other
        for key, text in self.described.items():
            if text:
                properties[key] = {**properties[key], "description": text}
        if not self.required:
            parts[name]["type"] = ["object", "null"]
        return reference


class _Choice:
    """One of several shapes, told apart by how they are written."""

    def __init__(self, shapes: tuple[Shape, ...], nullable: bool) -> None:
        self.shapes = {shape.node: shape for shape in shapes}
        if len(self.shapes) != len(shapes):
            raise TypeError("two alternatives are written as the same kind of node")
        self.nullable = nullable
        self.node = shapes[0].node
        self.noun = " or ".join(shape.noun for shape in shapes)

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        if self.nullable and _nothing(node):
            return None
        shape = self.shapes.get(type(node))
        if shape is None:
            return (
                next(iter(self.shapes.values())).read(node, document, depth)
                if len(self.shapes) == 1
                else _wrong(node, document, self.noun)
            )
        return shape.read(node, document, depth)

    def schema(self, parts: dict[str, Any]) -> dict[str, Any]:
        options = [shape.schema(parts) for shape in self.shapes.values()]
        if self.nullable:
            options.append({"type": "null"})
        return options[0] if len(options) == 1 else {"anyOf": options}


class _Anything:
    """Plain values, for what only its user knows the meaning of."""

    node: type[yaml.Node] = yaml.Node
    noun = "a value"

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return _List(self).read(node, document, depth)
        if isinstance(node, yaml.MappingNode):
            return _Mapping(_Scalar(OF_TYPE[str]), self).read(node, document, depth)
        if _nothing(node):
            return None
        if node.tag == PLAIN:
            if node.value in ("true", "false"):
                return node.value == "true"
            if re.fullmatch(r"[-+]?(0|[1-9]\d{0,17})", node.value, re.ASCII):
                return int(node.value)
            if re.fullmatch(r"[-+]?\d{1,17}\.\d{1,17}", node.value, re.ASCII):
                return float(node.value)
        return _Scalar(OF_TYPE[str]).read(node, document, depth)

    def schema(self, parts: dict[str, Any]) -> dict[str, Any]:
        return {}


def _about(shape: Shape) -> str:
    """What a field that says nothing of itself is described by: the docstring of the struct it holds."""
    if isinstance(shape, _Choice):
        return next(filter(None, map(_about, shape.shapes.values())), "")
    return " ".join((shape.cls.__doc__ or "").split()) if isinstance(shape, _Record) else ""


def _pairs(node: yaml.MappingNode, document: Document) -> list[tuple[str, yaml.Node, yaml.Node]]:
    """Keys as text, with their nodes and values; what is no such key, or stands twice, is noted and left out."""
    if node.tag not in _STANDARD_TAGS:
        _tagged(node, document)
    pairs: dict[str, tuple[str, yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        name = key.value
        if not isinstance(key, yaml.ScalarNode):
            _wrong(key, document, "a key")
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


def _wrong(node: yaml.Node, document: Document, noun: str, remedy: str = "") -> _Bad:
    found = "text"
    if _nothing(node):
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


def _tagged(node: yaml.Node, document: Document) -> _Bad:
    remedy = "put a text that begins with ! in quotes"
    document.report(node, "yaml-syntax", f"YAML tags such as {node.tag} are not supported", remedy)
    return BAD


def _nothing(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == PLAIN and node.value in _NOTHING


def _as_list(node: yaml.Node) -> str:
    """How to write as a list what was written as a text."""
    if not isinstance(node, yaml.ScalarNode):
        return ""
    if re.fullmatch(r"[\w./-]+", node.value):
        return f"write it as a list: [{node.value}]"
    if re.search(r"[\s']", node.value):
        return "write it as a list: [one, two]"
    return f"write it as a list: ['{node.value}']"

"""The schema of a struct: its keys, read into attributes, and the part of a struct that an override writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec
import yaml

from remediator.config.document import Document, Path_, nearest
from remediator.config.node_problems import BAD, nothing, pairs, wrong
from remediator.config.schema_nodes import Schema, UnionSchema


class Violation(NamedTuple):
    """Something wrong between the fields of a struct, at a path within it."""

    path: Path_
    check: str
    message: str
    remedy: str


@runtime_checkable
class SelfChecking(Protocol):
    """A struct with rules between its fields, which their types cannot say."""

    def violations(self) -> Iterator[Violation]:
        """What is wrong with it."""
        ...


class Field(NamedTuple):
    """One key of a struct, and the attribute it is read into."""

    attribute: str
    schema: Schema
    required: bool
    description: str


class Additional(NamedTuple):
    """The attribute of a struct that collects the keys which no field has; `known` are examples for editors."""

    attribute: str
    schema: Schema
    known: tuple[str, ...]
    description: str


class StructSchema:
    """A mapping with known keys. The class may have `hints`: remedies for keys that other tools have. Its definition in
    the JSON Schema has its `schema_name`, or else its own name."""

    node: type[yaml.Node] = yaml.MappingNode
    noun = "a mapping"

    def __init__(self, cls: type[msgspec.Struct], fields: Mapping[str, Field], additional: Additional | None) -> None:
        self.cls = cls
        self.fields = fields
        self.additional = additional
        self.required = [key for key, field in fields.items() if field.required]
        self.hints: Mapping[str, str] = getattr(cls, "hints", {})
        # Asked once here: an instance check of a protocol is slow.
        self._checks_itself = hasattr(cls, "violations")

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        if not isinstance(node, yaml.MappingNode):
            if nothing(node) and not self.required:
                return self.cls()
            return wrong(node, document, self.noun)
        values: dict[str, Any] = {}
        others: dict[str, Any] = {}
        present = set()
        for key, key_node, child in pairs(node, document):
            if not document.spend(child, depth):
                return BAD
            present.add(key)
            if key in self.fields:
                field = self.fields[key]
                value = field.schema.read(child, document, depth + 1)
                if value is not BAD:
                    values[field.attribute] = value
            elif self.additional is not None and self._is_additional(key, child):
                value = self.additional.schema.read(child, document, depth + 1)
                if value is not BAD:
                    others[key] = value
            else:
                remedy = self.hints.get(key) or nearest(key, self.fields)
                document.report(key_node, "unknown-key", f"unknown key {key!r}", remedy)
        missing = [key for key in self.required if key not in present]
        for key in missing:
            document.report(node, "missing-key", f"the key {key!r} is missing here", f"add {key}:")
        if missing or any(self.fields[key].attribute not in values for key in self.required):
            return BAD
        if self.additional is not None:
            values[self.additional.attribute] = others
        value = self.cls(**values)
        if self._checks_itself and isinstance(value, SelfChecking):
            for violation in value.violations():
                where = document.inner(node, violation.path)
                document.report(where, violation.check, violation.message, violation.remedy)
        return value

    def _is_additional(self, key: str, child: yaml.Node) -> bool:
        """Whether a key that no field has is an additional one, and not a misspelt field."""
        misspelt = isinstance(child, yaml.SequenceNode) or (isinstance(child, yaml.ScalarNode) and not nothing(child))
        return key not in self.hints and not (misspelt and nearest(key, self.fields).startswith("did"))

    def json_schema(self, definitions: dict[str, Any]) -> dict[str, Any]:
        name = getattr(self.cls, "schema_name", self.cls.__name__)
        reference = {"$ref": f"#/$defs/{name}"}
        if name in definitions:
            return reference
        properties: dict[str, Any] = {}
        definitions[name] = {
            "type": "object" if self.required else ["object", "null"],
            "description": _description(self),
            "properties": properties,
            "required": self.required,
            "additionalProperties": False,
        }
        for key, field in self.fields.items():
            properties[key] = field.schema.json_schema(definitions)
        described = {key: field.description or _description(field.schema) for key, field in self.fields.items()}
        if self.additional is not None:
            other = self.additional.schema.json_schema(definitions)
            properties.update(dict.fromkeys(self.additional.known, other))
            described |= dict.fromkeys(self.additional.known, self.additional.description)
            definitions[name]["additionalProperties"] = other
        for key, text in described.items():
            if text:
                properties[key] = {**properties[key], "description": text}
        return reference


class Partial(NamedTuple):
    """Some values of a struct, as an override has them: attributes with their new values. `kind` is for its reader."""

    cls: type[msgspec.Struct]
    name: str
    values: dict[str, Any]
    kind: str = ""

    def make(self) -> msgspec.Struct:
        """The struct of these values alone."""
        given = {key: value.make() if isinstance(value, Partial) else value for key, value in self.values.items()}
        return self.cls(**given)


class PartialSchema:
    """A struct with only some of its keys; with `named`, its name says which one is meant."""

    node: type[yaml.Node] = yaml.MappingNode
    noun = "a mapping"

    def __init__(self, whole: StructSchema, *, named: bool) -> None:
        self.whole = whole
        self.named = named
        self.fields = {key: field._replace(schema=_partial(field.schema)) for key, field in whole.fields.items()}

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        if not isinstance(node, yaml.MappingNode):
            return wrong(node, document, self.noun)
        values: dict[str, Any] = {}
        for key, key_node, child in pairs(node, document):
            if not document.spend(child, depth):
                return BAD
            if key not in self.fields:
                remedy = self.whole.hints.get(key) or nearest(key, self.fields)
                document.report(key_node, "unknown-key", f"unknown key {key!r}", remedy)
                continue
            field = self.fields[key]
            value = field.schema.read(child, document, depth + 1)
            if value is not BAD:
                values[field.attribute] = value
        name = values.pop("name", "") if self.named else ""
        if self.named and not name:
            if not document.has_problem_within(node):
                document.report(node, "missing-key", "the key 'name' is missing here", "add name:")
            return BAD
        return Partial(self.whole.cls, name, values)

    def json_schema(self, definitions: dict[str, Any]) -> dict[str, Any]:
        whole = self.whole.json_schema(definitions)["$ref"].rpartition("/")[2]
        name = f"{whole}Override"
        if name not in definitions:
            properties: dict[str, Any] = {}
            definitions[name] = {
                "type": "object",
                "description": f"What is changed of it: {definitions[whole]['description']}",
                "properties": properties,
                "required": ["name"] if self.named else [],
                "additionalProperties": False,
            }
            for key, field in self.fields.items():
                described = definitions[whole]["properties"][key].get("description")
                properties[key] = {
                    **field.schema.json_schema(definitions),
                    **({"description": described} if described else {}),
                }
        return {"$ref": f"#/$defs/{name}"}


def _partial(schema: Schema) -> Schema:
    """The schema in an override: structs are changed key by key, all else is replaced."""
    if isinstance(schema, StructSchema):
        return PartialSchema(schema, named=False)
    if isinstance(schema, UnionSchema) and schema.nullable and len(schema.schemas) == 1:
        (only,) = schema.schemas.values()
        return PartialSchema(only, named=False) if isinstance(only, StructSchema) and not only.required else schema
    return schema


def _description(schema: Schema) -> str:
    """The description of a field that has none of its own: the docstring of the struct it holds."""
    if isinstance(schema, UnionSchema):
        return next(filter(None, map(_description, schema.schemas.values())), "")
    return " ".join((schema.cls.__doc__ or "").split()) if isinstance(schema, StructSchema) else ""

"""The schemas of values, one class for each way to write one: how its YAML node is read, and its JSON Schema.

`schema.schema_of` puts them together from types; those of structs are in `struct_schema`. What is wrong with a node is noted as a problem in its document.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

import yaml

from remediator.config.document import Document
from remediator.config.node_problems import BAD, STANDARD_TAGS, as_list, nothing, pairs, tagged, wrong
from remediator.config.scalars import OF_TYPE, Scalar
from remediator.config.yaml_nodes import PLAIN
from remediator.errors import TemplateError
from remediator.model.matcher import MatcherError

_MISREAD = re.compile(r"(?i:yes|no|on|off|true|false)|[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.[\d_]*)?", re.ASCII)


class Schema(Protocol):
    """What may stand somewhere. `noun` names it in sentences; `node` is the kind of node it is written as."""

    noun: str
    node: type[yaml.Node]

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        """The value, or BAD with a problem noted in the document."""
        ...

    def json_schema(self, definitions: dict[str, Any]) -> dict[str, Any]:
        """Its JSON Schema; those of structs are put into `definitions`."""
        ...


class ScalarSchema:
    """A single value."""

    node: type[yaml.Node] = yaml.ScalarNode

    def __init__(self, scalar: Scalar) -> None:
        self.scalar = scalar
        self.noun = scalar.noun

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return wrong(node, document, self.noun)
        scalar, text, plain = self.scalar, node.value, node.tag == PLAIN
        if node.tag not in STANDARD_TAGS:
            return tagged(node, document)
        if nothing(node):
            return wrong(node, document, self.noun)
        if scalar.text and plain and _MISREAD.fullmatch(text):
            meaning = "a number to base 60" if ":" in text else "true or false"
            message = f"expected {self.noun}, but YAML reads an unquoted {text} as {meaning}"
            document.report(node, "unquoted-text", message, f"put it in quotes: '{text}'")
            return BAD
        if not scalar.text and not plain:
            document.report(node, "wrong-type", f"expected {self.noun}, found text", "take the quotes away")
            return BAD
        try:
            return scalar.parse(text)
        except TemplateError as error:
            document.report(node, "bad-template", str(error), offset=error.offset)
        except ValueError as error:
            offset = error.offset if isinstance(error, MatcherError) else None
            document.report(node, scalar.check, str(error), scalar.remedy_for(text), offset=offset)
        return BAD

    def json_schema(self, definitions: dict[str, Any]) -> dict[str, Any]:
        return dict(self.scalar.schema)


class ListSchema:
    """A list. With `or_scalar` its only item may be written without the list."""

    node: type[yaml.Node] = yaml.SequenceNode
    noun = "a list"

    def __init__(self, item: Schema, *, or_scalar: bool = False) -> None:
        self.item = item
        self.or_scalar = or_scalar

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        if nothing(node):
            return ()
        if self.or_scalar and isinstance(node, yaml.ScalarNode):
            value = self.item.read(node, document, depth)
            return BAD if value is BAD else (value,)
        if not isinstance(node, yaml.SequenceNode):
            return wrong(node, document, self.noun, as_list(node))
        if node.tag not in STANDARD_TAGS:
            return tagged(node, document)
        values = []
        for child in node.value:
            if not document.spend(child, depth):
                return BAD
            values.append(self.item.read(child, document, depth + 1))
        return document.without(BAD, values)

    def json_schema(self, definitions: dict[str, Any]) -> dict[str, Any]:
        item = self.item.json_schema(definitions)
        many = {"type": ["array", "null"], "items": item}
        return {"anyOf": [many, item]} if self.or_scalar else many


class MappingSchema:
    """Values under keys that are free."""

    node: type[yaml.Node] = yaml.MappingNode
    noun = "a mapping"

    def __init__(self, key: Schema, value: Schema) -> None:
        self.key = key
        self.value = value

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        if nothing(node):
            return {}
        if not isinstance(node, yaml.MappingNode):
            return wrong(node, document, self.noun)
        values = {}
        for name, key, child in pairs(node, document):
            if not document.spend(child, depth):
                return BAD
            if self.key.read(key, document, depth) is BAD:
                continue
            value = self.value.read(child, document, depth + 1)
            if value is not BAD:
                values[name] = value
        return values

    def json_schema(self, definitions: dict[str, Any]) -> dict[str, Any]:
        return {"type": ["object", "null"], "additionalProperties": self.value.json_schema(definitions)}


class UnionSchema:
    """One of several schemas, each written as another kind of node."""

    def __init__(self, schemas: tuple[Schema, ...], nullable: bool) -> None:
        self.schemas = {schema.node: schema for schema in schemas}
        if len(self.schemas) != len(schemas):
            raise TypeError("two alternatives are written as the same kind of node")
        self.nullable = nullable
        self.node = schemas[0].node
        self.noun = " or ".join(schema.noun for schema in schemas)

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        if self.nullable and nothing(node):
            return None
        schema = self.schemas.get(type(node))
        if schema is None:
            return (
                next(iter(self.schemas.values())).read(node, document, depth)
                if len(self.schemas) == 1
                else wrong(node, document, self.noun)
            )
        return schema.read(node, document, depth)

    def json_schema(self, definitions: dict[str, Any]) -> dict[str, Any]:
        options = [schema.json_schema(definitions) for schema in self.schemas.values()]
        if self.nullable:
            options.append({"type": "null"})
        return options[0] if len(options) == 1 else {"anyOf": options}


class AnySchema:
    """Plain values whose meaning only their user knows."""

    node: type[yaml.Node] = yaml.Node
    noun = "a value"

    def read(self, node: yaml.Node, document: Document, depth: int) -> Any:
        text = ScalarSchema(OF_TYPE[str])
        if isinstance(node, yaml.SequenceNode):
            return ListSchema(self).read(node, document, depth)
        if isinstance(node, yaml.MappingNode):
            return MappingSchema(text, self).read(node, document, depth)
        if nothing(node):
            return None
        if node.tag == PLAIN:
            if node.value in ("true", "false"):
                return node.value == "true"
            if re.fullmatch(r"[-+]?(0|[1-9]\d{0,17})", node.value, re.ASCII):
                return int(node.value)
            if re.fullmatch(r"[-+]?\d{1,17}\.\d{1,17}", node.value, re.ASCII):
                return float(node.value)
        return text.read(node, document, depth)

    def json_schema(self, definitions: dict[str, Any]) -> dict[str, Any]:
        return {}

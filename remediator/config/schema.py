"""Which values a document may hold, made from typed structs: reading them, and their JSON Schema for editors.

`schema_of(T)` is made from a msgspec Struct. Its fields may be scalars (`scalars`), tuples, dicts with text keys, other
structs, `None`, `Any` (plain values) and unions of at most one of each. A field whose name ends in `_` is written
without it. `Meta(description=…)` of a field and the docstring of a struct are the descriptions that editors show.
"""

from __future__ import annotations

import enum
import types
import typing
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import msgspec

from remediator.config.document import Document
from remediator.config.node_problems import Bad
from remediator.config.scalars import OF_FIELD_TYPE, OF_TYPE, Scalar, one_of
from remediator.config.schema_nodes import AnySchema, ListSchema, MappingSchema, ScalarSchema, Schema, UnionSchema
from remediator.config.struct_schema import Additional, Field, PartialSchema, StructSchema
from remediator.model.field_types import SCALAR_OR_LIST, FieldType

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True)
class AdditionalKeys:
    """Marks the field of a struct that collects the keys which no other field has. `known` lists examples for
    editors."""

    known: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartialOf:
    """Marks a list of overrides: structs of this class with their name and some of their other keys."""

    cls: type[msgspec.Struct]


def read_document(document: Document, cls: type[T]) -> T | None:
    """The whole document as a struct. None when it is empty or could not be read: the document has the problems."""
    if document.root is None:
        return None
    value: T | Bad = schema_of(cls).read(document.root, document, 0)
    return None if isinstance(value, Bad) else value


def json_schema(cls: type, title: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a document."""
    definitions: dict[str, Any] = {}
    top = schema_of(cls).json_schema(definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **top, "$defs": definitions}


@cache
def schema_of(hint: Any) -> Schema:
    """The schema of a type. TypeError for a type that no document can hold."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        partial = next((mark for mark in hint.__metadata__ if isinstance(mark, PartialOf)), None)
        if partial is not None:
            return ListSchema(PartialSchema(_struct_schema(partial.cls), named=True))
        if SCALAR_OR_LIST in hint.__metadata__:
            return ListSchema(_list_item(args[0]), or_scalar=True)
        scalar = next(filter(None, map(_scalar_of, hint.__metadata__)), None)
        return ScalarSchema(scalar) if scalar else schema_of(args[0])
    if origin in (typing.Union, types.UnionType):
        schemas = tuple(schema_of(arg) for arg in args if arg not in (type(None), msgspec.UnsetType))
        nullable = type(None) in args
        return UnionSchema(schemas, nullable) if nullable or len(schemas) > 1 else schemas[0]
    if origin is tuple:
        return ListSchema(schema_of(args[0]))
    if origin is dict:
        return MappingSchema(schema_of(args[0]), schema_of(args[1]))
    if hint is Any:
        return AnySchema()
    if hint in OF_TYPE:
        return ScalarSchema(OF_TYPE[hint])
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return ScalarSchema(one_of(*hint))
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _struct_schema(hint)
    raise TypeError(f"no document can hold {hint}")


def _scalar_of(mark: object) -> Scalar | None:
    if isinstance(mark, FieldType):
        return OF_FIELD_TYPE[mark]
    return mark if isinstance(mark, Scalar) else None


def _list_item(hint: Any) -> Schema:
    """The schema of the items of `tuple[T, ...]`, or of that or None."""
    options = (hint, *typing.get_args(hint))
    return next(schema_of(typing.get_args(option)[0]) for option in options if typing.get_origin(option) is tuple)


def _struct_schema(cls: type[msgspec.Struct]) -> StructSchema:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields: dict[str, Field] = {}
    additional: Additional | None = None
    for item in msgspec.structs.fields(cls):
        hint = hints[item.name]
        marks = getattr(hint, "__metadata__", ())
        keys = next((mark for mark in marks if isinstance(mark, AdditionalKeys)), None)
        text = next((mark.description for mark in marks if isinstance(mark, msgspec.Meta)), None) or ""
        if keys is not None:
            values = schema_of(typing.get_args(typing.get_args(hint)[0])[1])
            additional = Additional(item.name, values, keys.known, text)
        else:
            fields[item.name.removesuffix("_")] = Field(item.name, schema_of(hint), item.required, text)
    return StructSchema(cls, fields, additional)

"""The loaded rules in the notation of a rule file, without the secrets in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from remediator.model.field_types import field_types
from remediator.model.health import Comparison
from remediator.model.matcher import Matcher
from remediator.model.rules import Rate, Share

_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
_SECRET = ("env", "headers")


def rule_text(value: Any, key: str = "") -> Any:
    """One value of a rule, with all its parts, as JSON-able data. Environments, headers and passwords in URLs are
    masked.

    Empty values are left out, and so are words, numbers and switches that have their default. Durations are always
    shown.
    """
    match value:
        case Matcher() | Comparison() | Rate() | Share():
            return str(value)
        case msgspec.Struct():
            return _struct_text(value)
        case Mapping() if key in _SECRET:
            return dict.fromkeys(value, "<secret>")
        case Mapping():
            return _without_empty({name: rule_text(inner, name) for name, inner in value.items()})
        case list() | tuple():
            return [rule_text(inner) for inner in value]
        case str():
            return _PASSWORD.sub(r"\1<secret>@", value)
    return value


def _struct_text(rule: msgspec.Struct) -> dict[str, Any]:
    types = field_types(type(rule))
    shown: dict[str, Any] = {}
    for field in msgspec.structs.fields(rule):
        value = getattr(rule, field.name)
        if isinstance(value, (bool, int, StrEnum)) and value == field.default:
            continue
        if field.name in types:
            value = types[field.name].show(value)
        shown[field.name.removesuffix("_")] = rule_text(value, field.name)
    return _without_empty(shown)


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in ({}, [], "", None)}

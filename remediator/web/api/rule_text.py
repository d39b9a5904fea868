"""Rules as they are loaded, written as in a rule file, without what may be secret in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from remediator.model.durations import format_duration

_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
_DURATIONS = ("cooldown", "for_", "healthy_for", "keep_for", "silence", "timeout", "within")
_SECRET = ("env", "headers")


def rule_text(value: Any, key: str = "") -> Any:
    """One value of a rule, and all in it, as JSON-able data. Environments, headers and passwords in URLs are masked;
    empty values, which say nothing, are left out."""
    match value:
        case {"name": name, "op": op, "value": text, **rest} if not rest:
            return f'{name}{op}"{text}"'
        case {"op": op, "bound": bound, **rest} if not rest:
            return f"{op} {bound:g}"
        case {"count": count, "window": window, **rest} if not rest:
            return f"{count}/{format_duration(window)}"
        case Mapping() if key in _SECRET:
            return dict.fromkeys(value, "<secret>")
        case Mapping():
            shown = {name: rule_text(inner, name) for name, inner in value.items()}
            return {name.rstrip("_"): inner for name, inner in shown.items() if inner not in ({}, [], "", None)}
        case list() | tuple():
            return [rule_text(inner) for inner in value]
        case float() | int() if key in _DURATIONS:
            return format_duration(value)
        case str():
            return _PASSWORD.sub(r"\1<secret>@", value)
    return value

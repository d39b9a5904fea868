"""The scalars of documents: how the text of each is read, the check that a wrong one fails, and its JSON Schema.

A document's struct names one by its field's type (`OF_TYPE`, `OF_FIELD_TYPE`), or has one of its own:
`Annotated[str, Scalar(…)]`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from remediator.clients.http_options import Secret
from remediator.config.document import nearest
from remediator.model.durations import parse_duration
from remediator.model.field_types import FieldType
from remediator.model.health import Comparison, Health, parse_comparison
from remediator.model.matcher import Matcher, parse_matcher
from remediator.model.rules import Rate, Share
from remediator.template.compile import TemplateKind, compile_template


@dataclass(frozen=True, eq=False)
class Scalar:
    """One kind of scalar.

    `parse` gives its value, or raises ValueError or TemplateError with a sentence. With `text`, an unquoted word is
    refused if YAML does not read it as text; without, a quoted one is refused. `words` are all that it may be.
    """

    noun: str
    parse: Callable[[str], Any]
    check: str = "bad-value"
    remedy: str = ""
    text: bool = True
    words: tuple[str, ...] = ()
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": ["string", "number"]})

    def remedy_for(self, text: str) -> str:
        """What the author of a wrong text can do."""
        return nearest(text, self.words) if self.words else self.remedy


def one_of(*words: StrEnum) -> Scalar:
    """One of some members of an enumeration."""
    known = {str(word): word for word in words}

    def parse(text: str) -> StrEnum:
        if text not in known:
            raise ValueError(f"{text!r} is none of {', '.join(known)}")
        return known[text]

    schema = {"type": "string", "enum": list(known)}
    return Scalar(f"one of {', '.join(known)}", parse, words=tuple(known), schema=schema)


def _template(kind: TemplateKind, noun: str) -> Scalar:
    def parse(text: str) -> str:
        # Compiling takes a hundred times as long as finding that there is nothing to compile.
        if "{{" in text or "{%" in text or "{#" in text:
            compile_template(text, kind)
        return text

    return Scalar(noun, parse)


def _name(text: str) -> str:
    if not text.strip() or text != text.strip() or not text.isprintable():
        raise ValueError("a name is at least one character, on one line, with no blanks around it")
    return text


def _expression(text: str) -> str:
    if not text.strip():
        raise ValueError("there is no expression")
    return text.rstrip()


def _integer(text: str) -> int:
    if re.fullmatch(r"[-+]?(0|[1-9][0-9]{0,17})", text, re.ASCII) is None:
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(f"{text!r} is neither true nor false")
    return _BOOLEANS[text.lower()]


def _duration(text: str) -> float:
    seconds = parse_duration(text)
    if seconds > 100 * 365 * 86400:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return seconds


def _positive_duration(text: str) -> float:
    seconds = _duration(text)
    if seconds <= 0:
        raise ValueError("this has to be longer than 0s")
    return seconds


def _positive_integer(text: str) -> int:
    number = _integer(text)
    if number < 1:
        raise ValueError("this has to be 1 or more")
    return number


def _rate(text: str) -> Rate:
    found = re.fullmatch(r"(\d{1,9})/(\w+)", text, re.ASCII)
    try:
        rate = Rate(int(found[1]), parse_duration(found[2])) if found else None
    except ValueError:
        rate = None
    if rate is None or not rate.count or not rate.window:
        raise ValueError(f"{text!r} is not a rate such as 3/1h")
    return rate


def _share(text: str) -> Share:
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(%?)", text, re.ASCII)
    value, percent = (float(found[1]), bool(found[2])) if found else (0.0, False)
    if not value or (percent and value > 100) or (not percent and not value.is_integer()):
        raise ValueError(f"{text!r} is neither a number of services such as 3 nor a share such as 30%")
    return Share(value, percent)


_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_DURATION_SCHEMA = {
    "type": ["string", "integer"],
    "pattern": r"^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)$",
}

TEXT = Scalar("text", str)
_NAME = Scalar("a name", _name, remedy="choose a short, telling name")
_INTEGER = Scalar("a whole number", _integer, text=False, schema={"type": "integer"})
_BOOLEAN = Scalar("true or false", _boolean, text=False, schema={"type": "boolean"})
_DURATION = Scalar(
    "a duration such as 30s", _duration, "bad-duration", "give a unit: ms, s, m, h, d, w or y", schema=_DURATION_SCHEMA
)
_TEXT_TEMPLATE = _template(TemplateKind.TEXT, "text")

OF_TYPE: dict[type, Scalar] = {
    str: TEXT,
    int: _INTEGER,
    bool: _BOOLEAN,
    Secret: Scalar("text", Secret),
    Matcher: Scalar(
        'a matcher such as tier="web"',
        parse_matcher,
        "bad-matcher",
        'write it as name="value", with =, !=, =~ or !~, in single quotes',
    ),
    Comparison: Scalar(
        "a comparison such as '> 0.10'",
        parse_comparison,
        "bad-comparison",
        "write one of > >= < <= == != and a number, in quotes",
    ),
    Rate: Scalar("a rate such as 3/1h", _rate, remedy="write how many in how long: 3/1h"),
    Share: Scalar(
        "a number or a share such as 30%",
        _share,
        remedy="write a number such as 3, or a share such as 30%",
        schema={"type": ["string", "integer"]},
    ),
}
"""The scalar of a Python type."""

OF_FIELD_TYPE: dict[FieldType, Scalar] = {
    FieldType.NAME: _NAME,
    FieldType.NAME_TEMPLATE: replace(_NAME, parse=lambda text: _TEXT_TEMPLATE.parse(_name(text))),
    FieldType.EXPRESSION: Scalar(
        "a PromQL expression", _expression, remedy="write PromQL whose series carry the labels of services"
    ),
    FieldType.DURATION: _DURATION,
    FieldType.POSITIVE_DURATION: replace(_DURATION, parse=_positive_duration, remedy="write a duration such as 30s"),
    FieldType.POSITIVE_INTEGER: replace(_INTEGER, parse=_positive_integer, schema={"type": "integer", "minimum": 1}),
    FieldType.BAD_HEALTH: one_of(Health.DEGRADED, Health.FAILED),
    FieldType.JUDGED_HEALTH: one_of(Health.HEALTHY, Health.DEGRADED, Health.FAILED),
    FieldType.TEXT_TEMPLATE: _TEXT_TEMPLATE,
    FieldType.ARGUMENT_TEMPLATE: _template(TemplateKind.ARGUMENT, "text"),
    FieldType.SHELL_TEMPLATE: _template(TemplateKind.SHELL, "shell text"),
    FieldType.URL_TEMPLATE: _template(TemplateKind.URL, "a URL"),
    FieldType.PROMQL_TEMPLATE: _template(TemplateKind.PROMQL, "a PromQL expression"),
}
"""The scalar of a field type."""

"""What a field's value stands for, beyond its Python type: a duration, a name, one argument of a command.

Only types, and how a value of each is shown. `config.scalars` says how each is read from a document.
"""

from __future__ import annotations

import typing
from enum import Enum, auto
from functools import cache
from typing import Annotated, Any

from remediator.model.durations import format_duration
from remediator.model.health import Health


class FieldType(Enum):
    """Marks a field's type: `Annotated[float, FieldType.DURATION]`."""

    NAME = auto()
    NAME_TEMPLATE = auto()
    EXPRESSION = auto()
    DURATION = auto()
    POSITIVE_DURATION = auto()
    POSITIVE_INTEGER = auto()
    BAD_HEALTH = auto()
    JUDGED_HEALTH = auto()
    TEXT_TEMPLATE = auto()
    ARGUMENT_TEMPLATE = auto()
    SHELL_TEMPLATE = auto()
    URL_TEMPLATE = auto()
    PROMQL_TEMPLATE = auto()

    def show(self, value: Any) -> Any:
        """The value as it is written in a document."""
        durations = (FieldType.DURATION, FieldType.POSITIVE_DURATION)
        return format_duration(value) if self in durations and value is not None else value


Name = Annotated[str, FieldType.NAME]
NameTemplate = Annotated[str, FieldType.NAME_TEMPLATE]
Expression = Annotated[str, FieldType.EXPRESSION]
Duration = Annotated[float, FieldType.DURATION]
"""Seconds."""
PositiveDuration = Annotated[float, FieldType.POSITIVE_DURATION]
PositiveInteger = Annotated[int, FieldType.POSITIVE_INTEGER]
BadHealth = Annotated[Health, FieldType.BAD_HEALTH]
JudgedHealth = Annotated[Health, FieldType.JUDGED_HEALTH]
TextTemplate = Annotated[str, FieldType.TEXT_TEMPLATE]
ArgumentTemplate = Annotated[str, FieldType.ARGUMENT_TEMPLATE]
ShellTemplate = Annotated[str, FieldType.SHELL_TEMPLATE]
UrlTemplate = Annotated[str, FieldType.URL_TEMPLATE]
PromqlTemplate = Annotated[str, FieldType.PROMQL_TEMPLATE]


class ScalarOrList(Enum):
    """Marks a list that may be written as its only item."""

    SCALAR_OR_LIST = auto()


SCALAR_OR_LIST = ScalarOrList.SCALAR_OR_LIST


@cache
def field_types(cls: type) -> dict[str, FieldType]:
    """The field types of a struct's fields, by name; fields of a plain type are left out."""
    found = {name: _field_type(hint) for name, hint in typing.get_type_hints(cls, include_extras=True).items()}
    return {name: mark for name, mark in found.items() if mark is not None}


def _field_type(hint: Any) -> FieldType | None:
    """The field type of a hint, or of one of its alternatives."""
    marks = getattr(hint, "__metadata__", ())
    mark = next((mark for mark in marks if isinstance(mark, FieldType)), None)
    if mark is not None or typing.get_origin(hint) in (tuple, dict):
        return mark
    return next(filter(None, map(_field_type, typing.get_args(hint))), None)

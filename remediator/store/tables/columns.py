"""Values in the form of columns and of statement parameters: as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Any

import msgspec

_FEW = 8


def few(rows: Sized) -> bool:
    """Whether these are quicker written one by one than by one statement that reads them from JSON."""
    return len(rows) <= _FEW


def has_nul(texts: Iterable[str]) -> bool:
    """Whether one of these cannot be handed over as JSON: SQLite's JSON functions end a text at its first NUL."""
    return any("\0" in text for text in texts)


def encode(value: object) -> str:
    """JSON for a column."""
    return msgspec.json.encode(value).decode()


def many(rows: Sequence[Sequence[Any]]) -> str:
    """Rows for `json_each`: one object, whose keys number them from 0."""
    return encode({str(number): row for number, row in enumerate(rows)})

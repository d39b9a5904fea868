"""Values in the form of columns and of statement parameters: as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


def encode(value: object) -> str:
    """JSON for a column."""
    return msgspec.json.encode(value).decode()


def many(rows: Sequence[Sequence[Any]]) -> str:
    """Rows for `json_each`: one object, whose keys number them from 0."""
    return encode({str(number): row for number, row in enumerate(rows)})

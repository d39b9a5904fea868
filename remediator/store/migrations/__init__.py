"""The versions of the schema, one SQL file each, written for SQLite. Each later one only adds to those before.

So a replica of the version before can continue beside one that has brought the schema forward.
"""

from __future__ import annotations

from importlib import resources


def migrations() -> list[str]:
    """The SQL of every version, the first at index 0."""
    files = (file for file in resources.files(__name__).iterdir() if file.name.endswith(".sql"))
    return [file.read_text(encoding="utf-8") for file in sorted(files, key=lambda file: file.name)]

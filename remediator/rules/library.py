"""The rule files that come with the package, by name: `remediator/kubernetes`."""

from __future__ import annotations

from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from remediator.config.document import Document

PREFIX = "remediator/"
"""What the name of a shipped file begins with, where a rule file is meant."""


@cache
def shipped_names() -> tuple[str, ...]:
    """The names of the shipped rule files."""
    names = (file.name for file in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".yml") for name in names if name.endswith(".yml")))


def shipped_text(name: str) -> str:
    """The text of a shipped rule file."""
    return (_folder() / f"{name}.yml").read_text(encoding="utf-8")


def open_shipped(name: str) -> Document:
    """A shipped rule file as a document."""
    return Document(f"{PREFIX}{name}.yml", shipped_text(name))


def _folder() -> Traversable:
    # A wheel has the files in the package, a checkout at its top.
    packaged = resources.files("remediator") / "library"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "rules"

"""Every change can be made, and what is left is Python; whether the tests notice it, `python -m mutation` tells."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest
from mutation.changes import ROOT, Change, read_changes


def test_no_two_have_one_name() -> None:
    names = [change.name for change in read_changes()]
    assert len(names) == len(set(names)) > 0


@pytest.mark.parametrize("change", read_changes(), ids=lambda change: change.name)
def test_it_can_be_made(change: Change, tmp_path: Path) -> None:
    copy = tmp_path / change.file
    copy.parent.mkdir(parents=True)
    shutil.copy(ROOT / change.file, copy)
    change.make(tmp_path)
    if copy.suffix == ".py":
        ast.parse(copy.read_text())
    for path in change.tests:
        assert (ROOT / path.split("::")[0]).exists()

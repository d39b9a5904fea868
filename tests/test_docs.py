"""The generated pages of docs/ say what the code says, and the maps name files that exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_of_metrics_is_what_make_docs_would_write() -> None:
    generate = runpy.run_path(str(ROOT / "docs/generate.py"))
    page = generate["metrics_page"]()
    assert page.count("\n| `remediator_") > 20
    assert page == generate["PAGE"].read_text(encoding="utf-8"), "run make docs"


@pytest.mark.parametrize(("page", "folder"), [("CONTRIBUTING.md", ROOT), ("ARCHITECTURE.md", ROOT / "remediator")])
def test_the_files_that_a_page_names_are_there(page: str, folder: Path) -> None:
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", (ROOT / page).read_text(encoding="utf-8"))
    # A recipe names what it makes, too: NAME, or a version N.
    found = {name for name in named if not re.search(r"NAME|_N\b|N-1", name)}
    assert len(found) > 15
    assert {name for name in found if not (folder / name).exists()} == set()

"""The generated pages of docs/ say what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_of_metrics_is_what_make_docs_would_write() -> None:
    generate = runpy.run_path(str(ROOT / "docs/generate.py"))
    page = generate["metrics_page"]()
    assert page.count("\n| `remediator_") > 20
    assert page == generate["PAGE"].read_text(encoding="utf-8"), "run make docs"

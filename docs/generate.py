"""Writes docs/metrics.md and rules/COVERAGE.md: every metric, and every alert of the library's table, from where they are defined.

    .venv/bin/python docs/generate.py

tests/test_docs.py and tests/library/test_matrix.py fail when a page is not what this would write.
"""

from __future__ import annotations

import sys
from pathlib import Path

from remediator.metrics import Metrics

PAGE = Path(__file__).with_name("metrics.md")
_HEAD = """# Metrics

What remediator exports about itself at `/metrics`, beside the usual `process_` and `python_` metrics.
`make docs` writes this page.

| metric | type | labels | says |
|---|---|---|---|
"""


def metrics_page() -> str:
    """The page as Markdown: one row for each metric family, by name."""
    metrics = Metrics()
    rows = []
    collectors = {collector for attribute in vars(metrics).values() if hasattr(collector := attribute, "describe")}
    for collector in collectors:
        for family in collector.describe():
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in getattr(collector, "_labelnames", ()))
            rows.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |\n")
    health = metrics.service_health
    rows.append(f"| `{health.name}` | gauge | {', '.join(f'`{label}`' for label in health.labels)} | {health.text} |\n")
    return _HEAD + "".join(sorted(row for row in rows if row.startswith("| `remediator_")))


if __name__ == "__main__":
    PAGE.write_text(metrics_page(), encoding="utf-8")
    sys.path.append(str(PAGE.parents[1] / "tests"))
    from library import matrix

    matrix.PAGE.write_text(matrix.coverage_page(), encoding="utf-8")

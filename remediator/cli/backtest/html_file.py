"""A backtest's page as a file."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from remediator.errors import RemediatorError
from remediator.simulation.backtest.html_report import page
from remediator.simulation.backtest.report import Report


@contextlib.contextmanager
def page_file(name: str | None) -> Iterator[Callable[[Report], None]]:
    """What writes the page, once it is known that it can be written. A page that is there stays until another is whole."""
    if name is None:
        yield lambda _: None
        return
    # A link stays one, and what is no file, as /dev/stdout, is written to as it is.
    file = Path(name).resolve()
    aside = file if file.exists() and not file.is_file() else file.with_name(f".{file.name}.{os.getpid()}.part")

    def write(report: Report) -> None:
        try:
            aside.write_text(page(report), encoding="utf-8")
            if aside != file:
                if file.exists():
                    shutil.copymode(file, aside)
                os.replace(aside, file)
        except OSError as error:
            raise RemediatorError(f"cannot write {name}: {error.strerror or error}") from None
        print(f"wrote {name}", file=sys.stderr)

    try:
        if aside != file or file.is_dir():
            aside.open("a").close()
    except OSError as error:
        raise RemediatorError(f"cannot write {name}: {error.strerror or error}") from None
    try:
        yield write
    finally:
        if aside != file:
            aside.unlink(missing_ok=True)

"""Writing a backtest's HTML page to a file, whole or not at all."""

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
    """Yields the function that writes the page. Fails at once when the file cannot be written.

    An existing page is replaced only when the new one is complete.
    """
    if name is None:
        yield lambda _: None
        return
    # A symbolic link is kept. What is no regular file, such as /dev/stdout, is written to directly.
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

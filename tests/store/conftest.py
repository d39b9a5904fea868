"""Stores to run the contract against. A further implementation is one more entry of OPENERS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from remediator.store import Store
from remediator.store.sqlite import open_sqlite

Opener = Callable[[Path], Awaitable[Store]]

OPENERS: dict[str, Opener] = {"sqlite": lambda folder: open_sqlite(str(folder / "remediator.db"))}
"""Each opens the database of a test's folder; a second call opens the same one."""


@pytest.fixture(params=OPENERS)
def opener(request: pytest.FixtureRequest) -> Opener:
    return OPENERS[request.param]


@pytest.fixture
async def store(opener: Opener, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await opener(tmp_path)
    yield opened
    await opened.close()

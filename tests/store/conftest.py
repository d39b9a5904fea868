"""Stores to run the contract against. A further implementation is one more entry of OPENERS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from remediator.store import Store
from remediator.store.sqlite import open_in_memory, open_sqlite

Opener = Callable[[Path], Awaitable[Store]]

OPENERS: dict[str, Opener] = {"sqlite": lambda folder: open_sqlite(str(folder / "remediator.db"))}
"""Each opens the database of a test's folder; a second call opens the same one."""


async def _in_memory(folder: Path) -> Store:
    return open_in_memory()


@pytest.fixture(params=OPENERS)
def opener(request: pytest.FixtureRequest) -> Opener:
    return OPENERS[request.param]


@pytest.fixture(params=[*OPENERS, "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await OPENERS.get(request.param, _in_memory)(tmp_path)
    yield opened
    await opened.close()

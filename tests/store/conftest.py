"""Stores to run the contract against. A further implementation is one more entry of OPENERS."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from real.postgresql import shared_cluster

from remediator.store.interface import Store
from remediator.store.postgresql import open_postgresql
from remediator.store.sqlite import open_in_memory, open_sqlite

Opener = Callable[[Path], Awaitable[Store]]


def database_of(folder: Path) -> str:
    """The address of the database of a test's folder, which is made when there is none."""
    name = sha256(str(folder).encode()).hexdigest()[:16]
    with contextlib.suppress(psycopg.errors.DuplicateDatabase):
        shared_cluster().create(name)
    return shared_cluster().url(name)


async def _postgresql(folder: Path) -> Store:
    store = await open_postgresql(database_of(folder))
    # It leads, and lets another lead that opens the database after it.
    store.fence.epoch = (await store.claim_lease("a test", "", 0.0))[0].epoch
    return store


OPENERS: dict[str, Opener] = {
    "sqlite": lambda folder: open_sqlite(str(folder / "remediator.db")),
    "postgresql": _postgresql,
}
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

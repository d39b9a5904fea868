"""What the tests of announcers share: a store, and a story to tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from notify.story import HastyClock, Story

from remediator.store.sql_store import SqlStore
from remediator.store.sqlite import open_sqlite


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    opened = await open_sqlite(str(tmp_path / "remediator.db"))
    yield opened
    await opened.close()


@pytest.fixture
def story(store: SqlStore) -> Story:
    return Story(store)

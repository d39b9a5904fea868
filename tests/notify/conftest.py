"""What the tests of announcers share: a store, a Grafana, and a story to tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from doubles.grafana import GrafanaDouble
from notify.story import HastyClock, Story

from remediator.clients.grafana import Grafana
from remediator.clients.http_options import HttpClient
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


@pytest.fixture
async def double() -> AsyncIterator[GrafanaDouble]:
    grafana = GrafanaDouble()
    await grafana.start()
    yield grafana
    await grafana.stop()


@pytest.fixture
async def grafana(double: GrafanaDouble) -> AsyncIterator[Grafana]:
    client = Grafana(HttpClient(double.url))
    yield client
    await client.close()

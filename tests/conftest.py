"""What tests of several directories share: a stand-in for Grafana, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from doubles.grafana import GrafanaDouble

from remediator.clients.grafana import Grafana
from remediator.clients.http_options import HttpClient


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

"""What tests of several directories share: a stand-in for Grafana, a client of it, and the end of what they shared."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from doubles.grafana import GrafanaDouble
from hypothesis import HealthCheck, settings
from real.postgresql import end_shared_cluster

from remediator.clients.grafana import Grafana
from remediator.clients.http_options import HttpClient

# What is slow is for the benchmarks to find: a test that it fails says nothing about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


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


def pytest_sessionfinish() -> None:
    """End what all tests of this process shared, under xdist in each of its workers."""
    end_shared_cluster()

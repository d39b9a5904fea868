"""A runner that must leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from real.processes import children, descriptors

from remediator.actions.runner import Runner


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    """A runner; after the test it has left no descriptor, no child and no task."""
    before = descriptors(), children()
    runner = Runner()
    yield runner
    await runner.close()
    assert descriptors() == before[0]
    assert children() == before[1]
    assert asyncio.all_tasks() == {asyncio.current_task()}

"""A running web for each test, and a real Chromium to see it with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from doubles.site import Site, serving
from playwright.async_api import Browser, async_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # Where there is no package chromium, Playwright's own is used; what is missing it says by itself.
        path = CHROMIUM if Path(CHROMIUM).exists() else None
        running = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        await running.close()

"""The pages in a real Chromium behind a real nginx, under a path of its server: it hands the path on, or takes it away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from doubles.past import open_incident
from doubles.site import NOW, serving
from doubles.system import view
from playwright.async_api import Browser, expect
from real.nginx import RealNginx
from real.prometheus import HANGS, free_port

from remediator.model.health import Health
from remediator.web.application import Security
from remediator.web.paths import WebPaths

expect.set_options(timeout=HANGS * 1000)

TOKEN = "remediator_" + "t" * 43


def secured() -> Security:
    security = Security()
    security.require_token(TOKEN, "/nowhere.token")
    return security


@pytest.mark.parametrize("prefix", ["/ops/heal", ""], ids=["hands the path on", "takes the path away"])
async def test_the_pages_under_a_path(browser: Browser, tmp_path: Path, prefix: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with serving(
        tmp_path, security=secured(), paths=WebPaths("/ops/heal", prefix), external_url=f"{url}/ops/heal/"
    ) as site:
        site.system.views["shop/checkout"] = view("shop/checkout", Health.FAILED, NOW)
        upstream = f"http://127.0.0.1:{site.port}{'' if prefix else '/'}"
        nginx = RealNginx(tmp_path, "/ops/heal/", upstream, port)
        await asyncio.to_thread(nginx.__enter__)
        context = await browser.new_context()
        context.set_default_timeout(HANGS * 1000)
        try:
            page = await context.new_page()
            asked: list[tuple[int, str]] = []
            page.on("response", lambda answer: asked.append((answer.status, urlsplit(answer.url).path)))
            await page.goto(f"{url}/ops/heal/sign-in")
            await page.get_by_label("Credential").fill(TOKEN)
            await page.get_by_role("button", name="Sign in").click()
            await expect(page.locator("#live")).to_have_text("live")
            assert urlsplit(page.url).path == "/ops/heal/"
            assert {cookie["path"] for cookie in await context.cookies()} == {"/ops/heal/"}

            await open_incident(site, "shop/checkout")
            assert site.parts is not None
            site.parts.committed.notify()
            await expect(page.locator("#services")).to_contain_text("Incident 1")
            for name in ("Incidents", "Alerts", "Rules", "Services"):
                await page.get_by_role("navigation").get_by_role("link", name=name).click()
                await expect(page.locator('nav [aria-current="page"]')).to_have_text(name)
            await page.locator("#services").get_by_role("link", name="shop/checkout").click()
            await page.get_by_label("Comment").fill("customers wait")
            if await page.get_by_label("Your name").count():
                await page.get_by_label("Your name").fill("ada")
            await page.get_by_role("button", name="Heal").click()
            await expect(page.locator("p.notice")).to_contain_text("The heal is asked for")
            assert urlsplit(page.url).path == "/ops/heal/services/shop/checkout"
            await page.goto(f"{url}/ops/heal/incidents/99")
            await page.get_by_role("link", name="To the overview").click()
            await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
            await page.get_by_role("button", name="Sign out").click()
            await expect(page.get_by_role("link", name="Sign in")).to_be_visible()
            assert {path for status, path in asked if status >= 400} == {"/ops/heal/incidents/99"}
            assert all(path.startswith("/ops/heal/") for _, path in asked)
        finally:
            await context.close()
            await asyncio.to_thread(nginx.__exit__)

"""The pages in a real Chromium: they work by hand, fit a phone, keep themselves fresh, and run nothing from outside."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from aiohttp import web
from doubles.past import HOSTILE, open_incident, recovered_incident
from doubles.site import NOW, Site, serving
from doubles.system import view
from playwright.async_api import Browser, Page, expect
from real.prometheus import HANGS

from remediator.model.health import Health
from remediator.model.rules import Mode
from remediator.web.application import load_security
from remediator.web.context import STREAMS

expect.set_options(timeout=HANGS * 1000)


@pytest.fixture
async def page(browser: Browser, tmp_path: Path) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": 390, "height": 844})
    context.set_default_timeout(HANGS * 1000)
    opened = await context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    yield opened
    assert complaints == []
    await context.close()


async def test_the_pages_fit_a_phone_and_run_nothing_from_outside(site: Site, page: Page) -> None:
    await open_incident(site, "shop/checkout", hostile=HOSTILE + "x" * 300)
    await recovered_incident(site, "cart")
    site.system.views[HOSTILE] = view(HOSTILE, Health.DEGRADED, NOW)
    site.system.rulebook = {"services": [{"name": HOSTILE, "labels": {"a": HOSTILE}}]}
    for path in ("/", "/incidents", "/incidents/1", "/services/shop/checkout", "/alerts", "/rules"):
        await page.goto(site.url + path)
        await expect(page.locator("main")).to_contain_text("<script>document.title='owned'</script>")
        assert "owned" not in (await page.title()).split("·")[-1]
        assert await page.evaluate("document.title") != "owned"
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390, path


async def test_the_heal_button_works(site: Site, page: Page) -> None:
    site.system.views["shop/checkout"] = view("shop/checkout", Health.FAILED, NOW)
    await page.goto(site.url + "/")
    await page.get_by_role("link", name="shop/checkout").click()
    await page.get_by_label("Your name").fill("ada")
    await page.get_by_label("Comment").fill("customers wait")
    await page.get_by_role("button", name="Heal").click()
    await expect(page.locator("p.notice")).to_contain_text("The heal is asked for")
    (stored,) = await site.store.firing_alerts()
    assert stored.alert.annotations["author"] == "ada"
    assert stored.alert.annotations["comment"] == "customers wait"
    await expect(page.get_by_label("Your name")).to_have_value("ada")


async def test_an_incident_is_approved_by_hand(site: Site, page: Page) -> None:
    await open_incident(site, "checkout", Mode.APPROVE)
    await page.goto(site.url + "/incidents/1")
    await page.get_by_label("Your name").fill("ada")
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator("p.notice")).to_contain_text("Approved")
    incident = await site.store.incident(1)
    assert incident is not None
    assert incident.approval is not None
    assert incident.approval.approved
    await expect(page.get_by_role("button", name="Approve")).to_have_count(0)


async def test_healing_is_paused_and_resumed_by_hand(site: Site, page: Page) -> None:
    await page.goto(site.url + "/")
    await page.get_by_text("Pause healing").click()
    await page.get_by_role("textbox", name="Matchers").fill('tier="web"')
    await page.get_by_label("Why").fill("release")
    await page.get_by_label("Your name").fill("ada")
    await page.get_by_role("button", name="Pause", exact=True).click()
    await expect(page.get_by_role("heading", name="Healing is paused")).to_be_visible()
    await page.get_by_role("button", name="Resume").click()
    await expect(page.get_by_role("heading", name="Healing is paused")).to_have_count(0)


async def test_a_page_keeps_itself_fresh(site: Site, page: Page) -> None:
    site.system.views["checkout"] = view("checkout", Health.HEALTHY, NOW)
    await page.goto(site.url + "/")
    await expect(page.locator("#live")).to_have_text("live")
    assert site.app is not None
    assert site.parts is not None
    assert len(site.app[STREAMS]) == 1
    filter_box = page.get_by_role("searchbox")
    await filter_box.fill("half a wo")
    await open_incident(site, "checkout")
    site.parts.committed.notify()
    await expect(page.locator("#services")).to_contain_text("Incident 1")
    await expect(filter_box).to_have_value("half a wo")


async def test_pages_of_a_site_with_a_password(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{ada: {bcrypt.hashpw(b'lovelace', bcrypt.gensalt(4)).decode()}}}")
    async with serving(tmp_path, security=load_security(path)) as site:
        site.system.views["cart"] = view("cart")
        async with browsing(browser, http_credentials={"username": "ada", "password": "lovelace"}) as page:
            await page.goto(site.url + "/services/cart")
            await expect(page.get_by_label("Your name")).to_have_count(0)
            await page.get_by_role("button", name="Heal").click()
            await expect(page.locator("p.notice")).to_contain_text("The heal is asked for")
        (stored,) = await site.store.firing_alerts()
        assert stored.alert.annotations["author"] == "ada"


async def test_another_site_cannot_post_a_form(site: Site, browser: Browser) -> None:
    site.system.views["cart"] = view("cart")
    form = f"""<form method="post" action="{site.url}/services/cart/heal"><input name="author" value="x">
        <input name="comment" value="x"><button>Win a prize</button></form>"""

    async def lure(_: web.Request) -> web.Response:
        return web.Response(text=form, content_type="text/html")

    async with browsing(browser) as page:
        app = web.Application()
        app.router.add_get("/", lure)
        server = web.AppRunner(app)
        await server.setup()
        await web.TCPSite(server, "127.0.0.1", 0).start()
        await page.goto(site.url + "/services/cart")
        await page.goto(f"http://localhost:{server.addresses[0][1]}/")
        await page.get_by_role("button").click()
        await expect(page.locator("main")).to_contain_text("cannot do that for another site")
        await server.cleanup()
    assert await site.store.firing_alerts() == []


@contextlib.asynccontextmanager
async def browsing(browser: Browser, **options: Any) -> AsyncIterator[Page]:
    context = await browser.new_context(**options)
    context.set_default_timeout(HANGS * 1000)
    try:
        yield await context.new_page()
    finally:
        await context.close()

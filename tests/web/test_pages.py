"""The pages as the server makes them: what stands on them, what is escaped, and what a form may do."""

from __future__ import annotations

import re
from typing import Any

import pytest
from doubles.past import HOSTILE, open_incident, recovered_incident
from doubles.site import Site
from doubles.system import view

from remediator.model.health import Health
from remediator.model.rules import Mode

HTML = {"Accept": "text/html"}


async def page(site: Site, path: str, status: int = 200) -> str:
    got, text = await site.text("GET", path, headers=HTML)
    assert got == status, text
    assert text.startswith("<!doctype html>")
    return text


async def submit(site: Site, path: str, status: int, **fields: str) -> str:
    """Post a form as a browser does that has one of the pages open."""
    token = re.search(r'name="csrf" value="([0-9a-f]{32})"', await page(site, "/"))
    assert token is not None
    data = {"csrf": token[1], "author": "ada", "comment": "because", **fields}
    async with site.session.post(site.url + path, data=data, headers=HTML, allow_redirects=False) as response:
        assert response.status == status, await response.text()
        return response.headers["Location"] if status == 303 else await response.text()


PAGES = ("/", "/incidents", "/incidents/1", "/services/shop/checkout", "/alerts", "/rules")


@pytest.mark.parametrize("path", PAGES)
async def test_what_comes_from_outside_is_escaped(site: Site, path: str) -> None:
    await open_incident(site, "shop/checkout", hostile=HOSTILE)
    site.system.views[HOSTILE] = view(HOSTILE, Health.DEGRADED, labels={"service": HOSTILE})
    site.system.rulebook = {"services": [{"name": HOSTILE}]}
    text = await page(site, path)
    assert "<script>document" not in text
    assert "&lt;script&gt;document" in text


async def test_overview(site: Site) -> None:
    await open_incident(site, "checkout")
    site.system.views["mail"] = view("mail", labels={"team": "post"})
    site.system.reasons = ["the store is still being read"]
    text = await page(site, "/")
    assert text.index(">checkout<") < text.index(">mail<")
    assert "the store is still being read" in text
    assert "cooldown of web is 10m" in text
    filtered = await page(site, "/?q=team%3Dpost")
    assert ">checkout</bdi></a></th>" not in filtered
    assert "1 of 2 services" in filtered
    assert "No service fits." in await page(site, "/?q=nothing")
    assert ">mail</bdi></a></th>" not in await page(site, "/?health=failed")


async def test_alerts_that_no_person_is_sent_are_said(site: Site) -> None:
    assert "No person is sent" not in await page(site, "/")
    site.system.unpaged = ["InstanceDown"]
    text = await page(site, "/")
    assert (
        "No person is sent InstanceDown: by Alertmanager&#39;s route no receiver but remediator&#39;s gets it." in text
        or ("No person is sent InstanceDown: by Alertmanager's route no receiver but remediator's gets it." in text)
    )
    site.system.unpaged = [f"A{number}" for number in range(12)]
    assert "A9 and 2 more" in await page(site, "/")


async def test_ten_thousand_services_are_not_all_shown(site: Site) -> None:
    site.system.views = {f"s{number}": view(f"s{number}") for number in range(10_000)}
    text = await page(site, "/")
    assert text.count('scope="row"') == 200
    assert "The first 200 of 10000 services" in text


async def test_an_incident_tells_its_story_in_order(site: Site) -> None:
    await open_incident(site, "checkout", Mode.APPROVE)
    text = await page(site, "/incidents/1")
    marks = ["Opened", "Evidence", "systemctl status checkout", "pool exhausted", "Step 1, restart", ">Held<"]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert "It waits for an answer" in text
    assert "2027-01-15T07:58:22.000Z" in text
    closed = await recovered_incident(site, "cart")
    text = await page(site, f"/incidents/{closed.id}")
    assert "healthy for 30s after restart" in text
    assert "Dismiss" not in text


async def test_nothing_there(site: Site) -> None:
    for path in ("/incidents/99", "/services/nope", "/nowhere"):
        assert "<h1>404</h1>" in await page(site, path, 404)
    assert "No service is known yet" in await page(site, "/")
    assert "There are none." in await page(site, "/alerts")


async def test_older_pages(site: Site) -> None:
    for _ in range(51):
        await recovered_incident(site, "cart")
    text = await page(site, "/incidents?service=cart")
    older = re.search(r'href="(/incidents\?[^"]*before=2)"', text)
    assert older is not None
    text = await page(site, older[1].replace("&amp;", "&"))
    assert ">#1<" in text
    assert ">#2<" not in text


async def test_the_heal_button(site: Site) -> None:
    site.system.views["shop/cart"] = view("shop/cart")
    to = await submit(site, "/services/shop/cart/heal", 303, force="yes")
    assert to == "/services/shop/cart?done=heal"
    (stored,) = await site.store.firing_alerts()
    assert stored.alert.annotations == {"author": "ada", "comment": "because", "force": "true"}
    assert "The heal is asked for." in await page(site, to)
    assert 'value="ada"' in await page(site, "/services/shop/cart")
    assert "say why" in await submit(site, "/services/shop/cart/heal", 400, force="yes", comment="")
    assert "nope" in await submit(site, "/services/nope/heal", 404)


async def test_answers(site: Site) -> None:
    await open_incident(site, "checkout", Mode.APPROVE)
    assert await submit(site, "/incidents/1/approve", 303) == "/incidents/1?done=approve"
    incident = await site.store.incident(1)
    assert incident is not None
    assert incident.approval is not None
    assert incident.approval.author == "ada"
    assert "approved it already" in await submit(site, "/incidents/1/deny", 409)
    assert await submit(site, "/incidents/1/dismiss", 303) == "/incidents/1?done=dismiss"
    assert "dismissed by ada: because" in await page(site, "/incidents/1")


async def test_pauses(site: Site) -> None:
    assert await submit(site, "/pauses", 303, matchers='tier="web", team!="db"', duration="2h") == "/?done=pause"
    assert await submit(site, "/pauses", 303, matchers="", everything="yes", duration="1h") == "/?done=pause"
    assert [len(pause.matchers) for pause in await site.store.pauses(site.clock.at)] == [2, 0]
    text = await page(site, "/")
    assert "Healing is paused" in text
    assert "every service" in text
    assert await submit(site, "/pauses/1/resume", 303) == "/?done=resume"
    assert len(await site.store.pauses(site.clock.at)) == 1
    for fields in ({"matchers": "", "duration": "1h"}, {"matchers": "((", "duration": "1h"}, {"matchers": "a=b"}):
        await submit(site, "/pauses", 400, **fields)


@pytest.mark.parametrize("path", ["/services/cart/heal", "/pauses", "/pauses/1/resume", "/incidents/1/dismiss"])
async def test_a_form_without_its_token_does_nothing(site: Site, path: str) -> None:
    site.system.views["cart"] = view("cart")
    await open_incident(site, "checkout")
    fields: dict[str, Any] = {"author": "ada", "comment": "x", "duration": "1h", "everything": "yes"}
    assert (await site.text("POST", path, data=fields, headers=HTML))[0] == 403
    await page(site, "/")
    for token in ("", "0" * 32):
        assert (await site.text("POST", path, data={**fields, "csrf": token}, headers=HTML))[0] == 403
    assert (await site.text("POST", path, json=fields, headers=HTML))[0] == 415
    alerts = await site.store.firing_alerts()
    assert [stored.alert.source for stored in alerts] == ["alertmanager"]
    assert await site.store.pauses(site.clock.at) == []
    assert len(await site.store.open_incidents()) == 1


async def test_cookies_are_kept_to_this_site(site: Site) -> None:
    async with site.session.get(site.url + "/") as response:
        cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


async def test_static_files(site: Site) -> None:
    for name, kind in (("style.css", "text/css"), ("live.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        async with site.session.get(f"{site.url}/static/{name}") as response:
            assert response.status == 200
            assert response.content_type == kind
    for name in ("../pages.py", "..%2fpages.py", "base.html", "%2e%2e/%2e%2e/app.py"):
        assert (await site.text("GET", f"/static/{name}"))[0] == 404

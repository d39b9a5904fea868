"""Rights: every route with every role, services that a role is limited to, and proxies that sign people in."""

from __future__ import annotations

import logging
from pathlib import Path

import bcrypt
import pytest
from doubles.past import open_incident
from doubles.site import Site, basic, serving
from doubles.system import view

from remediator.errors import ConfigError, RemediatorError
from remediator.model.matcher import parse_matcher
from remediator.model.rules import Mode
from remediator.web.application import Security, check_listen, load_security
from remediator.web.permissions import ROUTES, Principal
from remediator.web.roles import Grant, Role

ROLES = list(Role)
HASH = bcrypt.hashpw(b"x", b"$2b$04$abcdefghijklmnopqrstuu").decode()
USERS = "basic_auth_users:\n" + "".join(f"  {role}: {HASH}\n" for role in [*ROLES, "a", "b", "ops-a"])
CONFIG = (
    USERS
    + f"webhook_users: {{alertmanager: {HASH}}}\nroles:\n"
    + "".join(f"  {role}: {role}\n" for role in ROLES)
    + "  a: {role: approver, match: ['team=\"a\"']}\n  b: {role: approver, match: ['team=\"b\"']}\n"
    + "  ops-a: {role: operator, match: ['team=\"a\"']}\n"
)

# Who may, route by route, written apart from the table that the code uses.
ANYONE = {("GET", "/-/healthy"), ("GET", "/-/ready"), ("GET", "/sign-in"), ("POST", "/sign-in"), ("POST", "/sign-out")}
SENDER = {("POST", "/webhook")}
LEAST = {
    ("GET", "/metrics"): Role.METRICS,
    ("POST", "/api/v1/sign-in-links"): Role.VIEWER,
    ("POST", "/incidents/{id}/{verb}"): Role.APPROVER,
    ("POST", "/api/v1/incidents/{id}/{verb}"): Role.APPROVER,
    ("POST", "/services/{name}/heal"): Role.OPERATOR,
    ("POST", "/pauses"): Role.OPERATOR,
    ("POST", "/pauses/{id}/resume"): Role.OPERATOR,
    ("POST", "/api/v1/services/{name}/heal"): Role.OPERATOR,
    ("POST", "/api/v1/pauses"): Role.OPERATOR,
    ("DELETE", "/api/v1/pauses/{id}"): Role.OPERATOR,
    ("POST", "/api/v1/services"): Role.ADMIN,
    ("DELETE", "/api/v1/services/{name}"): Role.ADMIN,
    ("POST", "/-/reload"): Role.ADMIN,
    ("PUT", "/-/reload"): Role.ADMIN,
}


def secured(folder: Path, text: str = CONFIG) -> Security:
    path = folder / "web.yml"
    path.write_text(text)
    return load_security(path)


def filled(path: str) -> str:
    return path.format(id=1, name="style.css" if "static" in path else "shop", verb="approve", fingerprint="x")


async def test_every_route_with_every_role(tmp_path: Path) -> None:
    async with serving(tmp_path, security=secured(tmp_path)) as site:
        assert site.app is not None
        routes = {
            (route.method, route.resource.canonical)
            for route in site.app.router.routes()
            if route.method != "HEAD" and route.resource is not None
        }
        assert routes == set(ROUTES)
        site.system.views["shop"] = view("shop")
        for method, path in sorted(routes - {("GET", "/api/v1/events")}):
            status, _ = await site.text(method, filled(path), allow_redirects=False)
            assert (status == 401) != ((method, path) in ANYONE), (method, path)
            for name, headers in (
                ("stranger", basic("stranger", "x")),
                ("alertmanager", basic("alertmanager", "x")),
                *((role, basic(role, "x")) for role in ROLES),
            ):
                status, _ = await site.text(method, filled(path), headers=headers, allow_redirects=False)
                place = (name, method, path, status)
                if (method, path) in ANYONE:
                    assert status not in (401,), place
                elif (method, path) in SENDER:
                    assert (status == 401) == (name != "alertmanager"), place
                elif name not in ROLES:
                    assert status == 401, place
                else:
                    least = LEAST.get((method, path), Role.VIEWER if method == "GET" else None)
                    assert least is not None, f"{method} {path} changes something, and this test does not know for whom"
                    allowed = ROLES.index(Role(name)) >= ROLES.index(least)
                    # A form without its token is refused too, by another sentence.
                    assert allowed or status == 403, place
                    if path.startswith(("/api", "/-/", "/metrics")) or method == "GET":
                        assert (status != 403) == allowed, place


async def test_scrapers_neither_pause_nor_heal_nor_look(tmp_path: Path) -> None:
    async with serving(tmp_path, security=secured(tmp_path)) as site:
        site.system.views["shop"] = view("shop")
        headers = basic("metrics", "x")
        assert (await site.text("GET", "/metrics", headers=headers))[0] == 200
        for method, path in (("GET", "/api/v1/services"), ("GET", "/"), ("GET", "/nothing"), ("PATCH", "/metrics")):
            assert (await site.text(method, path, headers=headers))[0] == 403
        body = {"matchers": [], "duration": "1h", "comment": "c"}
        status, answer = await site.ask("POST", "/api/v1/pauses", json=body, headers=headers)
        assert (status, answer["errorType"]) == (403, "forbidden")
        assert "metrics has the role metrics" in answer["error"]
        assert await site.store.pauses(0) == []


async def team_site(site: Site) -> None:
    await open_incident(site, "checkout", Mode.APPROVE)
    await open_incident(site, "search", Mode.APPROVE)
    for name, team in (("checkout", "a"), ("search", "b")):
        before = site.system.views[name]
        site.system.views[name] = view(name, before.health, incident=before.incident, labels={"team": team})


async def test_an_approver_answers_and_sees_buttons_for_their_team_only(tmp_path: Path) -> None:
    async with serving(tmp_path, security=secured(tmp_path)) as site:
        await team_site(site)
        html = {"Accept": "text/html", **basic("a", "x")}
        assert 'formaction="/incidents/1/approve"' in (await site.text("GET", "/incidents/1", headers=html))[1]
        assert "Dismiss" not in (await site.text("GET", "/incidents/1", headers=html))[1]
        _, other = await site.text("GET", "/incidents/2", headers=html)
        assert "search" in other
        assert 'method="post"' not in other
        for verb in ("approve", "deny", "dismiss"):
            status, answer = await site.ask(
                "POST", f"/api/v1/incidents/2/{verb}", json={"comment": "c"}, headers=basic("a", "x")
            )
            assert status == 403, answer
        status, _ = await site.ask(
            "POST", "/api/v1/incidents/1/dismiss", json={"comment": "c"}, headers=basic("a", "x")
        )
        assert status == 403
        assert (await site.ask("POST", "/api/v1/incidents/1/approve", json={}, headers=basic("a", "x")))[0] == 200
        first, second = await site.store.incident(1), await site.store.incident(2)
        assert first is not None
        assert second is not None
        assert first.approval is not None
        assert second.approval is None


async def test_labels_of_an_alert_do_not_widen_what_an_approver_may(tmp_path: Path) -> None:
    """The service's own labels count; an incident's are also those of its alert, which a stranger may have sent."""
    async with serving(tmp_path, security=secured(tmp_path)) as site:
        await team_site(site)
        del site.system.views["search"]
        assert (await site.ask("POST", "/api/v1/incidents/2/approve", json={}, headers=basic("a", "x")))[0] == 403


async def test_an_operator_operates_their_team_only(tmp_path: Path) -> None:
    async with serving(tmp_path, security=secured(tmp_path)) as site:
        await team_site(site)
        ops = basic("ops-a", "x")
        assert (await site.ask("POST", "/api/v1/services/checkout/heal", json={}, headers=ops))[0] == 202
        assert (await site.ask("POST", "/api/v1/services/search/heal", json={}, headers=ops))[0] == 403
        for matchers, status in (
            ([], 403),
            (['team="b"'], 403),
            (['team=~"a|b"'], 403),
            (['tier="web"'], 403),
            (['team="a"'], 201),
            (['team="a"', 'tier="web"'], 201),
        ):
            body = {"matchers": matchers, "duration": "1h", "comment": "c"}
            assert (await site.ask("POST", "/api/v1/pauses", json=body, headers=ops))[0] == status, matchers
        body = {"matchers": [], "duration": "1h", "comment": "c"}
        status, answer = await site.ask("POST", "/api/v1/pauses", json=body, headers=basic("operator", "x"))
        assert status == 201
        assert (await site.ask("DELETE", f"/api/v1/pauses/{answer['data']['id']}", headers=ops))[0] == 403
        assert (await site.ask("DELETE", "/api/v1/pauses/1", headers=ops))[0] == 200


def test_several_grants_add_up() -> None:
    both = Principal("x", (Grant(Role.APPROVER, (parse_matcher('team="a"'),)), Grant(Role.VIEWER)))
    from remediator.web.permissions import Permission

    assert both.may(Permission.ANSWER, {"team": "a"})
    assert not both.may(Permission.ANSWER, {"team": "b"})
    assert both.may(Permission.VIEW, {"team": "b"})
    assert not Principal("x", ()).may(Permission.METRICS)


# The file.


async def test_a_file_without_roles_means_what_it_meant_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        security = secured(tmp_path, f"basic_auth_users: {{ada: {HASH}}}")
    assert "gives no roles, so every user in basic_auth_users may do everything" in caplog.text
    async with serving(tmp_path, security=security) as site:
        assert (await site.ask("POST", "/-/reload", headers=basic("ada", "x")))[0] == 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"basic_auth_users: {{a: {HASH}, b: {HASH}}}\nroles: {{a: viewer}}", "the user 'b' has no role"),
        (f"basic_auth_users: {{a: {HASH}}}\nroles: {{a: viewer, c: admin}}", "there is no user 'c'"),
        (f"basic_auth_users: {{a: {HASH}}}\nroles: {{a: root}}", "root"),
        (
            f"basic_auth_users: {{a: {HASH}}}\nroles: {{a: {{role: admin, match: ['a=\"b\"']}}}}",
            "means nothing for the role",
        ),
        ("proxy: {trusted: [everyone]}", "neither an address nor a network"),
        ("proxy: {trusted: ['10.0.0.1'], user_header: 'X User'}", "no name of a header"),
        ("proxy: {groups: {sre: admin}}", "trusted"),
    ],
)
def test_wrong_roles_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"web\.yml:") as wrong:
        secured(tmp_path, text)
    assert message in str(wrong.value)
    assert HASH not in str(wrong.value)


# Proxies.

PROXY = "proxy:\n  trusted: [{}]\n  groups: {{sre: admin, oncall: {{role: operator, match: ['team=\"a\"']}}}}\nroles: {{ada: viewer}}\n"


async def test_a_trusted_proxy_names_people_and_groups(tmp_path: Path) -> None:
    async with serving(tmp_path, security=secured(tmp_path, PROXY.format("127.0.0.0/8"))) as site:
        await team_site(site)
        heal = ("POST", "/api/v1/services/checkout/heal")

        async def status(method: str, path: str, *headers: tuple[str, str]) -> int:
            given = list(headers)
            body = {} if method == "GET" else {"json": {}}
            async with site.session.request(method, site.url + path, headers=given, **body) as response:
                return response.status

        user, groups = "X-Forwarded-User", "X-Forwarded-Groups"
        assert await status("GET", "/api/v1/services", (user, "ada")) == 200
        assert await status(*heal, (user, "ada")) == 403
        assert await status(*heal, (user, "eve"), (groups, "staff,oncall")) == 202
        assert await status("POST", "/api/v1/services/search/heal", (user, "eve"), (groups, "oncall")) == 403
        assert await status("POST", "/-/reload", (user, "eve"), (groups, "staff"), (groups, "sre")) == 200
        assert await status("GET", "/api/v1/services", (user, "eve")) == 403
        assert await status("GET", "/api/v1/services", (user, "eve"), (groups, "SRE, sre2")) == 403
        for headers in ((), ((user, ""),), ((user, "ada"), (user, "root")), ((groups, "sre"),)):
            assert await status("GET", "/api/v1/services", *headers) == 401, headers


async def test_only_the_proxys_address_is_believed(tmp_path: Path) -> None:
    security = secured(tmp_path, CONFIG + "proxy: {trusted: [10.9.9.9], groups: {sre: admin}}\n")
    async with serving(tmp_path, security=security) as site:
        for headers in (
            {"X-Forwarded-User": "ada", "X-Forwarded-Groups": "sre"},
            {
                "X-Forwarded-User": "ada",
                "X-Forwarded-For": "10.9.9.9",
                "X-Real-IP": "10.9.9.9",
                "Forwarded": "for=10.9.9.9",
            },
        ):
            assert (await site.text("GET", "/api/v1/services", headers=headers))[0] == 401


def test_a_proxy_is_enough_to_listen_for_people(tmp_path: Path) -> None:
    security = secured(tmp_path, PROXY.format("10.9.9.9") + f"webhook_users: {{am: {HASH}}}\n")
    check_listen("0.0.0.0:9797", security, allow=False)
    with pytest.raises(RemediatorError, match="webhook_users"):
        check_listen("0.0.0.0:9797", secured(tmp_path, PROXY.format("10.9.9.9")), allow=False)

"""The HTTP API on a real server and store: what it shows, what it does, and how it says no."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import msgspec
import pytest
from doubles.past import open_incident, plan, recovered_incident
from doubles.site import NOW, Site
from doubles.system import view
from real.prometheus import HANGS

from remediator.errors import StoreError
from remediator.model.clock import rfc3339
from remediator.model.health import Health
from remediator.model.incident import EntryKind
from remediator.model.paging import PageAlert
from remediator.model.rules import Mode
from remediator.store.interface import NewIncident
from remediator.web.context import CLOSING, STREAMS, Leader

ADA = {"author": "ada", "comment": "because"}


async def get(site: Site, path: str) -> Any:
    status, answer = await site.ask("GET", path)
    assert (status, answer["status"]) == (200, "success"), answer
    return answer["data"]


async def refused(site: Site, method: str, path: str, status: int, **given: Any) -> str:
    got, answer = await site.ask(method, path, **given)
    assert got == status, answer
    assert answer["status"] == "error"
    assert answer["errorType"]
    return str(answer["error"])


async def test_health(site: Site) -> None:
    await open_incident(site, "checkout")
    await recovered_incident(site, "cart")
    site.system.reasons = ["the store is still being read"]
    data = await get(site, "/api/v1/health")
    assert data["services"] == {"failed": 1, "healthy": 1}
    assert data["incidentsOpen"] == 1
    assert data["verdicts"] == {"recovered": 1}
    assert data["meanTimeToRecoverySeconds"] == 90.0
    assert data["uptimeSeconds"] == 60.0
    assert data["startedAt"] == "2027-01-15T07:59:00.000Z"
    assert (data["ready"], data["notReady"]) == (False, ["the store is still being read"])


async def test_services(site: Site) -> None:
    incident = await open_incident(site, "shop/checkout")
    site.system.views["mail"] = view("mail", Health.UNKNOWN, NOW)
    assert [service["name"] for service in await get(site, "/api/v1/services")] == ["mail", "shop/checkout"]
    for path in ("/api/v1/services/shop/checkout", "/api/v1/services/shop%2Fcheckout"):
        data = await get(site, path)
        assert (data["name"], data["health"], data["incident"]) == ("shop/checkout", "failed", incident.id)
        assert data["hold"]["gate"] == "cooldown"
        assert data["readings"][0]["value"] == 0.2
    assert (await get(site, "/api/v1/services/mail"))["readings"][0]["value"] is None
    assert "'nope'" in await refused(site, "GET", "/api/v1/services/nope", 404)


async def test_why(site: Site) -> None:
    await open_incident(site, "shop/checkout")
    data = await get(site, "/api/v1/services/shop/checkout/why")
    assert [gate["gate"] for gate in data["gates"] if gate["hold"]] == ["cooldown"]
    assert data["incident"]["runs"][1]["call"] == "systemctl restart shop/checkout"
    assert data["incident"]["runs"][0]["step"] is None
    assert data["alerts"][0]["labels"]["alertname"] == "ErrorRatioHigh"
    assert data["facts"]["commands running"] == "0 of 4"
    await refused(site, "GET", "/api/v1/services/nope/why", 404)


async def test_heal(site: Site) -> None:
    site.system.views["shop/cart"] = view("shop/cart")
    status, answer = await site.ask("POST", "/api/v1/services/shop/cart/heal", json={**ADA, "force": True})
    assert status == 202
    assert answer["data"]["source"] == "operator"
    assert answer["data"]["annotations"] == {"author": "ada", "comment": "because", "force": "true"}
    assert len(await site.store.firing_alerts()) == 1
    await refused(site, "POST", "/api/v1/services/nope/heal", 404, json=ADA)
    heal = "/api/v1/services/shop/cart/heal"
    assert "author" in await refused(site, "POST", heal, 400)
    assert "comment" in await refused(site, "POST", heal, 400, json={"author": "ada", "force": True})
    assert "unknown field" in await refused(site, "POST", heal, 400, json={"author": "ada", "why": "x"})
    assert "Content-Type" in await refused(site, "POST", heal, 415, data=b'{"author":"ada"}')
    json_type = {"Content-Type": "application/json"}
    await refused(site, "POST", heal, 400, data=b"[" * 100_000, headers=json_type)
    await refused(site, "POST", heal, 400, data=b'{"author":"\xff"}', headers=json_type)
    await refused(site, "POST", heal, 413, data=io.BytesIO(b" " * 2_000_000), headers=json_type)
    await refused(site, "POST", heal, 400, json={"author": "ada", "comment": "x" * 5000})


async def test_incidents_by_pages(site: Site) -> None:
    for _ in range(5):
        await recovered_incident(site, "cart")
    last = await open_incident(site, "checkout")
    assert [i["id"] for i in await get(site, "/api/v1/incidents")] == [6, 5, 4, 3, 2, 1]
    assert [i["id"] for i in await get(site, "/api/v1/incidents?before=4&limit=2")] == [3, 2]
    assert [i["id"] for i in await get(site, "/api/v1/incidents?open=true")] == [last.id]
    assert len(await get(site, "/api/v1/incidents?service=cart")) == 5
    for query in ("limit=0", "limit=5000", "limit=x", "before=-1", "open=yes", "before=" + "9" * 40):
        await refused(site, "GET", f"/api/v1/incidents?{query}", 400)


async def test_an_incident_shows_its_runs_and_no_plan(site: Site) -> None:
    incident = await open_incident(site, "checkout")
    data = await get(site, f"/api/v1/incidents/{incident.id}")
    assert [run["outcome"] for run in data["runs"]] == ["succeeded", "succeeded"]
    assert data["openedAt"] == "2027-01-15T07:58:22.000Z"
    assert data["steps"] == [{"name": "restart", "action": "restart"}, {"name": "rollback", "action": "rollback"}]
    assert "plan" not in data
    await refused(site, "GET", "/api/v1/incidents/99", 404)
    await refused(site, "GET", "/api/v1/incidents/first", 404)


@pytest.mark.parametrize(("verb", "approved"), [("approve", True), ("deny", False)])
async def test_answers(site: Site, verb: str, approved: bool) -> None:
    incident = await open_incident(site, "checkout", Mode.APPROVE)
    path = f"/api/v1/incidents/{incident.id}/{verb}"
    status, answer = await site.ask("POST", path, json=ADA)
    assert status == 200
    assert answer["data"]["approval"] == {
        "approved": approved, "author": "ada", "comment": "because", "at": "2027-01-15T08:00:00.000Z"
    }  # fmt: skip
    assert site.system.woken_times == 1
    await refused(site, "POST", path, 409, json=ADA)
    await refused(site, "POST", f"/api/v1/incidents/99/{verb}", 404, json=ADA)


@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_an_answer_to_what_asks_nothing_is_refused_with_what_holds(site: Site, verb: str) -> None:
    incident = await open_incident(site, "checkout")
    path = f"/api/v1/incidents/{incident.id}/{verb}"
    refusal = await refused(site, "POST", path, 409, json=ADA)
    assert f"cannot {verb} incident {incident.id}: it does not wait for an answer; cooldown holds it: " in refusal
    await site.store.begin_step(incident.id, 1, 1, "rollback", "is run", "x", NOW, NOW + 60)
    assert "it does not wait for an answer; rollback is running" in await refused(site, "POST", path, 409, json=ADA)
    assert (await get(site, f"/api/v1/incidents/{incident.id}"))["approval"] is None
    assert site.system.woken_times == 0


async def test_dismiss(site: Site) -> None:
    incident = await open_incident(site, "checkout")
    path = f"/api/v1/incidents/{incident.id}/dismiss"
    assert "comment" in await refused(site, "POST", path, 400, json={"author": "ada"})
    run = await site.store.begin_step(incident.id, 1, 1, "rollback", "is run", "x", NOW, NOW + 60)
    assert "rollback runs" in await refused(site, "POST", path, 409, json=ADA)
    assert run.running
    assert site.system.woken_times == 0


async def test_dismiss_closes_it_with_who_and_why(site: Site) -> None:
    incident = await open_incident(site, "checkout")
    status, answer = await site.ask("POST", f"/api/v1/incidents/{incident.id}/dismiss", json=ADA)
    assert (status, answer["data"]["verdict"]) == (200, "dismissed")
    assert answer["data"]["closing"] == "dismissed by ada: because"
    assert site.system.woken_times == 1
    await refused(site, "POST", f"/api/v1/incidents/{incident.id}/dismiss", 409, json=ADA)


async def test_pauses(site: Site) -> None:
    given = {"matchers": ['tier="web"', 'team!~"db|ops"'], "duration": "2h", **ADA}
    status, answer = await site.ask("POST", "/api/v1/pauses", json=given)
    assert status == 201
    assert answer["data"]["matchers"] == given["matchers"]
    assert answer["data"]["endsAt"] == "2027-01-15T10:00:00.000Z"
    ends = {"matchers": [], "endsAt": "2027-01-15T09:00:00Z", **ADA}
    assert (await site.ask("POST", "/api/v1/pauses", json=ends))[0] == 201
    assert [pause["id"] for pause in await get(site, "/api/v1/pauses")] == [1, 2]
    status, answer = await site.ask("DELETE", "/api/v1/pauses/1?author=ada")
    assert (status, answer["data"]["id"]) == (200, 1)
    assert [pause["id"] for pause in await get(site, "/api/v1/pauses")] == [2]
    assert site.system.woken_times == 3
    await refused(site, "DELETE", "/api/v1/pauses/1?author=ada", 404)
    for change in (
        {"matchers": ["nonsense"]},
        {"duration": "soon"},
        {"duration": "0s"},
        {"duration": "9y"},
        {"comment": " "},
        {"author": ""},
        {"matchers": 'tier="web"'},
    ):
        await refused(site, "POST", "/api/v1/pauses", 400, json={**given, **change})
    await refused(site, "POST", "/api/v1/pauses", 400, json={"duration": "1h", **ADA})


async def test_history_by_pages(site: Site) -> None:
    await open_incident(site, "checkout")
    await recovered_incident(site, "cart")
    entries = await get(site, "/api/v1/history")
    assert entries == sorted(entries, key=lambda entry: -entry["id"])
    assert {entry["kind"] for entry in entries} >= {"incident_opened", "step_started", "incident_closed", "held"}
    older = await get(site, f"/api/v1/history?before={entries[1]['id']}&limit=1")
    assert older == [entries[2]]
    assert {entry["service"] for entry in await get(site, "/api/v1/history?service=cart")} == {"cart"}


async def test_alerts(site: Site) -> None:
    await open_incident(site, "checkout")
    (alert,) = await get(site, "/api/v1/alerts?firing=true")
    assert (alert["service"], alert["disposition"], alert["status"]) == ("checkout", "opened", "firing")
    assert await get(site, "/api/v1/alerts?service=other") == []
    assert await get(site, f"/api/v1/alerts?before={alert['seq']}") == []


async def test_one_alert_and_the_account_of_its_service(site: Site) -> None:
    await open_incident(site, "checkout")
    (alert,) = await get(site, "/api/v1/alerts?firing=true")
    data = await get(site, f"/api/v1/alerts/{alert['fingerprint']}")
    assert data["alerts"] == [alert]
    assert data["why"]["service"]["name"] == "checkout"
    assert "fingerprint 'none'" in await refused(site, "GET", "/api/v1/alerts/none", 404)


async def test_what_people_are_told_is_part_of_the_health(site: Site) -> None:
    page = PageAlert(
        {"alertname": "RemediationFailed", "service": "cart"}, {"summary": "cart failed"}, NOW - 60, "/incidents/7"
    )
    site.system.paged = [page]
    (shown,) = (await get(site, "/api/v1/health"))["pages"]
    assert shown == {
        "labels": page.labels,
        "annotations": page.annotations,
        "startsAt": "2027-01-15T07:59:00.000Z",
        "path": "/incidents/7",
    }
    status, text = await site.text("GET", "/", headers={"Accept": "text/html"})
    assert status == 200
    assert '<a href="/incidents/7">RemediationFailed</a> <bdi>cart failed</bdi>' in text


async def test_services_are_added_and_removed(site: Site) -> None:
    status, answer = await site.ask("POST", "/api/v1/services?author=ada", json={"name": "new", "target": "docker"})
    assert (status, answer["data"]["name"]) == (201, "new")
    await refused(site, "POST", "/api/v1/services?author=ada", 409, json={"name": "new"})
    assert "missing here" in await refused(site, "POST", "/api/v1/services?author=ada", 400, json={})
    assert "author" in await refused(site, "POST", "/api/v1/services", 400, json={"name": "other"})
    assert (await site.ask("DELETE", "/api/v1/services/new?author=ada"))[0] == 200
    await refused(site, "DELETE", "/api/v1/services/new?author=ada", 404)


async def test_rules_show_no_secrets(site: Site) -> None:
    http = {"url": "https://bot:hunter2@hooks.example/x", "headers": {"Authorization": "Bearer hunter2"}}
    site.system.rulebook = {"runbooks": [{"name": "web", "steps": [{"spec": {"http": http, "env": {"K": "hunter2"}}}]}]}
    data = await get(site, "/api/v1/rules")
    assert data["runbooks"][0]["steps"][0]["spec"]["http"]["url"] == "https://bot:<secret>@hooks.example/x"
    assert "hunter2" not in str(data)
    assert "hunter2" not in (await site.text("GET", "/rules", headers={"Accept": "text/html"}))[1]


async def test_reload(site: Site) -> None:
    for method in ("POST", "PUT"):
        assert (await site.ask(method, "/-/reload"))[0] == 200
    assert site.system.reloads == 2
    site.system.reload_problem = "unknown key 'steppes'"
    assert "rules.yml:3:5: error: unknown key 'steppes'" in await refused(site, "POST", "/-/reload", 500)
    await refused(site, "GET", "/-/reload", 405)


async def test_it_tells_who_leads(site: Site) -> None:
    alone = await get(site, "/api/v1/health")
    assert (alone["leads"], alone["leader"]) == (True, None)
    other = Leader("web-2:9797", "http://web-2:9797", NOW, 7, me=False)
    site.system.led_by = other
    data = await get(site, "/api/v1/health")
    assert data["leads"] is False
    assert data["leader"] == {
        "name": "web-2:9797",
        "url": "http://web-2:9797",
        "since": rfc3339(NOW),
        "epoch": 7,
        "me": False,
    }
    ready = "remediator is ready.\n"
    assert await site.text("GET", "/-/ready") == (200, f"{ready}It follows web-2:9797, which leads.\n")
    _, page = await site.text("GET", "/", headers={"Accept": "text/html"})
    assert '<a href="http://web-2:9797">web-2:9797</a> leads' in page

    site.system.led_by = msgspec.structs.replace(other, name="")
    data = await get(site, "/api/v1/health")
    assert (data["leads"], data["leader"]) == (False, None)
    assert (await site.text("GET", "/-/ready"))[1] == f"{ready}Nobody leads, as far as it knows.\n"
    assert "Nobody leads" in (await site.text("GET", "/", headers={"Accept": "text/html"}))[1]

    site.system.led_by = msgspec.structs.replace(other, me=True)
    assert (await get(site, "/api/v1/health"))["leads"] is True
    assert await site.text("GET", "/-/ready") == (200, f"{ready}It leads.\n")
    assert "web-2" not in (await site.text("GET", "/", headers={"Accept": "text/html"}))[1]


async def test_probes(site: Site) -> None:
    assert await site.text("GET", "/-/healthy") == (200, "remediator is healthy.\n")
    assert await site.text("GET", "/-/ready") == (200, "remediator is ready.\n")
    site.system.reasons = ["the rules are not loaded", "the store is still being read"]
    status, text = await site.text("GET", "/-/ready")
    assert status == 503
    assert text.splitlines() == [f"remediator is not ready: {reason}" for reason in site.system.reasons]


async def test_ready_says_how_many_alerts_are_left_undecided(site: Site) -> None:
    site.system.undecided_alerts = 3
    status, text = await site.text("GET", "/-/ready")
    assert (status, text.splitlines()[-1]) == (200, "Undecided for longer than a minute: 3 alerts.")
    assert (await site.text("GET", "/-/healthy"))[0] == 200


async def test_metrics(site: Site) -> None:
    status, text = await site.text("GET", "/metrics")
    assert status == 200
    assert "# TYPE remediator_notifications_total counter" in text
    status, text = await site.text("GET", "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert text.endswith("# EOF\n")


async def test_errors_have_one_shape(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert await refused(site, "GET", "/api/v1/nothing", 404) == "cannot find /api/v1/nothing"
    assert "GET" in await refused(site, "POST", "/api/v1/history", 405)

    async def broken(*_: object, **__: object) -> None:
        raise StoreError("cannot read remediator.db: disk I/O error")

    monkeypatch.setattr(site.store, "incidents", broken)
    assert "disk I/O error" in await refused(site, "GET", "/api/v1/incidents", 503)

    async def surprising(*_: object, **__: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(site.store, "incidents", surprising)
    assert "hunter2" not in await refused(site, "GET", "/api/v1/incidents", 500)
    assert "cannot answer GET /api/v1/incidents" in caplog.text


async def events(site: Site, count: int, **given: Any) -> list[tuple[str, str]]:
    """The first so many (id, data) pairs of the stream."""
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(HANGS), site.session.get(site.url + "/api/v1/events", **given) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        id = ""
        async for line in response.content:
            text = line.decode().rstrip("\n")
            if text.startswith("id: "):
                id = text[4:]
            elif text.startswith("data: "):
                found.append((id, text[6:]))
                if len(found) == count:
                    break
    return found


async def test_the_event_stream_resumes_where_it_was(site: Site) -> None:
    await open_incident(site, "checkout")
    every = await events(site, 6, params={"after": "0"})
    assert [id for id, _ in every] == ["1", "2", "3", "4", "5", "6"]
    assert '"kind":"incident_opened"' in every[0][1]
    assert await events(site, 2, headers={"Last-Event-ID": "4"}) == every[4:]
    await refused(site, "GET", "/api/v1/events?after=x", 400)


async def test_the_event_stream_tells_what_comes(site: Site) -> None:
    await recovered_incident(site, "cart")
    assert site.parts is not None
    async with asyncio.timeout(HANGS), site.session.get(site.url + "/api/v1/events") as response:
        assert await response.content.readline() == b"retry: 2000\n"
        new = NewIncident("checkout", "web", NOW, Health.FAILED, "it fails", plan("checkout"), {})
        await site.store.open_incident(new)
        site.parts.committed.notify()
        lines = [await response.content.readline() for _ in range(3)]
    assert lines[1] == b"id: 3\n"
    assert EntryKind.INCIDENT_OPENED.encode() in lines[2]


async def test_streams_end_when_the_server_does(site: Site) -> None:
    async with asyncio.timeout(HANGS), site.session.get(site.url + "/api/v1/events") as response:
        await response.content.readline()
        app = site.app
        assert app is not None
        assert len(app[STREAMS]) == 1
        app[CLOSING].set()
        assert b"data" not in await response.content.read()

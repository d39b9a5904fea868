"""The Alertmanager client against real Alertmanagers, and against servers that are none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from real.prometheus import HANGS, RealAlertmanager, free_port, in_thread, until

from remediator.clients.alertmanager import Alertmanagers, Member
from remediator.clients.http_options import HttpClient
from remediator.errors import RemoteError
from remediator.model.clock import rfc3339
from remediator.model.silence import Suppression
from remediator.web.webhook_payload import decode_notification

HOSTILE = {"alertname": "Down", "service": 'a "quoted"\nservice', "team": "zahlung €"}


@asynccontextmanager
async def client(*urls: str, receiver: str = "", timeout: float = HANGS) -> AsyncIterator[Alertmanagers]:
    counts: list[tuple[str, bool]] = []
    made = Alertmanagers(
        [Member(HttpClient(url), receiver) for url in urls],
        timeout=timeout,
        counted=lambda operation, done: counts.append((operation, done)),
    )
    made.counts = counts  # type: ignore[attr-defined]
    try:
        yield made
    finally:
        await made.close()


def firing(labels: dict[str, str], **fields: Any) -> dict[str, Any]:
    return {"labels": labels, "endsAt": rfc3339(time.time() + 600), **fields}


async def test_what_fires_is_read_silenced_or_not_and_only_that(tmp_path: Path) -> None:
    async with RealAlertmanager(tmp_path) as server, client(server.url) as alertmanagers:
        began = time.time()
        await alertmanagers.post([firing(HOSTILE), firing({"alertname": "Slow"}), firing({"alertname": "Over"})])
        await alertmanagers.post([{"labels": {"alertname": "Over"}, "endsAt": rfc3339(time.time() - 1)}])
        await alertmanagers.silence({"alertname": "Slow"}, began, began + 60, "ada", "known")
        snapshot = await alertmanagers.alerts()
        assert sorted(alert.name for alert in snapshot.alerts) == ["Down", "Slow"]
        (down,) = (alert for alert in snapshot.alerts if alert.name == "Down")
        assert down.labels == HOSTILE
        assert down.firing
        assert 0 <= time.time() - snapshot.up_since < 60


async def test_the_configuration_is_read_as_it_runs(tmp_path: Path) -> None:
    options = {"http_config": {"basic_auth": {"username": "ada", "password": "s3cret"}}}
    async with RealAlertmanager(tmp_path, webhook_options=options) as server, client(server.url) as alertmanagers:
        told = yaml.safe_load(await alertmanagers.config())
        assert told["receivers"][0]["name"] == "remediator"
        assert "s3cret" not in str(told)
    async with client(f"http://127.0.0.1:{free_port()}") as alertmanagers:
        with pytest.raises(RemoteError, match="cannot read the configuration at http://"):
            await alertmanagers.config()


async def test_an_alert_is_the_same_by_webhook_and_by_the_api(tmp_path: Path) -> None:
    bodies: list[bytes] = []

    async def hook(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/", hook)
    async with (
        TestServer(app) as receiver,
        RealAlertmanager(tmp_path, webhook=str(receiver.make_url("/"))) as server,
        client(server.url, receiver="remediator") as alertmanagers,
    ):
        # Go writes nanoseconds into the webhook, and milliseconds into its API.
        await alertmanagers.post([firing({"alertname": "Down"}, startsAt="2026-01-02T03:04:05.678912345Z")])
        await until(lambda: bodies)
        (by_webhook,) = decode_notification(bodies[0], time.time()).alerts
        (by_api,) = (await alertmanagers.alerts()).alerts
        assert by_api.key == by_webhook.key


async def test_only_the_alerts_of_the_receiver_are_read(tmp_path: Path) -> None:
    receivers = [{"name": "team.a"}, {"name": "team-a"}]
    route = {
        "receiver": "team-a",
        "routes": [{"receiver": "team.a", "matchers": ['for="a"']}],
    }
    async with RealAlertmanager(tmp_path, route=route, receivers=receivers) as server:
        async with client(server.url) as everything:
            await everything.post([firing({"alertname": "A", "for": "a"}), firing({"alertname": "B"})])
            assert len((await everything.alerts()).alerts) == 2
        async with client(server.url, receiver="team.a") as mine:
            assert [alert.name for alert in (await mine.alerts()).alerts] == ["A"]


async def test_what_reaches_no_other_receiver_is_known(tmp_path: Path) -> None:
    receivers = [{"name": "team"}, {"name": "remediator"}]
    route = {"receiver": "team", "routes": [{"receiver": "remediator", "continue": True}, {"receiver": "team", "matchers": ['for="people"']}]}  # fmt: skip
    async with RealAlertmanager(tmp_path, route=route, receivers=receivers) as server:
        async with client(server.url, receiver="remediator") as mine:
            await mine.post([firing({"alertname": "Seen", "for": "people"}), firing({"alertname": "Lost"})])
            snapshot = await mine.alerts()
            assert len(snapshot.alerts) == 2
            assert [alert.name for alert in snapshot.unpaged] == ["Lost"]
        async with client(server.url) as everything:
            # Without a receiver's name nobody knows which of them is remediator's.
            assert (await everything.alerts()).unpaged == ()


async def test_a_receiver_that_is_not_there_says_nothing_of_what_fires(tmp_path: Path) -> None:
    async with RealAlertmanager(tmp_path) as server, client(server.url, receiver="remeditor") as alertmanagers:
        with pytest.raises(RemoteError) as failure:
            await alertmanagers.alerts()
    assert str(failure.value) == (
        f"cannot read the alerts at {server.url}: it has no receiver 'remeditor'; it has remediator"
        " (check receiver: in the config)"
    )


async def test_a_silence_on_exact_labels_is_set_read_and_expired(tmp_path: Path) -> None:
    async with RealAlertmanager(tmp_path) as server, client(server.url) as alertmanagers:
        now = time.time()
        id = await alertmanagers.silence({**HOSTILE, "empty": ""}, now, now + 60, "remediator", "incident 7")
        (silence,) = await alertmanagers.silences()
        assert (silence.id, silence.author, silence.comment) == (id, "remediator", "incident 7")
        assert {matcher.name: matcher.value for matcher in silence.matchers} == HOSTILE
        assert silence.covers(HOSTILE, time.time() + 1)
        assert not silence.covers({**HOSTILE, "team": "other"}, time.time() + 1)
        await alertmanagers.expire(id)
        assert await alertmanagers.silences() == []
        await alertmanagers.expire("0a0b0c0d-0000-4000-8000-000000000000")


async def test_a_silence_is_read_as_alertmanager_reads_it(tmp_path: Path) -> None:
    async with RealAlertmanager(tmp_path) as server, client(server.url) as alertmanagers:
        for value in (r"\pN+", "[[:alpha:]]+1", "shop|(?i)cart", r"\Qa.b\E"):
            await _silence(server, {"name": "service", "value": value, "isRegex": True})
        silences = await alertmanagers.silences()
        covered = ["42", "web1", "CART", "shop", "a.b"]
        alone = ["four", "1web", "SHOP", "axb"]
        now = time.time() + 1
        assert {name for name in covered + alone if any(s.covers({"service": name}, now) for s in silences)} == {
            *covered
        }


async def test_a_silence_that_cannot_be_read_holds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with RealAlertmanager(tmp_path) as server, client(server.url) as alertmanagers:
        large = "|".join(f"[01]*1[01]{{{900 - n}}}" for n in range(40))
        await _silence(
            server,
            {"name": "service", "value": large, "isRegex": True},
            {"name": "team", "value": "a", "isRegex": False},
        )
        for _ in range(2):
            (silence,) = await alertmanagers.silences()
        assert silence.covers({"service": "web", "team": "a"}, time.time() + 1)
        assert not silence.covers({"service": "web", "team": "b"}, time.time() + 1)
        assert caplog.text.count("takes a matcher of silence") == 1


async def _silence(server: RealAlertmanager, *matchers: dict[str, object]) -> None:
    body = {
        "matchers": matchers,
        "startsAt": rfc3339(time.time()),
        "endsAt": rfc3339(time.time() + 60),
        "createdBy": "ada",
        "comment": "mine",
    }
    await asyncio.to_thread(server.request, "/api/v2/silences", method="POST", body=body)


async def test_of_two_one_may_be_dead(tmp_path: Path) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    async with RealAlertmanager(tmp_path) as server, client(dead, server.url) as alertmanagers:
        await alertmanagers.post([firing({"alertname": "Down"})])
        for _ in range(2):
            assert len((await alertmanagers.alerts()).alerts) == 1
        now = time.time()
        await alertmanagers.silence({"alertname": "Down"}, now, now + 60, "remediator", "")
        assert len(await alertmanagers.silences()) == 1
        # The dead one is asked once in vain, and last from then on.
        assert alertmanagers.counts == [  # type: ignore[attr-defined]
            ("post", False),
            ("post", True),
            ("alerts", False),
            ("alerts", True),
            ("alerts", True),
            ("silence", True),
            ("silences", True),
        ]
        await in_thread(server.stop)()
        with pytest.raises(RemoteError, match=r"^cannot post alerts at http://127\.0\.0\.1:\d+: "):
            await alertmanagers.post([firing({"alertname": "Down"})])
        with pytest.raises(RemoteError, match=r"^cannot read the silences at http://127\.0\.0\.1:\d+: "):
            await alertmanagers.silences()


async def test_without_any_it_says_so() -> None:
    async with client() as none:
        with pytest.raises(RemoteError, match="the config names none"):
            await none.silences()


async def respond(request: web.Request) -> web.StreamResponse:
    match request.match_info["how"]:
        case "hang":
            await asyncio.Event().wait()
        case "html":
            return web.Response(text="<html>sign in</html>", content_type="text/html")
        case "refuse":
            return web.json_response("bad matcher", status=400)
        case "failing":
            return web.json_response({"code": 602, "message": "boom"}, status=500)
        case "moved":
            return web.Response(status=302, headers={"Location": "https://sign.in/"})
    raise AssertionError


@pytest.mark.parametrize(
    ("how", "retry", "reason"),
    [
        ("hang", True, "no answer within 0.2s"),
        ("html", True, "its answer is not Alertmanager's (check the url)"),
        ("refuse", False, "it answered 400: bad matcher"),
        ("failing", True, "it answered 500: boom"),
        ("moved", True, "it answered 302 to https://sign.in/ (check the url)"),
    ],
)
async def test_what_is_no_alertmanager_is_said_so(how: str, retry: bool, reason: str) -> None:
    app = web.Application()
    app.router.add_route("*", "/{how}/{rest:.*}", respond)
    async with TestServer(app) as server:
        url = str(server.make_url(f"/{how}"))
        async with client(
            url.replace("http://", "http://ada:hunter2@"), timeout=0.2 if how == "hang" else HANGS
        ) as alertmanagers:
            with pytest.raises(RemoteError) as failure:
                await alertmanagers.silences()
    assert str(failure.value) == f"cannot read the silences at {url}: {reason}"
    assert failure.value.retry is retry


async def test_what_alertmanager_keeps_from_people_is_told_with_who_or_what_does(tmp_path: Path) -> None:
    rule = {"source_matchers": ["alertname=NodeDown"], "target_matchers": ["alertname=Slow"], "equal": ["node"]}
    async with RealAlertmanager(tmp_path, inhibit_rules=[rule]) as server, client(server.url) as alertmanagers:
        names = ("NodeDown", "Slow", "Silenced", "Loud")
        await alertmanagers.post([firing({"alertname": name, "node": "n1"}) for name in names])
        now = time.time()
        id = await alertmanagers.silence({"alertname": "Silenced"}, now, now + 60, "ada", "known")

        async def suppressed() -> dict[str, Suppression]:
            snapshot = await alertmanagers.alerts()
            of = {alert.fingerprint: alert.name for alert in snapshot.alerts}
            return {of[fingerprint]: one for fingerprint, one in snapshot.suppressed.items()}

        async def both() -> bool:
            return len(await suppressed()) == 2

        await until(both, within=30)
        assert await suppressed() == {
            "Slow": Suppression(inhibited_by=("NodeDown",)),
            "Silenced": Suppression(silenced_by=(id,)),
        }


async def test_a_time_interval_that_mutes_is_told_by_its_name() -> None:
    """As Alertmanager 0.28 and later answer; Debian's is older."""
    answer = [
        {
            "labels": {"alertname": "Slow"},
            "annotations": {},
            "startsAt": "2026-11-28T10:00:00.000Z",
            "endsAt": "2026-11-28T10:05:00.000Z",
            "updatedAt": "2026-11-28T10:00:00.000Z",
            "fingerprint": "f00",
            "receivers": [{"name": "remediator"}],
            "status": {"state": "suppressed", "inhibitedBy": [], "silencedBy": [], "mutedBy": ["nights", "weekends"]},
        },
        {
            "labels": {"alertname": "New"},
            "annotations": {},
            "startsAt": "2026-11-28T10:00:00.000Z",
            "fingerprint": "f01",
            "receivers": [{"name": "remediator"}],
            "status": {"state": "unprocessed", "inhibitedBy": [], "silencedBy": [], "mutedBy": []},
        },
    ]
    app = web.Application()

    async def alerts(_: web.Request) -> web.Response:
        return web.json_response(answer)

    async def status(_: web.Request) -> web.Response:
        return web.json_response({"uptime": "2026-11-28T09:00:00.000Z"})

    app.router.add_get("/api/v2/alerts", alerts)
    app.router.add_get("/api/v2/status", status)
    async with TestServer(app) as server, client(str(server.make_url("")).rstrip("/")) as alertmanagers:
        snapshot = await alertmanagers.alerts()
    assert snapshot.suppressed == {"f00": Suppression(muted_by=("nights", "weekends"))}
    assert snapshot.unprocessed == {"f01"}

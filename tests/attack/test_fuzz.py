"""A bounded fuzz of what comes from outside: every route with any parameters and bodies, and services of any names.

Bytes that are no request are in `test_http`, rule files and configs in `tests/rules/test_fuzz`.
"""

from __future__ import annotations

import json
import logging
import random
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from doubles.past import open_incident
from doubles.site import Site, serving
from doubles.system import view
from world import world

from remediator.engine import state
from remediator.model.action import Outcome
from remediator.web.permissions import ROUTES

TEXTS = [
    "", "a", "shop", "0", "-1", "1e999", "9" * 40, "true", "null", "\x00", "\r\nSet-Cookie: a=b", "../../etc/passwd", "%2e%2e%2f",
    "<script>alert(1)</script>", "' OR 1=1 --", '"};alert(1)//', "{{ 7*7 }}", "$(id)", "`id`", "\u202egnp.exe", "\ud7ff", "\U0001f600",
    "a" * 3000, "2026-11-29T00:00:00Z", "9999-12-31T23:59:59+14:00", 'service="shop"', "{a=~'(a+)+$'}", "[", "\\", "é", "%", "NaN",
]  # fmt: skip
QUERIES = [
    "after",
    "before",
    "limit",
    "service",
    "state",
    "verdict",
    "page",
    "sort",
    "q",
    "health",
    "match",
    "author",
    "since",
    "x",
]
KEYS = [
    "author",
    "comment",
    "force",
    "name",
    "target",
    "matchers",
    "duration",
    "until",
    "labels",
    "alerts",
    "version",
    "code",
    "x",
]
ROUTES_TO_TRY = [route for route in ROUTES if "events" not in route[1]]


def anything(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON."""
    kind = chance.randrange(8 if depth < 3 else 5)
    if kind < 3:
        return chance.choice(TEXTS)
    if kind == 3:
        return chance.choice([0, -1, 1e300, 2**63, True, None])
    if kind == 4:
        return chance.choice(["5m", "1h", "-5m", "9999999d"])
    if kind < 7:
        return {chance.choice([*KEYS, *TEXTS]): anything(chance, depth + 1) for _ in range(chance.randrange(4))}
    return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]


@pytest.mark.parametrize("route", ROUTES_TO_TRY, ids=" ".join)
async def test_no_parameters_and_no_body_make_a_route_fail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, route: tuple[str, str]
) -> None:
    method, path = route
    chance = random.Random(f"{method} {path}")
    async with serving(tmp_path) as site:
        site.system.views["shop"] = view("shop")
        await open_incident(site, "shop")
        for _ in range(40):
            await try_once(site, chance, method, path)
        assert (await site.text("GET", "/-/healthy"))[0] == 200
    assert not [record for record in caplog.records if record.exc_info], caplog.text


async def try_once(site: Site, chance: random.Random, method: str, path: str) -> None:
    for part in ("id", "name", "verb", "fingerprint"):
        value = chance.choice([*TEXTS, "1", "shop", "approve"])
        path = path.replace(f"{{{part}}}", urllib.parse.quote(value, safe="") or "1")
    query = urllib.parse.urlencode([(chance.choice(QUERIES), chance.choice(TEXTS)) for _ in range(chance.randrange(4))])
    headers = {"Accept": chance.choice(["text/html", "application/json"])}
    data: bytes | None = None
    if method != "GET":
        kind = chance.choice(["application/json", "application/x-www-form-urlencoded", "text/plain"])
        headers["Content-Type"] = kind
        if "json" in kind:
            data = json.dumps(anything(chance)).encode()
        else:
            data = urllib.parse.urlencode([(chance.choice(KEYS), chance.choice(TEXTS)) for _ in range(3)]).encode()
    status, text = await site.text(method, f"{path}?{query}", headers=headers, data=data, allow_redirects=False)
    assert status < 500, (method, path, query, data, text)
    assert "Traceback" not in text
    assert text.startswith("{") or "<script>alert(1)" not in text


TEMPLATED = """
services:
  - name: "{{ labels.app }}"
    match: ['app!=""']
    target: {command: {restart: [ctl, restart, "{{ service.name }}"]}}
runbooks:
  - {name: any, steps: [restart], limits: {cooldown: 1s}}
"""


async def test_a_service_of_any_name_is_healed_by_exactly_that_name_or_not_at_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(7)
    names = [text for text in TEXTS if text]
    names += ["".join(chance.choices("ab-_. /\\'\"$`;|&\n\x00{}%é\u202e", k=chance.randint(1, 12))) for _ in range(100)]
    async with world(tmp_path, TEMPLATED) as w:
        for name in names:
            await w.fire("Down", app=name)
        await w.pass_time(600)
        ran = {command for _, command in w.ran}
        assert ran
        assert ran <= {f"ctl restart {name}" for name in names}
        for incident in await w.incidents():
            assert incident.service in names
            assert {run.outcome for run in incident.runs} <= {Outcome.SUCCEEDED, Outcome.FAILED, Outcome.REFUSED}
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


async def test_alerts_name_no_more_services_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "MOST_TEMPLATED", 3)
    async with world(tmp_path, TEMPLATED) as w:
        alerts = [await w.fire("Down", app=f"a{number}", severity="info") for number in range(3)]
        await w.pass_time(10)
        await w.fire("Down", app="b", severity="critical")
        await w.pass_time(60)
        assert w.commands == []
        (text,) = [entry.text for entry in await w.journal() if "cannot take in" in entry.text]
        assert text == "cannot take in its service b: 3 templated services have alerts already"
        await w.resolve(alerts[0])
        await w.fire("Down", app="c", severity="critical")
        await w.pass_time(60)
        assert w.commands == ["ctl restart c"]

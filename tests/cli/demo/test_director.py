"""The show plays the operator: it says yes to what asks, but not at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pytest_aiohttp import AiohttpServer

from remediator.cli.demo.director import Director
from remediator.cli.demo.faults import DemoFault
from remediator.cli.demo.processes import DemoServices
from remediator.model.clock import rfc3339

SHOP = {"name": "shop", "health": "healthy", "readings": ["error_ratio"], "firingAlerts": []}


class Remediator:
    """As much of its API as the show asks: once the shop is broken, an incident waits at a gate until it is answered."""

    def __init__(self, gate: str, statuses: list[int]) -> None:
        self.gate, self.statuses = gate, statuses
        self.injected_at = 0.0
        self.answers: list[tuple[float, Any]] = []

    def on_fault(self, _: DemoFault) -> None:
        self.injected_at = time.time() + 0.001

    async def services(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [SHOP]})

    async def events(self, _: web.Request) -> web.Response:
        return web.Response()

    async def incidents(self, _: web.Request) -> web.Response:
        closed = not self.statuses or (self.gate != "approval" and time.time() > self.injected_at + 3)
        since = rfc3339(self.injected_at)
        incident = {
            "id": 7,
            "service": "shop",
            "open": not closed,
            "openedAt": since,
            "closedAt": since if closed else None,
            "hold": {"gate": self.gate, "since": since},
        }
        return web.json_response({"data": [incident] if self.injected_at else []})

    async def approve(self, request: web.Request) -> web.Response:
        self.answers.append((time.time(), await request.json()))
        return web.json_response({}, status=self.statuses.pop(0))


async def played(remediator: Remediator, aiohttp_server: AiohttpServer, tmp_path: Path) -> list[tuple[float, Any]]:
    """What the operator has answered, and when, by the end of the show."""
    app = web.Application()
    app.router.add_get("/api/v1/services", remediator.services)
    app.router.add_get("/api/v1/incidents", remediator.incidents)
    app.router.add_get("/api/v1/events", remediator.events)
    app.router.add_post("/api/v1/incidents/7/approve", remediator.approve)
    server = await aiohttp_server(app)
    fault = DemoFault("shop", 0, "errors", "most answers are errors")
    director = Director(
        str(server.make_url("")),
        DemoServices(tmp_path, ()),
        [fault],
        speed=1,
        on_state=lambda _: None,
        on_entry=lambda _: None,
        on_fault=remediator.on_fault,
    )
    await director.run()
    return remediator.answers


@pytest.mark.parametrize("statuses", [[200], [409], [500, 200]], ids=str)
async def test_what_asks_for_approval_is_given_it_after_a_while(
    statuses: list[int], aiohttp_server: AiohttpServer, tmp_path: Path
) -> None:
    """One that has closed meanwhile (409) is left alone, and what could not be said is said again."""
    remediator, tries = Remediator("approval", statuses), len(statuses)
    answers = await played(remediator, aiohttp_server, tmp_path)
    assert [answer for _, answer in answers] == [{"author": "the operator (whom the demo plays)"}] * tries
    assert answers[0][0] - remediator.injected_at >= 2


async def test_what_waits_for_something_else_is_not_answered(aiohttp_server: AiohttpServer, tmp_path: Path) -> None:
    assert await played(Remediator("dependency", [200]), aiohttp_server, tmp_path) == []

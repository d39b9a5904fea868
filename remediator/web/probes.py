"""The probes for other machines: whether the program is alive, whether it is ready, and its metrics."""

from __future__ import annotations

import asyncio

from aiohttp import web

from remediator.web.context import CONTEXT, Leader
from remediator.web.paths import PATHS
from remediator.web.threads import in_thread

_generating: web.AppKey[asyncio.Lock] = web.AppKey("generating", asyncio.Lock)


async def healthy(request: web.Request) -> web.Response:
    """The process answers, so it is alive."""
    return web.Response(text="remediator is healthy.\n")


async def ready(request: web.Request) -> web.Response:
    """Whether alerts are taken in and acted on. If not, the answer has the reasons."""
    reasons = request.app[CONTEXT].system.not_ready()
    if reasons:
        return web.Response(status=503, text="".join(f"remediator is not ready: {reason}\n" for reason in reasons))
    system = request.app[CONTEXT].system
    leader, undecided = system.leader(), system.undecided()
    who = "" if leader is None else _who(leader)
    left = f"Undecided for longer than a minute: {undecided} alerts.\n" if undecided else ""
    return web.Response(text=f"remediator is ready.\n{who}{left}")


def _who(leader: Leader) -> str:
    if leader.me:
        return "It leads.\n"
    return f"It follows {leader.name}, which leads.\n" if leader.name else "Nobody leads, as far as it knows.\n"


async def metrics(request: web.Request) -> web.Response:
    """The metrics, as text or OpenMetrics, by the scraper's preference. Only one exposition is made at a time."""
    async with request.app[_generating]:
        body, content_type = await in_thread(request.app[CONTEXT].metrics.exposition, request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


def add_probes(app: web.Application) -> None:
    """Add these routes to an application."""
    app[_generating] = asyncio.Lock()
    prefix = app[PATHS].prefix
    app.router.add_get(f"{prefix}/-/healthy", healthy, name="healthy")
    app.router.add_get(f"{prefix}/-/ready", ready, name="ready")
    app.router.add_get(f"{prefix}/metrics", metrics)

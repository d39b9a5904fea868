"""Puts the web application together: webhook, API, pages and probes behind one middleware.

`make_app` is the only way in. Its `WebContext` carries all that the web needs of the rest of the program.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web

from remediator.web.api import routes as api
from remediator.web.auth import Security, check_listen, load_security
from remediator.web.connections import is_our_failure
from remediator.web.context import CLOSING, CONTEXT, STREAMS, System, WebContext
from remediator.web.listen import parse_listen
from remediator.web.middleware import answer_errors, authorize, set_security_headers
from remediator.web.paths import PATHS, link
from remediator.web.permissions import check_routes
from remediator.web.probes import add_probes
from remediator.web.ui import pages, sign_in
from remediator.web.ui.filters import environment
from remediator.web.webhook import add_webhook

_server_log = logging.getLogger("remediator.web.server")
_server_log.addFilter(is_our_failure)

RUNNER_OPTIONS: dict[str, Any] = {
    "keepalive_timeout": 75.0,
    "shutdown_timeout": 3.0,
    "auto_decompress": False,
    "logger": _server_log,
}
"""For aiohttp's AppRunner. The first also bounds how long a client may take to send a request's headers. Bodies are
unpacked where they are read: aiohttp would unpack the rest of one that was refused as well."""


def make_app(context: WebContext) -> web.Application:
    """The whole web as one application, which the caller runs."""
    app = web.Application(middlewares=[answer_errors(pages.error_page), authorize], client_max_size=context.body_limit)
    app[CONTEXT] = context
    app[CLOSING] = asyncio.Event()
    app[STREAMS] = set()
    app[PATHS] = paths = context.paths
    app[pages.TEMPLATES] = environment(paths.base)
    app.on_response_prepare.append(set_security_headers)
    app.on_shutdown.append(_close_streams)
    add_webhook(app)
    for route in (*api.ROUTES, *pages.ROUTES, *sign_in.ROUTES):
        app.add_routes([web.RouteDef(route.method, paths.prefix + route.path, route.handler, route.kwargs)])
    if paths.prefix:
        # Of the pages, "/" is the one that may be asked for without its slash, or without the prefix.
        app.router.add_get("/", _to_pages)
        app.router.add_get(paths.prefix, _to_pages)
    add_probes(app)
    check_routes(app)
    return app


async def _to_pages(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": link(request, "/")})


async def _close_streams(app: web.Application) -> None:
    app[CLOSING].set()


__all__ = [
    "RUNNER_OPTIONS",
    "Security",
    "System",
    "WebContext",
    "check_listen",
    "load_security",
    "make_app",
    "parse_listen",
]

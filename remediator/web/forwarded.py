"""The client behind a proxy and its scheme, from the headers of trusted proxies, for the log and for cookies.

Credentials, roles and limits never depend on these headers.
"""

from __future__ import annotations

import ipaddress

from aiohttp import web

from remediator.web.context import CONTEXT

_MOST_PROXIES = 20


def client_address(request: web.Request) -> str:
    """The address of the client: the peer's, or, if the peer is a trusted proxy, the last address in X-Forwarded-For
    that is not a trusted proxy's."""
    peer = request.remote or ""
    security, client = request.app[CONTEXT].security, peer
    if not security.forwards(peer):
        return peer
    named = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    for text in named[: -_MOST_PROXIES - 1 : -1]:
        address = _address(text.strip())
        if not address:
            break
        client = address
        if not security.forwards(client):
            break
    return client if client == peer else f"{client} (by {peer})"


def came_by_tls(request: web.Request) -> bool:
    """Whether the browser speaks TLS with this server, or with a trusted proxy in front of it, by the proxy's
    header."""
    if request.secure:
        return True
    scheme = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip()
    return scheme == "https" and request.app[CONTEXT].security.forwards(request.remote or "")


def _address(text: str) -> str:
    """An address in the form that proxies write, some with a port behind it. Empty if it is none."""
    host = text.partition("]")[0].removeprefix("[") if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""

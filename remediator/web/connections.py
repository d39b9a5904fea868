"""Limits connections below what the process can open, so that commands and the store always find descriptors.

At the limit, a new connection replaces the oldest idle one of the peer that has the most connections.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
from collections import Counter, deque
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from remediator.web.context import CONTEXT
from remediator.web.middleware import add_security_headers
from remediator.web.responses import failure

log = logging.getLogger(__name__)

WANTED = 8192
"""Descriptors that are enough for everything. The soft limit is raised to this number if permitted."""
RESERVE = 160
"""Descriptors kept for commands, for the store, and for requests to Prometheus and Alertmanager."""
_MOST = 2000
_FEWEST = 16
_AT_ONCE = 64
"""How many connections are accepted before room is made for them."""
_HANDSHAKE_WITHIN = 5.0
_LOG_EVERY = 60.0


def is_our_failure(record: logging.LogRecord) -> bool:
    """A filter for the server's log. If a client sends something other than HTTP, it gets an answer, and no error is
    logged."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


def raise_limit() -> int:
    """Raise the soft limit of open descriptors as far as is permitted and useful. Returns the limit after that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return WANTED if soft == resource.RLIM_INFINITY else soft


def most_connections(limit: int) -> int:
    """How many connections may be open with this many descriptors."""
    return max(_FEWEST, min(_MOST, limit - RESERVE))


class BoundedServer:
    """Makes the protocols of new connections, and closes others to make room for them."""

    def __init__(self, server: web.Server, most: int) -> None:
        self._server = server
        self._most = most
        self._logged_at = -_LOG_EVERY
        self._secured = False
        self._accepted: deque[tuple[float, RequestHandler]] = deque()
        """Connections with TLS that were accepted lately, with the time."""

    async def listen(
        self, host: str | None, port: int, context: ssl.SSLContext | None, passed: socket.socket | None = None
    ) -> asyncio.Server:
        """Begin to accept connections, at an address, or on a socket that already listens."""
        loop, timeout = asyncio.get_running_loop(), None if context is None else _HANDSHAKE_WITHIN
        self._secured = context is not None
        if passed is not None:
            return await loop.create_server(
                self, sock=passed, ssl=context, ssl_handshake_timeout=timeout, backlog=_AT_ONCE
            )
        return await loop.create_server(self, host, port, ssl=context, ssl_handshake_timeout=timeout, backlog=_AT_ONCE)

    def __call__(self) -> asyncio.BaseProtocol:
        if self._shaking_hands() > self._most // 2 and _few_descriptors_left():
            # Refusing by an answer would take a handshake as well. The event loop closes the connection.
            raise ConnectionAbortedError("too many TLS handshakes are under way")
        if len(self._open()) >= self._most and not self._make_room():
            return _Refused()
        handler = self._server()
        if self._secured:
            self._accepted.append((asyncio.get_running_loop().time(), handler))
        # aiohttp has no other way to say how requests are answered that its parser cannot read.
        handler.__class__ = _HttpProtocol
        return handler

    def _open(self) -> list[RequestHandler]:
        connections = self._server.connections
        return [
            handler for handler in connections if handler.transport is not None and not handler.transport.is_closing()
        ]

    def _shaking_hands(self) -> int:
        """How many connections are within their TLS handshake, which the server does not count yet, at most: one that
        broke off counts until its time would have been over."""
        before = asyncio.get_running_loop().time() - _HANDSHAKE_WITHIN
        while self._accepted and self._accepted[0][0] < before:
            self._accepted.popleft()
        return sum(handler.transport is None for _, handler in self._accepted)

    def _make_room(self) -> bool:
        """Close a connection on which nothing is asked, or whose request has not arrived as a whole: the oldest of the
        peer with most of these. Whether there was one."""
        now = asyncio.get_running_loop().time()
        if now - self._logged_at >= _LOG_EVERY:
            self._logged_at = now
            log.warning("%d connections are open, which is all there may be: closes idle ones", self._most)
        connections = self._open()
        idle = [handler for handler in connections if _waits(handler)]
        if not idle:
            return False
        peers = Counter(map(_peer, idle))
        (busiest, _), *_ = peers.most_common(1)
        oldest = next(handler for handler in idle if _peer(handler) == busiest)
        if (transport := oldest.transport) is not None:
            transport.abort()
        return True


class _HttpProtocol(RequestHandler):
    """Answers input that is not HTTP in the usual shape."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        response = super().handle_error(request, status, exc, message)
        if status < 500:
            response = failure(status, "bad_data", "cannot read the request: it is not HTTP as remediator reads it")
            response.force_close()
        app = None if self._manager is None else getattr(self._manager.request_handler, "__self__", None)
        add_security_headers(response, app[CONTEXT].security.headers if isinstance(app, web.Application) else {})
        return response


class _Refused(asyncio.Protocol):
    """Asks a client to retry, and closes the connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            transport.close()


def _waits(handler: RequestHandler) -> bool:
    """Whether nothing is asked on a connection, or the end of a request has yet to come."""
    request = getattr(handler, "_current_request", None)
    return request is None or not request.content.is_eof()


def _few_descriptors_left() -> bool:
    """Whether half of the reserve is used up."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        used = len(os.listdir("/proc/self/fd"))
    except OSError:
        return True
    return soft != resource.RLIM_INFINITY and used > soft - RESERVE // 2


def _peer(handler: Any) -> str:
    peer = handler.transport.get_extra_info("peername") if handler.transport is not None else None
    return str(peer[0]) if isinstance(peer, tuple) else ""


def quiet_exhaustion(loop: asyncio.AbstractEventLoop) -> None:
    """Log a lack of descriptors once a minute, not for every connection."""
    logged_at = -_LOG_EVERY

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal logged_at
        if "out of system resource" not in str(context.get("message", "")):
            loop.default_exception_handler(context)
        elif loop.time() - logged_at >= _LOG_EVERY:
            logged_at = loop.time()
            log.error("cannot accept connections: %s", context.get("exception"))

    loop.set_exception_handler(handle)

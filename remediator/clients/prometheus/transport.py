"""HTTP connections for `requests` that keep to one deadline and to one TLS context, whatever the server does."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from typing import Any

import urllib3
from requests.adapters import HTTPAdapter


class DeadlineAdapter(HTTPAdapter):
    """One host's connections, at most `connections` of them kept. A `urllib3.util.Timeout(total=…)` given to a request is
    the limit of all of it: connecting, sending, and reading to the end. `context` is the TLS side and `server_name` the
    name to expect there, where it is not the host's. Nothing is tried twice."""

    def __init__(self, connections: int, context: ssl.SSLContext | None = None, server_name: str = "") -> None:
        self._tls: dict[str, Any] = {}
        if context is not None:
            self._tls["ssl_context"] = context
        if server_name:
            self._tls["server_hostname"] = server_name
        super().__init__(max_retries=0, pool_connections=1, pool_maxsize=connections)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **kwargs, **self._tls)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def get_connection_with_tls_context(self, request: Any, *_: Any, **__: Any) -> Any:
        return self.poolmanager.connection_from_url(request.url)

    def cert_verify(self, *_: Any) -> None:
        """Nothing: requests would make the context trust its own bundle of authorities too."""


class _Timed(io.RawIOBase):
    """A socket's bytes, each read of which may take only what is left until the deadline. A time-out of the socket alone
    starts anew with each byte that drips in."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw
        # urllib3 has set the socket to what its total leaves for reading.
        timeout = sock.gettimeout()
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Timed(sock, self.fp.detach()))


class _HttpConnection(urllib3.connection.HTTPConnection):
    response_class = _Response


class _HttpsConnection(urllib3.connection.HTTPSConnection):
    response_class = _Response


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection

    def _validate_conn(self, conn: Any) -> None:
        """Connect, without a warning at each request where the config says not to verify."""
        if conn.is_closed:
            conn.connect()

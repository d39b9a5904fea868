"""HTTP connections for `requests` with one deadline and one TLS context, however the server behaves."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any

import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy


class DeadlineAdapter(HTTPAdapter):
    """Connections to one host, at most `connections` of them kept, without retries.

    A request's `urllib3.util.Timeout(total=…)` limits all of it: connecting, sending, and reading to the end. `context`
    is the TLS context, and `server_name` the expected name where it is not the host's. A proxy among the request's
    `proxies` gets the headers in `for_proxy`.
    """

    def __init__(
        self,
        connections: int,
        context: ssl.SSLContext | None = None,
        server_name: str = "",
        for_proxy: Mapping[str, str] | None = None,
    ) -> None:
        self._for_proxy = dict(for_proxy or {})
        self._tls: dict[str, Any] = {}
        if context is not None:
            self._tls["ssl_context"] = context
        if server_name:
            self._tls["server_hostname"] = server_name
        super().__init__(max_retries=0, pool_connections=1, pool_maxsize=connections)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **kwargs, **self._tls)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        if proxy := select_proxy(request.url, proxies):
            return self.proxy_manager_for(proxy).connection_from_url(request.url)
        return self.poolmanager.connection_from_url(request.url)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs, **self._tls)
        manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        return manager

    def proxy_headers(self, proxy: str) -> Any:
        return {**super().proxy_headers(proxy), **self._for_proxy}

    def cert_verify(self, *_: Any) -> None:
        """Do nothing: requests would add its own bundle of authorities to the context."""


class _Timed(io.RawIOBase):
    """A socket's bytes. Each read has only the time that is left until the deadline.

    A timeout of the socket alone would start again with every byte.
    """

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw
        # urllib3 has set the socket to what is left of the total.
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
        """Connect. urllib3's own method would warn at each request where the config turns verification off."""
        if conn.is_closed:
            conn.connect()

"""A client of an HTTP API that answers JSON: one request within its time, or a sentence that says why not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import aiohttp
import msgspec
import yarl

from remediator.clients.http_options import HttpClient, TlsConfig
from remediator.clients.oauth2 import Credentials
from remediator.clients.proxy import connect_headers, proxy_for
from remediator.errors import RemoteError

T = TypeVar("T")

TIMEOUT = 10.0
_MOVED = (301, 302, 307, 308)
_REDIRECTS = 5
_FINAL = frozenset({400, 413, 422})
"""Statuses of a request that is at fault itself, so that repeating it cannot help. All others concern the network, the
server's state or our permissions, which may change."""


class JsonClient:
    """One server. A request with its response takes at most `timeout` seconds, and reads at most `most` bytes.

    `name` is what messages call the server, `hints` a remedy for each status.
    """

    def __init__(
        self,
        settings: HttpClient,
        name: str,
        *,
        timeout: float = TIMEOUT,
        most: int = 4 * 1024 * 1024,
        hints: Mapping[int, str] | None = None,
    ) -> None:
        self._settings = settings
        self._name = name
        self._url = yarl.URL(settings.url)
        self.shown = str(self._url.with_user(None))
        """The address for messages, without user and password."""
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._most = most
        self._hints = {401: "check the token or password it is given", **(hints or {})}
        self._session: aiohttp.ClientSession | None = None
        self._credentials = Credentials(settings)

    async def ask(
        self,
        deed: str,
        method: str,
        path: str,
        answer: type[T],
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Any = None,
    ) -> T:
        """Send a request and decode its response as this type. `deed` says in messages what it is for.

        RemoteError when it failed, with the status if there is one. A request that failed may have been carried out.
        """
        url = self._url / path
        if query:
            url = url.with_query(list(query))
        credentials = self._credentials
        headers = await asyncio.to_thread(credentials.headers) if credentials.may_block else credentials.headers()
        try:
            async with asyncio.timeout(self._timeout.total):
                for _ in range(_REDIRECTS + 1):
                    async with self._opened().request(
                        method, url, json=body, headers=headers, **self._way()
                    ) as response:
                        content = await self._bounded(response)
                    target = url.join(yarl.URL(response.headers.get("Location", "")))
                    moved = response.status in _MOVED and target != url and target.origin() == url.origin()
                    if not (self._settings.follow_redirects and moved):
                        break
                    url = target
        except TimeoutError:
            raise self._failed(deed, f"no answer within {self._timeout.total:g}s") from None
        except (aiohttp.ClientError, OSError) as error:
            # The next session reads the certificate files again: they may be what is wrong.
            await self.close()
            raise self._failed(deed, str(error) or type(error).__name__) from None
        if response.status == 401:
            credentials.refused()
        if response.status != 200:
            raise self._refused(deed, response, content)
        try:
            return msgspec.json.decode(content or b"null", type=answer)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise self._failed(deed, f"its answer is not {self._name}'s (check the url)") from None

    def _way(self) -> dict[str, Any]:
        """How requests go: the time they have, the expected name of the server, and the proxy."""
        tls = self._settings.tls_config or TlsConfig()
        return {
            "timeout": self._timeout,
            "allow_redirects": False,
            "server_hostname": tls.server_name or None,
            "proxy": proxy_for(self._settings, str(self._url)),
            "proxy_headers": connect_headers(self._settings) or None,
        }

    async def close(self) -> None:
        """Close the connections. The next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            secure = self._url.scheme == "https"
            connector = aiohttp.TCPConnector(ssl=self._settings.ssl_context() if secure else True)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session

    async def _bounded(self, response: aiohttp.ClientResponse) -> bytes:
        """The body, cut off where it exceeds the limit."""
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > self._most:
                break
        return bytes(content)

    def _refused(self, deed: str, response: aiohttp.ClientResponse, content: bytes) -> RemoteError:
        reason = f"it answered {response.status}"
        if said := _said(content):
            reason += f": {said}"
        if response.status in self._hints:
            reason += f" ({self._hints[response.status]})"
        elif 300 <= response.status < 400:
            reason += f" to {str(response.headers.get('Location', ''))[:300]} (check the url)"
        return self._failed(deed, reason, response.status)

    def _failed(self, deed: str, reason: str, status: int | None = None) -> RemoteError:
        return RemoteError(f"cannot {deed} at {self.shown}: {reason}", retry=status not in _FINAL, status=status)


class _ErrorBody(msgspec.Struct):
    message: str


def _said(content: bytes) -> str:
    """What the body of a refusal says: a text, or a mapping with `message`; otherwise its beginning, but for pages."""
    try:
        said = msgspec.json.decode(content, type=_ErrorBody | str)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        text = content[:1200].decode(errors="replace")
        plain = "".join(char if char.isprintable() else " " for char in text)
        return "" if "<html" in text.lower() else " ".join(plain.split())[:300]
    return (said if isinstance(said, str) else said.message)[:300]

"""The Grafana client: annotations are created, changed, found by their tags and deleted; nothing else.

Follows Grafana's annotation HTTP API (`/api/annotations`), versions 9 and later. It knows nothing of incidents; what an
annotation says is for `announce.grafana` to decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec
import yarl

from remediator.errors import NeighbourError
from remediator.httpclient import HttpClient, TlsConfig

_BODY_LIMIT = 4 * 1024 * 1024
_TIMEOUT = 10.0
_FINAL = frozenset({400, 413, 422})
"""The statuses that mean the request itself is at fault, so that repeating it cannot help. All others are about the
way to Grafana, its state or our permissions, which somebody may mend."""


class Annotation(msgspec.Struct, frozen=True):
    """One annotation. Times are seconds since the epoch; without `ends_at` it is a point.

    `text` is HTML, which Grafana sanitises. It belongs to a dashboard (`panel` 0: to all of its panels), or with no
    `dashboard` to the whole organisation.
    """

    at: float
    text: str
    tags: tuple[str, ...] = ()
    ends_at: float | None = None
    dashboard: str = ""
    panel: int = 0


class Grafana:
    """One Grafana, reached with these settings. Every request ends within `timeout` seconds, answer included.

    Every method raises NeighbourError when Grafana does not do what was asked, with the HTTP status if there was one.
    The outcome of a creation that failed is unknown: Grafana may have stored it and not been able to say so.
    """

    def __init__(self, settings: HttpClient, *, timeout: float = _TIMEOUT) -> None:
        self._settings = settings
        url = yarl.URL(settings.url)
        self._shown = str(url.with_user(None))
        """The address as messages may show it: without a password in it."""
        self._annotations = url / "api/annotations"
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def create(self, annotation: Annotation) -> int:
        """Store an annotation; its id."""
        body = _changes(annotation) | {"time": _milliseconds(annotation.at)}
        if annotation.dashboard:
            body["dashboardUID"] = annotation.dashboard
            if annotation.panel:
                body["panelId"] = annotation.panel
        return (await self._request("POST", self._annotations, _Created, body)).id

    async def patch(self, id: int, annotation: Annotation) -> None:
        """Give an annotation the text and tags of this one, and its end if it has one. Status 404 when it is gone."""
        await self._request("PATCH", self._annotations / str(id), _Said, _changes(annotation))

    async def find(self, tag: str, at: float) -> list[int]:
        """The ids of the annotations that have this tag, the oldest first; `at` is the time they begin.

        Grafana stores an annotation first and its tags, as it looks them up, after that; when the second part failed,
        only a look at everything of that time finds it.
        """
        found = await self._list(("tags", tag))
        if not found:
            time = _milliseconds(at)
            of_that_time = await self._list(("from", str(time)), ("to", str(time)), ("limit", "1000"))
            found = [item for item in of_that_time if item.time == time and tag in (item.tags or ())]
        return sorted(item.id for item in found)

    async def delete(self, id: int) -> None:
        """Delete an annotation. Status 404 when it is gone."""
        await self._request("DELETE", self._annotations / str(id), _Said)

    async def close(self) -> None:
        """Let go of the connections. The next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _list(self, *query: tuple[str, str]) -> list[_Item]:
        url = self._annotations.with_query([("type", "annotation"), *query])
        return await self._request("GET", url, list[_Item])

    async def _request(self, method: str, url: yarl.URL, answer: type[_T], body: Mapping[str, Any] | None = None) -> _T:
        headers = self._settings.all_headers()
        tls = self._settings.tls_config or TlsConfig()
        try:
            async with self._opened().request(
                method,
                url,
                json=body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                server_hostname=tls.server_name or None,
            ) as response:
                content = await _bounded(response)
        except TimeoutError:
            raise self._failed(method, f"no answer within {self._timeout.total:g}s") from None
        except (aiohttp.ClientError, OSError) as error:
            # A certificate may be what is wrong: its files are read again for the next connection.
            await self.close()
            raise self._failed(method, str(error) or type(error).__name__) from None
        if response.status != 200:
            raise self._refused(method, response, content)
        try:
            return msgspec.json.decode(content, type=answer)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise self._failed(method, "its answer is not Grafana's (check the url)") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            secure = self._annotations.scheme == "https"
            connector = aiohttp.TCPConnector(ssl=self._settings.ssl_context() if secure else True)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session

    def _refused(self, method: str, response: aiohttp.ClientResponse, content: bytes) -> NeighbourError:
        reason = f"it answered {response.status}"
        try:
            reason += f": {msgspec.json.decode(content, type=_Said).message[:300]}"
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            pass
        match response.status:
            case 401:
                reason += " (check the token or password it is given)"
            case 403:
                reason += " (the account needs the permissions annotations:create, write, delete and read)"
            case status if 300 <= status < 400:
                reason += f" to {str(response.headers.get('Location', ''))[:300]} (check the url)"
        return self._failed(method, reason, response.status)

    def _failed(self, method: str, reason: str, status: int | None = None) -> NeighbourError:
        message = f"cannot {_DEEDS[method]} at {self._shown}: {reason}"
        return NeighbourError(message, retry=status not in _FINAL, status=status)


class _Created(msgspec.Struct):
    id: int


class _Item(msgspec.Struct):
    id: int
    time: int
    tags: list[str] | None = None


class _Said(msgspec.Struct):
    message: str


_T = TypeVar("_T")
_DEEDS = {
    "POST": "create an annotation",
    "PATCH": "change an annotation",
    "GET": "look for annotations",
    "DELETE": "delete an annotation",
}


def _changes(annotation: Annotation) -> dict[str, Any]:
    body: dict[str, Any] = {"text": annotation.text, "tags": list(annotation.tags)}
    if annotation.ends_at is not None:
        body["timeEnd"] = _milliseconds(annotation.ends_at)
    return body


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body, cut off where it becomes larger than any answer of Grafana's."""
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > _BODY_LIMIT:
            break
    return bytes(content)

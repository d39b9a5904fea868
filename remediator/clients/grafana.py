"""The Grafana client: annotations are created, changed, found by their tags and deleted; nothing else.

Follows Grafana's annotation HTTP API (`/api/annotations`), versions 9 and later. It knows nothing of incidents; what an
annotation says is for `announce.grafana` to decide.
"""

from __future__ import annotations

from typing import Any

import msgspec

from remediator.clients.http_options import HttpClient
from remediator.clients.json_client import TIMEOUT, JsonClient

_HINTS = {403: "the account needs the permissions annotations:create, write, delete and read"}


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

    Every method raises RemoteError when Grafana does not do what was asked, with the HTTP status if there was one.
    The outcome of a creation that failed is unknown: Grafana may have stored it and not been able to say so.
    """

    def __init__(self, settings: HttpClient, *, timeout: float = TIMEOUT) -> None:
        self._client = JsonClient(settings, "Grafana", timeout=timeout, hints=_HINTS)

    async def create(self, annotation: Annotation) -> int:
        """Store an annotation; its id."""
        body = _changes(annotation) | {"time": _milliseconds(annotation.at)}
        if annotation.dashboard:
            body["dashboardUID"] = annotation.dashboard
            if annotation.panel:
                body["panelId"] = annotation.panel
        return (await self._client.ask("create an annotation", "POST", _PATH, _CreatedAnnotation, body=body)).id

    async def patch(self, id: int, annotation: Annotation) -> None:
        """Give an annotation the text and tags of this one, and its end if it has one. Status 404 when it is gone."""
        body = _changes(annotation)
        await self._client.ask("change an annotation", "PATCH", f"{_PATH}/{id}", _Message, body=body)

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
        await self._client.ask("delete an annotation", "DELETE", f"{_PATH}/{id}", _Message)

    async def close(self) -> None:
        """Let go of the connections. The next request opens new ones."""
        await self._client.close()

    async def _list(self, *query: tuple[str, str]) -> list[_Item]:
        query = (("type", "annotation"), *query)
        return await self._client.ask("look for annotations", "GET", _PATH, list[_Item], query=query)


_PATH = "api/annotations"


class _CreatedAnnotation(msgspec.Struct):
    id: int


class _Item(msgspec.Struct):
    id: int
    time: int
    tags: list[str] | None = None


class _Message(msgspec.Struct):
    message: str


def _changes(annotation: Annotation) -> dict[str, Any]:
    body: dict[str, Any] = {"text": annotation.text, "tags": list(annotation.tags)}
    if annotation.ends_at is not None:
        body["timeEnd"] = _milliseconds(annotation.ends_at)
    return body


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)

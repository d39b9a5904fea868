"""The Grafana client: creates, changes, finds by tag and deletes annotations, and does nothing else.

Uses Grafana's annotation HTTP API (`/api/annotations`) of version 9 and later. `notify.grafana` decides what an
annotation says.
"""

from __future__ import annotations

from typing import Any

import msgspec

from remediator.clients.http_options import HttpClient
from remediator.clients.json_client import TIMEOUT, JsonClient

_HINTS = {403: "the account needs the permissions annotations:create, write, delete and read"}


class Annotation(msgspec.Struct, frozen=True):
    """One annotation: a region, or a point without `ends_at`. Times are seconds since the epoch.

    `text` is HTML, which Grafana sanitises. With a `dashboard` it is on one panel, or on all for `panel` 0. Without one
    it belongs to the whole organisation.
    """

    at: float
    text: str
    tags: tuple[str, ...] = ()
    ends_at: float | None = None
    dashboard: str = ""
    panel: int = 0


class Grafana:
    """One Grafana. Every request with its response takes at most `timeout` seconds.

    Every method raises RemoteError when the request failed, with the HTTP status if there is one. After a failed
    creation Grafana may have stored the annotation all the same.
    """

    def __init__(self, settings: HttpClient, *, timeout: float = TIMEOUT) -> None:
        self._client = JsonClient(settings, "Grafana", timeout=timeout, hints=_HINTS)

    async def create(self, annotation: Annotation) -> int:
        """Create an annotation and return its id."""
        body = _changes(annotation) | {"time": _milliseconds(annotation.at)}
        if annotation.dashboard:
            body["dashboardUID"] = annotation.dashboard
            if annotation.panel:
                body["panelId"] = annotation.panel
        return (await self._client.ask("create an annotation", "POST", _PATH, _CreatedAnnotation, body=body)).id

    async def patch(self, id: int, annotation: Annotation) -> None:
        """Replace the text and tags of an annotation, and its end if one is given. Status 404 when it is gone."""
        body = _changes(annotation)
        await self._client.ask("change an annotation", "PATCH", f"{_PATH}/{id}", _Message, body=body)

    async def find(self, tag: str, at: float) -> list[int]:
        """The ids of the annotations with this tag that begin at `at`, oldest first.

        Grafana stores an annotation before its tags. When the second part fails, only a search by time finds it.
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
        """Close the connections. The next request opens new ones."""
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

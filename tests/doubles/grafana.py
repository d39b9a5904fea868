"""A Grafana that knows annotations: its HTTP API as Grafana's own source reads, with faults that can be switched on.

Served on loopback by `start`, refused by `stop` on the same port, so that an outage of any length can be played. The
annotations outlive both, as a database does. Times in the API are milliseconds since the epoch.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from aiohttp import web

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Fault(StrEnum):
    """What goes wrong with a request. The health endpoint is spared."""

    NONE = "none"
    ERROR = "error"
    """Answers 500 and does nothing."""
    TOO_MANY = "too_many"
    """Answers 429 and does nothing."""
    GATEWAY = "gateway"
    """A proxy in front answers 404 with its own page."""
    LOGIN_PAGE = "login_page"
    """Something answers 200 with a web page."""
    DROP = "drop"
    """Closes the connection and does nothing."""
    HANG = "hang"
    """Never answers and does nothing; `stop` lets go."""
    DONE_THEN_DROP = "done_then_drop"
    """Does what was asked, and closes the connection instead of saying so."""
    DONE_THEN_HANG = "done_then_hang"
    """Does what was asked, and never answers; `stop` lets go."""
    DONE_THEN_ERROR = "done_then_error"
    """Does what was asked, and answers 500."""
    HALF_DONE = "half_done"
    """Stores a new annotation, but fails to store its tags where they are looked up, and answers 500."""
    DONE_LATE = "done_late"
    """Closes the connection, and does what was asked only when `finish_late` is called."""


class GrafanaDouble:
    """State and switches of one Grafana; `url` is its address once started."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.annotations: dict[int, dict[str, Any]] = {}
        self.dashboards: set[str] = set()
        self.token = ""
        """The one valid token; empty means that everybody may do everything."""
        self.token_state = "valid"
        self.basic = ("", "")
        self.org = 1
        self.permissions = {"annotations:create", "annotations:write", "annotations:delete", "annotations:read"}
        self.forbidden_dashboards: set[str] = set()
        self.narrow = False
        """Whether the account's scopes are narrow, so that an unknown id is 403 and not 404."""
        self.tags_length = 500
        self.fault = Fault.NONE
        """What happens to every request, once `next_faults` is used up."""
        self.next_faults: deque[Fault] = deque()
        self.carried_out: Callable[[], object] = lambda: None
        """Called when DONE_THEN_HANG has done what was asked."""
        self.requests: list[tuple[str, str, int]] = []
        """Method, path with query, and status answered (0 for none), in order."""
        self.headers: list[dict[str, str]] = []
        self.port = 0
        self._now = now
        self._ids = itertools.count(1)
        self._untagged: set[int] = set()
        self._late: list[Callable[[], object]] = []
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._tls: ssl.SSLContext | None = None

    # Serving.

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen, on the port of the last time if there was one."""
        self._tls = tls or self._tls
        self._stopping = asyncio.Event()
        self._runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(
            self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True, reuse_port=True
        ).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections; what is stored stays."""
        self._stopping.set()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def finish_late(self) -> None:
        """Carry out everything that DONE_LATE put off."""
        late, self._late = self._late, []
        for deed in late:
            deed()

    def app(self) -> web.Application:
        """The application, to be served in any other way."""
        app = web.Application(middlewares=[self._record, self._authenticate])
        app.add_routes(
            [
                web.get("/api/health", self._health),
                web.post("/api/annotations", self._create),
                web.get("/api/annotations", self._list),
                web.post("/api/annotations/graphite", self._graphite),
                web.post("/api/annotations/mass-delete", self._mass_delete),
                web.get("/api/annotations/tags", self._tags),
                web.get("/api/annotations/{id}", self._get),
                web.patch("/api/annotations/{id}", self._patch),
                web.put("/api/annotations/{id}", self._put),
                web.delete("/api/annotations/{id}", self._delete),
            ]
        )
        return app

    # What comes before every handler.

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        path = str(request.rel_url)
        try:
            response = await self._faulty(request, handler)
        except web.HTTPException as error:
            self.requests.append((request.method, path, error.status))
            raise
        except asyncio.CancelledError:
            self.requests.append((request.method, path, 0))
            raise
        gone = request.transport is None or request.transport.is_closing()
        self.requests.append((request.method, path, 0 if gone else response.status))
        return response

    async def _faulty(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/api/health":
            return await handler(request)
        match self.next_faults.popleft() if self.next_faults else self.fault:
            case Fault.ERROR:
                return _said(500, "Internal Server Error")
            case Fault.TOO_MANY:
                return _said(429, "Too many requests")
            case Fault.GATEWAY:
                return web.Response(status=404, text="default backend - 404")
            case Fault.LOGIN_PAGE:
                return web.Response(text="<html>Log in</html>", content_type="text/html")
            case Fault.DROP:
                return _dropped(request)
            case Fault.HANG:
                await self._stopping.wait()
                return _dropped(request)
            case Fault.DONE_THEN_DROP:
                await _carried_out(request, handler)
                return _dropped(request)
            case Fault.DONE_THEN_HANG:
                await _carried_out(request, handler)
                self.carried_out()
                await self._stopping.wait()
                return _dropped(request)
            case Fault.DONE_THEN_ERROR:
                await _carried_out(request, handler)
                return _said(500, "Internal Server Error")
            case Fault.HALF_DONE if request.method == "POST":
                self._untagged.add(self._store(await _decoded(request, _New)))
                return _said(500, "Failed to save annotation")
            case Fault.DONE_LATE if request.method == "POST":
                body = await _decoded(request, _New)
                self._late.append(lambda: self._store(body))
                return _dropped(request)
        return await handler(request)

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self.token or request.path == "/api/health":
            return await handler(request)
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            user, _, password = base64.b64decode(given).decode().partition(":")
            if (user, password) == self.basic:
                return await handler(request)
            if user != "api_key":
                return _said(401, "Invalid username or password", "password-auth.failed")
            given = password
        elif scheme != "Bearer":
            return _said(401, "Unauthorized")
        if given != self.token:
            return _said(401, "Invalid API key", "api-key.invalid")
        if self.token_state != "valid":
            return _said(401, f"{self.token_state.capitalize()} API key", f"api-key.{self.token_state}")
        if request.headers.get("X-Grafana-Org-Id", str(self.org)) != str(self.org):
            return _said(401, "API key does not belong to the requested organization", "api-key.organization-mismatch")
        return await handler(request)

    def _require(self, permission: str, dashboard: str | None = None) -> None:
        if f"annotations:{permission}" not in self.permissions or dashboard in self.forbidden_dashboards:
            body = {
                "title": "Access denied",
                "message": "You'll need additional permissions to perform this action. "
                f"Permissions needed: annotations:{permission}",
                "accessErrorId": "ACE0123456789",
            }
            raise web.HTTPForbidden(text=json.dumps(body), content_type="application/json")

    def _found(self, request: web.Request, permission: str) -> dict[str, Any]:
        text = request.match_info["id"]
        if not text.isdigit():
            raise _refusal(400, "annotationId is invalid")
        stored = self.annotations.get(int(text))
        if stored is None:
            self._require("scoped to it" if self.narrow else permission)
            raise _refusal(404, "Annotation not found")
        self._require(permission, stored["dashboardUID"])
        return stored

    # The handlers.

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"database": "ok", "version": "10.4.0", "commit": "0000000000"})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        new = await _decoded(request, _New)
        self._require("create", new.dashboardUID or None)
        if not new.text:
            return _said(400, "Failed to save annotation")
        tags = _split(new.tags or [])
        if _length(tags) > self.tags_length:
            return _said(400, "Tags length exceeds the maximum allowed.", "annotations.tag-limit-exceeded")
        if not _fit(tags):
            self._untagged.add(self._store(new))
            return _said(500, "Failed to save annotation")
        return web.json_response({"message": "Annotation added", "id": self._store(new)})

    def _store(self, new: _New) -> int:
        now = int(self._now() * 1000)
        begin = new.time or now
        end = new.timeEnd or begin
        known = new.dashboardUID in self.dashboards
        id = next(self._ids)
        self.annotations[id] = {
            "id": id,
            "alertId": 0,
            "alertName": "",
            "dashboardId": new.dashboardId or 0,
            "dashboardUID": new.dashboardUID if known else None,
            "panelId": new.panelId or 0,
            "userId": 1,
            "newState": "",
            "prevState": "",
            "created": now,
            "updated": now,
            "time": min(begin, end),
            "timeEnd": max(begin, end),
            "text": new.text,
            "tags": _split(new.tags or []),
            "login": "remediator",
            "email": "",
            "avatarUrl": "",
            "data": new.data or {},
        }
        return id

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self._require("read")
        query = request.query
        begin, end = int(query.get("from", 0)), int(query.get("to", 0))
        wanted = _split(query.getall("tags", []))
        uid = query.get("dashboardUID", "")
        if uid and uid not in self.dashboards:
            return _said(400, "Invalid dashboard UID in annotation request")
        if query.get("type") == "alert":
            return web.json_response([])

        def fits(item: dict[str, Any]) -> bool:
            indexed = [] if item["id"] in self._untagged else item["tags"]
            # A tag without a value asks for its key alone, and may so be met more than once.
            met = sum(any(tag == want or tag.startswith(f"{want}:") for want in wanted) for tag in indexed)
            return (
                (not (begin > 0 and end > 0) or (item["time"] <= end and item["timeEnd"] >= begin))
                and (not wanted or (met > 0 if query.get("matchAny") == "true" else met == len(wanted)))
                and (not uid or item["dashboardUID"] == uid)
                and all(
                    name not in query or int(query[name]) == item[name]
                    for name in ("dashboardId", "panelId", "userId", "alertId")
                )
                and item["dashboardUID"] not in self.forbidden_dashboards
            )

        items = [item for item in self.annotations.values() if fits(item)]
        items.sort(key=lambda item: (-item["timeEnd"], -item["time"]))
        return web.json_response(items[: int(query.get("limit", 100)) or 100])

    async def _get(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._found(request, "read"))

    async def _patch(self, request: web.Request) -> web.StreamResponse:
        stored = self._found(request, "write")
        change = await _decoded(request, _Change)
        if change.tags is not None:
            tags = _split(change.tags)
            if _length(tags) > self.tags_length or not _fit(tags):
                return _said(500, "Failed to update annotation")
            stored["tags"] = tags
            self._untagged.discard(stored["id"])
        if change.text:
            stored["text"] = change.text
        if change.time and change.time > 0:
            stored["time"] = change.time
        if change.timeEnd and change.timeEnd > 0:
            stored["timeEnd"] = change.timeEnd
        if change.data:
            stored["data"] = change.data
        return self._updated(stored, "Annotation patched")

    async def _put(self, request: web.Request) -> web.StreamResponse:
        stored = self._found(request, "write")
        change = await _decoded(request, _Change)
        stored["text"], stored["tags"] = change.text or "", _split(change.tags or [])
        stored["time"] = change.time or stored["time"]
        stored["timeEnd"] = change.timeEnd or stored["timeEnd"]
        stored["data"] = change.data or stored["data"]
        return self._updated(stored, "Annotation updated")

    def _updated(self, stored: dict[str, Any], message: str) -> web.Response:
        stored["updated"] = int(self._now() * 1000)
        return _said(200, message)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        del self.annotations[self._found(request, "delete")["id"]]
        return _said(200, "Annotation deleted")

    async def _graphite(self, request: web.Request) -> web.StreamResponse:
        new = await _decoded(request, _Graphite)
        self._require("create")
        tags = new.tags.split(" ") if isinstance(new.tags, str) else new.tags
        if not new.what or not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            return _said(400, "Failed to save Graphite annotation")
        text = f"{new.what}\n{new.data}" if new.data else new.what
        id = self._store(_New(text=text, time=(new.when or 0) * 1000, tags=tags))
        return web.json_response({"message": "Graphite annotation added", "id": id})

    async def _tags(self, request: web.Request) -> web.StreamResponse:
        self._require("read")
        counts: dict[str, int] = {}
        for item in self.annotations.values():
            for tag in item["tags"]:
                if request.query.get("tag", "") in tag:
                    counts[tag] = counts.get(tag, 0) + 1
        tags = [{"tag": tag, "count": count} for tag, count in sorted(counts.items())]
        return web.json_response({"result": {"tags": tags[: int(request.query.get("limit", 100))]}})

    async def _mass_delete(self, request: web.Request) -> web.StreamResponse:
        which = await _decoded(request, _Which)
        self._require("delete")
        if not which.annotationId and not ((which.dashboardUID or which.dashboardId) and which.panelId):
            return _said(400, "Failed to mass delete annotations")
        for id, item in list(self.annotations.items()):
            if which.annotationId:
                hit = id == which.annotationId
            else:
                same = item["dashboardUID"] == which.dashboardUID or item["dashboardId"] == (which.dashboardId or -1)
                hit = same and item["panelId"] == which.panelId
            if hit:
                del self.annotations[id]
        return _said(200, "Annotations deleted")


class _New(msgspec.Struct):
    dashboardUID: str | None = None  # noqa: N815 - Grafana's names
    dashboardId: int | None = None  # noqa: N815
    panelId: int | None = None  # noqa: N815
    time: int | None = None
    timeEnd: int | None = None  # noqa: N815
    text: str | None = None
    tags: list[str] | None = None
    data: dict[str, Any] | None = None


class _Change(msgspec.Struct):
    time: int | None = None
    timeEnd: int | None = None  # noqa: N815
    text: str | None = None
    tags: list[str] | None = None
    data: dict[str, Any] | None = None


class _Graphite(msgspec.Struct):
    what: str | None = None
    when: int | None = None
    tags: Any = None
    data: str | None = None


class _Which(msgspec.Struct):
    annotationId: int | None = None  # noqa: N815
    dashboardUID: str | None = None  # noqa: N815
    dashboardId: int | None = None  # noqa: N815
    panelId: int | None = None  # noqa: N815


async def _decoded(request: web.Request, kind: type[T]) -> T:
    """The body, empty meaning an empty object; HTTP 400 when it is not JSON of this shape."""
    if request.content_type != "application/json":
        raise _refusal(400, "bad request data")
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except msgspec.DecodeError:
        raise _refusal(400, "bad request data") from None


def _split(tags: list[str]) -> list[str]:
    """Tags as Grafana keeps them: key and value, split at a colon, of which a second one ends the value."""
    kept: dict[str, None] = {}
    for tag in tags:
        key, _, rest = tag.partition(":")
        value = rest.partition(":")[0].strip(" ")
        if key.strip(" "):
            kept[f"{key.strip(' ')}:{value}" if value else key.strip(" ")] = None
    return list(kept)


def _length(tags: list[str]) -> int:
    """How Grafana estimates the bytes of a list of tags in JSON."""
    return 2 + sum(len(tag.encode()) + 2 for tag in tags) + max(0, len(tags) - 1)


def _fit(tags: list[str]) -> bool:
    """Whether keys and values are short enough for their columns in Grafana's database, and free of what PostgreSQL
    does not take."""
    return all(len(part) <= 100 and "\0" not in part for tag in tags for part in tag.split(":"))


def _said(status: int, message: str, id: str = "") -> web.Response:
    more = {"messageId": id, "statusCode": status, "traceID": ""} if id else {}
    return web.json_response({"message": message, **more}, status=status)


def _refusal(status: int, message: str) -> web.HTTPException:
    kind = {400: web.HTTPBadRequest, 404: web.HTTPNotFound}[status]
    return kind(text=json.dumps({"message": message}), content_type="application/json")


async def _carried_out(request: web.Request, handler: Handler) -> None:
    """Do what is asked, if it can be done."""
    with contextlib.suppress(web.HTTPException):
        await handler(request)


def _dropped(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()

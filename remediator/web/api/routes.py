"""The HTTP API: what was seen and done, and what an operator can do, in the shape of Prometheus' answers."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated, Any

import msgspec
from aiohttp import web

from remediator import __version__
from remediator.decision.case import ServiceView
from remediator.errors import ConfigError, PayloadError
from remediator.web.api import operations
from remediator.web.api.events import stream
from remediator.web.api.rule_text import rule_text
from remediator.web.api.serialize import (
    serialize_alert,
    serialize_entry,
    serialize_incident,
    serialize_leader,
    serialize_page_alert,
    serialize_pause,
    serialize_service,
    serialize_time,
    serialize_why,
)
from remediator.web.context import CONTEXT
from remediator.web.request_body import read_json
from remediator.web.responses import failure, success, success_list
from remediator.web.threads import in_thread

_MOST = 1000


class HealRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/services/{name}/heal`."""

    author: str = ""
    comment: str = ""
    force: bool = False


class AnswerRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of an answer to an incident."""

    author: str = ""
    comment: str = ""


class PauseRequest(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Body of `POST /api/v1/pauses`. An explicitly empty list of matchers means every service."""

    matchers: list[str]
    duration: str = ""
    ends_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    author: str = ""
    comment: str = ""


async def health(request: web.Request) -> web.Response:
    """The system's summary."""
    context = request.app[CONTEXT]
    now = context.clock.now()
    summary = await context.store.summary()
    reasons = context.system.not_ready()
    leader = context.system.leader()
    return success(
        {
            "version": __version__,
            "ready": not reasons,
            "notReady": reasons,
            "warnings": context.system.warnings(),
            "leads": leader is None or leader.me,
            "leader": None if leader is None or not leader.name else serialize_leader(leader),
            "startedAt": serialize_time(context.started_at),
            "uptimeSeconds": max(0.0, now - context.started_at),
            "services": Counter(view.health for view in context.system.services()),
            "incidentsOpen": summary.open,
            "verdicts": summary.verdicts,
            "meanTimeToRecoverySeconds": summary.mean_time_to_recovery,
            "alerts": summary.dispositions,
            "pauses": len(await context.store.pauses(now)),
            "pages": [serialize_page_alert(page) for page in context.system.page_alerts()],
        }
    )


async def services(request: web.Request) -> web.Response:
    """Every service."""
    return await success_list(serialize_service, request.app[CONTEXT].system.services())


async def add_service(request: web.Request) -> web.Response:
    """Remember a service, given in the form of a rule file."""
    context = request.app[CONTEXT]
    document = await read_json(request, dict[str, Any], context.body_timeout)
    author = operations.author_of(request, request.query.get("author", ""))
    await context.system.add_service(document, author)
    view = context.system.service(str(document.get("name", "")))
    return success(None if view is None else serialize_service(view), 201)


async def service(request: web.Request) -> web.Response:
    """One service."""
    return success(serialize_service(_service(request)))


async def remove_service(request: web.Request) -> web.Response:
    """Forget a service added at run time."""
    author = operations.author_of(request, request.query.get("author", ""))
    context, name = request.app[CONTEXT], request.match_info["name"]
    # A stored service that is refused has no view, but can be removed.
    if all(service.name != name for service in await context.store.added_services()):
        _service(request)
    await context.system.remove_service(name, author)
    return success({"name": name})


async def why(request: web.Request) -> web.Response:
    """Why it did, or did not, act on a service."""
    name = request.match_info["name"]
    account = await request.app[CONTEXT].system.why(name)
    if account is None:
        raise operations.no_service(name)
    return success(serialize_why(account))


async def heal(request: web.Request) -> web.Response:
    """Ask for a heal. It is answered when the request is recorded, which is before anything is run."""
    given = await read_json(request, HealRequest, request.app[CONTEXT].body_timeout)
    stored = await operations.heal(request, request.match_info["name"], given.author, given.comment, given.force)
    return success(serialize_alert(stored), 202)


async def incidents(request: web.Request) -> web.Response:
    """Incidents, newest first. With the id `before`, the page has those below it."""
    query = request.query
    found = await request.app[CONTEXT].store.incidents(
        service=query.get("service", ""),
        open_only=_flag(request, "open"),
        before=_number(request, "before"),
        limit=_limit(request),
    )
    return await success_list(serialize_incident, found)


async def incident(request: web.Request) -> web.Response:
    """One incident with its step runs."""
    id = int(request.match_info["id"])
    found = await request.app[CONTEXT].store.incident(id)
    if found is None:
        raise operations.no_incident(id)
    return success(serialize_incident(found))


async def answer(request: web.Request) -> web.Response:
    """Approve, deny or dismiss an incident."""
    given = await read_json(request, AnswerRequest, request.app[CONTEXT].body_timeout)
    id, verb = int(request.match_info["id"]), request.match_info["verb"]
    if verb == "dismiss":
        found = await operations.dismiss(request, id, given.author, given.comment)
    else:
        found = await operations.answer(request, id, verb == "approve", given.author, given.comment)
    return success(serialize_incident(found))


async def history(request: web.Request) -> web.Response:
    """The journal, newest first. With the id `before`, the page has those below it."""
    found = await request.app[CONTEXT].store.recent_journal(
        service=request.query.get("service", ""), before=_number(request, "before"), limit=_limit(request)
    )
    return await success_list(serialize_entry, found)


async def alerts(request: web.Request) -> web.Response:
    """Alerts with what became of them, newest change first. With the seq `before`, the page has those below it."""
    found = await request.app[CONTEXT].store.alerts(
        service=request.query.get("service", ""),
        firing_only=_flag(request, "firing"),
        before=_number(request, "before"),
        limit=_limit(request),
    )
    return await success_list(serialize_alert, found)


async def alert(request: web.Request) -> web.Response:
    """What became of the alerts of one fingerprint, the newest first, and the account of the newest alert's service."""
    context, fingerprint = request.app[CONTEXT], request.match_info["fingerprint"]
    found = await context.store.alerts_with(fingerprint)
    if not found:
        raise web.HTTPNotFound(text=f"cannot find an alert with the fingerprint {fingerprint!r}")
    account = await context.system.why(found[0].service) if found[0].service else None
    why = None if account is None else serialize_why(account)
    return success({"alerts": [serialize_alert(stored) for stored in found], "why": why})


async def pauses(request: web.Request) -> web.Response:
    """Pauses that have not ended."""
    context = request.app[CONTEXT]
    return success([serialize_pause(pause) for pause in await context.store.pauses(context.clock.now())])


async def add_pause(request: web.Request) -> web.Response:
    """Pause healing."""
    given = await read_json(request, PauseRequest, request.app[CONTEXT].body_timeout)
    ends_at = given.ends_at.timestamp() if given.ends_at else None
    pause = await operations.pause(request, given.matchers, given.duration, ends_at, given.author, given.comment)
    return success(serialize_pause(pause), 201)


async def end_pause(request: web.Request) -> web.Response:
    """End a pause."""
    pause = await operations.resume(request, int(request.match_info["id"]), request.query.get("author", ""))
    return success(serialize_pause(pause))


async def rules(request: web.Request) -> web.Response:
    """The rules in use."""
    return success(await in_thread(rule_text, request.app[CONTEXT].system.rules()))


async def reload(request: web.Request) -> web.Response:
    """Reload config and rules. If they are wrong, the answer is 500, as from Prometheus, and the old ones stay in
    use."""
    try:
        await request.app[CONTEXT].system.reload()
    except ConfigError as error:
        return failure(500, "config", f"cannot reload: {error}")
    return success(None)


_NAME = r"{name:.+}"
_ID = r"{id:\d{1,18}}"

ROUTES = (
    web.get("/api/v1/health", health),
    web.get("/api/v1/services", services),
    web.post("/api/v1/services", add_service),
    web.get(f"/api/v1/services/{_NAME}/why", why),
    web.post(f"/api/v1/services/{_NAME}/heal", heal),
    web.get(f"/api/v1/services/{_NAME}", service),
    web.delete(f"/api/v1/services/{_NAME}", remove_service),
    web.get("/api/v1/incidents", incidents),
    web.get(f"/api/v1/incidents/{_ID}", incident),
    web.post(f"/api/v1/incidents/{_ID}/{{verb:approve|deny|dismiss}}", answer),
    web.get("/api/v1/history", history),
    web.get("/api/v1/alerts", alerts),
    web.get("/api/v1/alerts/{fingerprint}", alert),
    web.get("/api/v1/pauses", pauses),
    web.post("/api/v1/pauses", add_pause),
    web.delete(f"/api/v1/pauses/{_ID}", end_pause),
    web.get("/api/v1/rules", rules),
    web.get("/api/v1/events", stream),
    web.post("/-/reload", reload),
    web.put("/-/reload", reload),
)


def _service(request: web.Request) -> ServiceView:
    name = request.match_info["name"]
    view = request.app[CONTEXT].system.service(name)
    if view is None:
        raise operations.no_service(name)
    return view


def _number(request: web.Request, name: str) -> int | None:
    given = request.query.get(name)
    if given is None:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 18:
        raise PayloadError("bad_data", f"cannot use {name}={given[:40]!r}: it is not a whole number")
    return int(given)


def _limit(request: web.Request) -> int:
    limit = _number(request, "limit")
    if limit is None:
        return 50
    if not 1 <= limit <= _MOST:
        raise PayloadError("bad_data", f"cannot use limit={limit}: it has to be between 1 and {_MOST}")
    return limit


def _flag(request: web.Request, name: str) -> bool:
    given = request.query.get(name, "false")
    if given not in ("true", "false"):
        raise PayloadError("bad_data", f"cannot use {name}={given[:40]!r}: it has to be true or false")
    return given == "true"

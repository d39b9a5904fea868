"""The pages for people, who may read them on a phone at three in the morning: rendered here, with forms for their
actions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web
from jinja2 import Environment

from remediator import __version__
from remediator.decision.case import ServiceView
from remediator.errors import PayloadError
from remediator.model.gate import Gate
from remediator.model.health import Health
from remediator.model.incident import Entry, EntryKind, Incident, StepRun
from remediator.model.matcher import parse_matchers
from remediator.web.api import operations
from remediator.web.api.rule_text import rule_text
from remediator.web.auth import SESSION_COOKIE
from remediator.web.context import CONTEXT, PRINCIPAL
from remediator.web.paths import link, path_within
from remediator.web.permissions import Permission
from remediator.web.threads import in_thread
from remediator.web.ui.forms import csrf_token, read_form, remembered_author, see_other, set_token

TEMPLATES: web.AppKey[Environment] = web.AppKey("templates", Environment)

_SHOWN = 200
"""Maximum number of services on the page. The filter finds the others."""
_ROWS = 50
_URGENT = (Health.FAILED, Health.DEGRADED, Health.RECOVERING, Health.UNKNOWN, Health.HEALTHY)
_DONE = {
    "heal": "The heal is asked for. What becomes of it shows here and on the incident.",
    "approve": "Approved.",
    "deny": "Denied.",
    "dismiss": "The incident is dismissed.",
    "pause": "Healing is paused.",
    "resume": "The pause has ended.",
}
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


async def overview(request: web.Request) -> web.Response:
    """Every service at a glance. Those in trouble come first."""
    context = request.app[CONTEXT]
    now = context.clock.now()
    views = context.system.services()
    wanted, health = request.query.get("q", "").strip(), request.query.get("health", "")
    shown, found, counts = await in_thread(_choose, views, wanted, health)
    return await show_page(
        request,
        "overview.html",
        views=shown,
        found=found,
        total=len(views),
        counts=counts,
        q=wanted,
        health=health,
        healths=_URGENT,
        summary=await context.store.summary(),
        pauses=await context.store.pauses(now),
        paged=context.system.page_alerts(),
        unpaged=context.system.unpaged_alerts(),
        not_ready=context.system.not_ready(),
        warnings=context.system.warnings(),
        leader=context.system.leader(),
        entries=await context.store.recent_journal(limit=12),
        uptime=max(0.0, now - context.started_at),
    )


async def incidents(request: web.Request) -> web.Response:
    """Incidents, newest first."""
    found = await request.app[CONTEXT].store.incidents(
        service=request.query.get("service", ""),
        open_only=request.query.get("open") == "true",
        before=_before(request),
        limit=_ROWS,
    )
    older = _older(request, found[-1].id) if len(found) == _ROWS else ""
    return await show_page(
        request, "incidents.html", incidents=found, older=older, open_only=request.query.get("open") == "true",
        service=request.query.get("service", ""),
    )  # fmt: skip


async def incident(request: web.Request) -> web.Response:
    """One incident: what was seen, what was run, and with which result."""
    store, id = request.app[CONTEXT].store, int(request.match_info["id"])
    found = await store.incident(id)
    if found is None:
        raise operations.no_incident(id)
    entries = await store.journal(incident=id, limit=500)
    asks = found.open and found.approval is None and found.hold is not None and found.hold.gate is Gate.APPROVAL
    labels = operations.labels_of(request, found)
    return await show_page(
        request, "incident.html", incident=found, timeline=_timeline(found, entries), asks=asks, service_labels=labels
    )


async def service(request: web.Request) -> web.Response:
    """One service: why it has its health, and why something is or is not done about it."""
    context, name = request.app[CONTEXT], request.match_info["name"]
    account = await context.system.why(name)
    if account is None:
        raise operations.no_service(name)
    return await show_page(
        request,
        "service.html",
        why=account,
        view=account.service,
        entries=await context.store.recent_journal(service=name, limit=20),
        past=await context.store.incidents(service=name, limit=5),
    )


async def alerts(request: web.Request) -> web.Response:
    """Every alert with what became of it."""
    firing, service = request.query.get("firing") == "true", request.query.get("service", "")
    found = await request.app[CONTEXT].store.alerts(
        service=service, firing_only=firing, before=_before(request), limit=_ROWS
    )
    older = _older(request, found[-1].seq) if len(found) == _ROWS else ""
    return await show_page(request, "alerts.html", alerts=found, older=older, firing=firing, service=service)


async def rules(request: web.Request) -> web.Response:
    """The rules in use, in the notation of rule files."""
    shown = await in_thread(rule_text, request.app[CONTEXT].system.rules())
    return await show_page(request, "rules.html", rules=shown)


async def heal(request: web.Request) -> web.Response:
    """The heal button."""
    fields, name = await read_form(request), request.match_info["name"]
    await operations.heal(
        request, name, fields.get("author", ""), fields.get("comment", ""), fields.get("force") == "yes"
    )
    return see_other(request, f"/services/{quote(name)}?done=heal", fields)


async def answer(request: web.Request) -> web.Response:
    """The buttons of an open incident."""
    fields, id = await read_form(request), int(request.match_info["id"])
    verb, author, comment = request.match_info["verb"], fields.get("author", ""), fields.get("comment", "")
    if verb == "dismiss":
        await operations.dismiss(request, id, author, comment)
    else:
        await operations.answer(request, id, verb == "approve", author, comment)
    return see_other(request, f"/incidents/{id}?done={verb}", fields)


async def pause(request: web.Request) -> web.Response:
    """The form that pauses."""
    fields = await read_form(request)
    try:
        matchers = [str(matcher) for matcher in parse_matchers(fields.get("matchers", ""))]
    except ValueError as error:
        raise PayloadError("bad_data", f"cannot read the matchers: {error}") from None
    if not matchers and fields.get("everything") != "yes":
        raise PayloadError("bad_data", "cannot pause: write matchers, or tick that every service is meant")
    author, comment = fields.get("author", ""), fields.get("comment", "")
    await operations.pause(request, matchers, fields.get("duration", ""), None, author, comment)
    return see_other(request, "/?done=pause", fields)


async def resume(request: web.Request) -> web.Response:
    """The button that ends a pause."""
    fields = await read_form(request)
    await operations.resume(
        request, int(request.match_info["id"]), fields.get("author", "") or remembered_author(request)
    )
    return see_other(request, "/?done=resume", fields)


async def static(request: web.Request) -> web.Response:
    """The style sheet, the script and the icon."""
    name = request.match_info["name"]
    headers = {"Cache-Control": "no-cache"}
    return web.Response(text=_static(name), content_type=_TYPES[name.rpartition(".")[2]], headers=headers)


async def error_page(request: web.Request, status: int, message: str) -> web.Response:
    """What went wrong, for people. It reveals nothing of the system, because strangers see it too."""
    text = await in_thread(_render, request.app[TEMPLATES], "error.html", status=status, message=message)
    return web.Response(text=text, status=status, content_type="text/html")


_ID = r"{id:\d{1,18}}"

ROUTES = (
    web.get("/", overview),
    web.get("/incidents", incidents),
    web.get(f"/incidents/{_ID}", incident),
    web.post(f"/incidents/{_ID}/{{verb:approve|deny|dismiss}}", answer),
    web.get("/services/{name:.+}", service),
    web.post("/services/{name:.+}/heal", heal),
    web.get("/alerts", alerts),
    web.get("/rules", rules),
    web.post("/pauses", pause),
    web.post(f"/pauses/{_ID}/resume", resume),
    web.get(r"/static/{name:(?:style\.css|live\.js|icon\.svg)}", static),
)


async def show_page(request: web.Request, template: str, **context: Any) -> web.Response:
    """A page from a template, with the parts that every page shows."""
    token = csrf_token(request)
    text = await in_thread(
        _render,
        request.app[TEMPLATES],
        template,
        now=request.app[CONTEXT].clock.now(),
        path=path_within(request),
        csrf=token,
        user=request[PRINCIPAL].name,
        signed_in=request[PRINCIPAL].known,
        session=SESSION_COOKIE in request.cookies and request[PRINCIPAL].known,
        may_pause=lambda matchers: request[PRINCIPAL].may_operate_all(tuple(matchers)),
        may=lambda deed, labels=None: request[PRINCIPAL].may(Permission(deed), labels),
        author=remembered_author(request),
        done=_DONE.get(request.query.get("done", ""), ""),
        version=__version__,
        **context,
    )
    response = web.Response(text=text, content_type="text/html")
    set_token(request, response, token)
    return response


def _render(templates: Environment, template: str, **context: Any) -> str:
    return templates.get_template(template).render(**context)


@lru_cache
def _static(name: str) -> str:
    return (resources.files("remediator.web.ui") / "static" / name).read_text(encoding="utf-8")


def _choose(views: Sequence[ServiceView], wanted: str, health: str) -> tuple[list[ServiceView], int, Counter[Health]]:
    """The services to show, the number that fit the filter, and the numbers by health."""
    counts = Counter(view.health for view in views)
    low = wanted.lower()
    fitting = [view for view in views if (not health or view.health == health) and _fits(view, low)]
    fitting.sort(key=lambda view: (view.incident is None, _URGENT.index(view.health), view.name))
    return fitting[:_SHOWN], len(fitting), counts


def _fits(view: ServiceView, low: str) -> bool:
    return not low or low in view.name.lower() or any(low in f"{k}={v}".lower() for k, v in view.labels.items())


def _timeline(found: Incident, entries: Sequence[Entry]) -> list[tuple[float, Entry | None, StepRun | None]]:
    """What happened, in order. A step run shows more than its entries, so it replaces them."""
    ended = (EntryKind.STEP_STARTED, EntryKind.STEP_ENDED, EntryKind.PASSED_OVER)
    items: list[tuple[float, Entry | None, StepRun | None]] = [
        (entry.at, entry, None) for entry in entries if entry.kind not in ended
    ]
    items += [(run.started_at, None, run) for run in found.runs]
    last = EntryKind.INCIDENT_CLOSED
    return sorted(items, key=lambda item: (item[0], item[1] is not None and item[1].kind is last))


def _before(request: web.Request) -> int | None:
    given = request.query.get("before", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) <= 18 else None


def _older(request: web.Request, before: int) -> str:
    return f"{link(request, path_within(request))}?{urlencode({**request.query, 'before': before})}"

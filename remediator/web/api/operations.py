"""Operations of operators, shared by API and pages: checked, applied, and recorded with author and comment."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from remediator.errors import ConflictError, PayloadError
from remediator.model.durations import format_duration, parse_duration
from remediator.model.gate import Gate
from remediator.model.health import Health
from remediator.model.incident import Approval, Incident, Pause, StoredAlert, Verdict
from remediator.model.matcher import Matcher, parse_matcher
from remediator.web.context import CONTEXT, PRINCIPAL
from remediator.web.middleware import not_allowed
from remediator.web.permissions import Permission

_LONGEST_TEXT = 4096
_LONGEST_PAUSE = 366 * 86400.0


def author_of(request: web.Request, given: str) -> str:
    """The author of an action: the user of the credentials, or else the given name. PayloadError if there is
    neither."""
    author = request[PRINCIPAL].name or _text(given, "author")
    if not author:
        raise PayloadError("bad_data", "cannot do that for nobody: give an author")
    return author


async def heal(request: web.Request, name: str, author: str, comment: str, force: bool) -> StoredAlert:
    """Ask for a heal of a service."""
    author, comment = author_of(request, author), _text(comment, "comment")
    if force and not comment:
        raise PayloadError("bad_data", "cannot force a heal without a comment: say why")
    _require(request, Permission.OPERATE, name)
    stored = await request.app[CONTEXT].system.heal(name, author, comment, force)
    if stored is None:
        raise no_service(name)
    return stored


async def answer(request: web.Request, id: int, approved: bool, author: str, comment: str) -> Incident:
    """Approve or deny an incident that waits for approval."""
    context = request.app[CONTEXT]
    approval = Approval(approved, author_of(request, author), _text(comment, "comment"), context.clock.now())
    asking = await _existing(request, id)
    _require_of(request, Permission.ANSWER, asking)
    _require_asking(asking, "approve" if approved else "deny")
    incident = await context.store.answer(id, approval)
    context.system.on_operator_action()
    return incident


async def dismiss(request: web.Request, id: int, author: str, comment: str) -> Incident:
    """Close an incident by hand. This is refused while a step runs, because its effect could not be verified any
    more."""
    context = request.app[CONTEXT]
    author, comment = author_of(request, author), _text(comment, "comment")
    if not comment:
        raise PayloadError("bad_data", "cannot dismiss an incident without a comment: say why")
    incident = await _existing(request, id)
    _require_of(request, Permission.OPERATE, incident)
    if not incident.open:
        raise ConflictError(f"cannot dismiss incident {id}: it is closed already")
    view = context.system.service(incident.service)
    health = view.health if view is not None else Health.UNKNOWN
    text = f"dismissed by {author}: {comment}"
    closed = await context.store.close_incident(id, Verdict.DISMISSED, text, health, context.clock.now())
    context.system.on_operator_action()
    return closed


async def pause(
    request: web.Request, matchers: list[str], duration: str, ends_at: float | None, author: str, comment: str
) -> Pause:
    """Pause the healing of the services that match. Without matchers these are all services."""
    context = request.app[CONTEXT]
    now = context.clock.now()
    author, comment = author_of(request, author), _text(comment, "comment")
    if not comment:
        raise PayloadError("bad_data", "cannot pause without a comment: say why")
    ends_at = _end(now, duration, ends_at)
    selected = _matchers(matchers)
    _require_all(request, selected)
    stored = await context.store.add_pause(selected, now, ends_at, author, comment)
    context.system.on_operator_action()
    return stored


async def resume(request: web.Request, id: int, author: str) -> Pause:
    """End a pause."""
    context = request.app[CONTEXT]
    author = author_of(request, author)
    now = context.clock.now()
    found = next((pause for pause in await context.store.pauses(now) if pause.id == id), None)
    if found is None:
        raise web.HTTPNotFound(text=f"cannot find pause {id}: there is none, or it has ended")
    _require_all(request, found.matchers)
    ended = await context.store.end_pause(id, author, now)
    context.system.on_operator_action()
    return ended


def no_service(name: str) -> web.HTTPNotFound:
    """The answer for a service that is not there."""
    return web.HTTPNotFound(text=f"cannot find the service {name!r}")


def no_incident(id: int) -> web.HTTPNotFound:
    """The answer for an incident that is not there."""
    return web.HTTPNotFound(text=f"cannot find incident {id}")


def labels_of(request: web.Request, incident: Incident) -> dict[str, str]:
    """The labels of an incident's service: the present ones, or those when the incident opened."""
    view = request.app[CONTEXT].system.service(incident.service)
    return incident.plan.service.labels if view is None else view.labels


def _require(request: web.Request, permission: Permission, name: str) -> None:
    """HTTPException unless the principal has this permission for the service of this name."""
    view = request.app[CONTEXT].system.service(name)
    if view is None:
        raise no_service(name)
    if not request[PRINCIPAL].may(permission, view.labels):
        raise not_allowed(request, permission, name)


def _require_of(request: web.Request, permission: Permission, incident: Incident) -> None:
    if not request[PRINCIPAL].may(permission, labels_of(request, incident)):
        raise not_allowed(request, permission, incident.service)


def _require_asking(incident: Incident, what: str) -> None:
    """ConflictError if an open incident does not wait for an answer.

    Such an answer would be to a question that nobody has seen, or to none. If the incident is closed, or has its
    answer, the store raises the error.
    """
    hold, running = incident.hold, incident.running
    if not incident.open or incident.approval is not None or (hold is not None and hold.gate is Gate.APPROVAL):
        return
    state = "nothing holds it"
    if running is not None:
        state = f"{running.action} is running"
    elif hold is not None:
        state = f"{hold.gate.replace('_', ' ')} holds it: {hold.text}"
    raise ConflictError(f"cannot {what} incident {incident.id}: it does not wait for an answer; {state}")


def _require_all(request: web.Request, matchers: Sequence[Matcher]) -> None:
    """HTTPException unless the principal may operate every service that these matchers can select."""
    if not request[PRINCIPAL].may_operate_all(tuple(matchers)):
        raise not_allowed(request, Permission.OPERATE, ", ".join(map(str, matchers)) or "every service")


async def _existing(request: web.Request, id: int) -> Incident:
    incident = await request.app[CONTEXT].store.incident(id)
    if incident is None:
        raise no_incident(id)
    return incident


def _matchers(texts: list[str]) -> list[Matcher]:
    try:
        return [parse_matcher(text) for text in texts]
    except ValueError as error:
        raise PayloadError("bad_data", f"cannot read a matcher: {error}") from None


def _end(now: float, duration: str, ends_at: float | None) -> float:
    if duration:
        try:
            ends_at = now + parse_duration(duration)
        except ValueError as error:
            raise PayloadError("bad_data", f"cannot read the duration: {error}") from None
    if ends_at is None or not now < ends_at <= now + _LONGEST_PAUSE:
        longest = format_duration(_LONGEST_PAUSE)
        raise PayloadError("bad_data", f"cannot pause: give how long, more than 0s and at most {longest}")
    return ends_at


def _text(given: str, name: str) -> str:
    if len(given) > _LONGEST_TEXT:
        raise PayloadError("bad_data", f"cannot take the {name}: it is longer than {_LONGEST_TEXT} characters")
    return given.strip()

"""Operations of operators, shared by API and pages: checked, applied, and recorded with author and comment."""

from __future__ import annotations

from aiohttp import web

from remediator.errors import ConflictError, PayloadError
from remediator.model.durations import format_duration, parse_duration
from remediator.model.health import Health
from remediator.model.incident import Approval, Incident, Pause, StoredAlert, Verdict
from remediator.model.matcher import Matcher, parse_matcher
from remediator.web.context import CONTEXT, USER

_LONGEST_TEXT = 4096
_LONGEST_PAUSE = 366 * 86400.0


def author_of(request: web.Request, given: str) -> str:
    """Who acts: the user who was let in, or else the name given. PayloadError when there is neither."""
    author = request[USER] or _text(given, "author")
    if not author:
        raise PayloadError("bad_data", "cannot do that for nobody: give an author")
    return author


async def heal(request: web.Request, name: str, author: str, comment: str, force: bool) -> StoredAlert:
    """Ask for a heal of a service."""
    author, comment = author_of(request, author), _text(comment, "comment")
    if force and not comment:
        raise PayloadError("bad_data", "cannot force a heal without a comment: say why")
    stored = await request.app[CONTEXT].system.heal(name, author, comment, force)
    if stored is None:
        raise no_service(name)
    return stored


async def answer(request: web.Request, id: int, approved: bool, author: str, comment: str) -> Incident:
    """Say yes or no to an incident that waits for approval."""
    context = request.app[CONTEXT]
    approval = Approval(approved, author_of(request, author), _text(comment, "comment"), context.clock.now())
    await _existing(request, id)
    incident = await context.store.answer(id, approval)
    context.system.on_operator_action()
    return incident


async def dismiss(request: web.Request, id: int, author: str, comment: str) -> Incident:
    """Close an incident by hand. Not while a step runs: what it does could not be verified any more."""
    context = request.app[CONTEXT]
    author, comment = author_of(request, author), _text(comment, "comment")
    if not comment:
        raise PayloadError("bad_data", "cannot dismiss an incident without a comment: say why")
    incident = await _existing(request, id)
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
    """Pause the healing of the services that match, all of them when there are no matchers."""
    context = request.app[CONTEXT]
    now = context.clock.now()
    author, comment = author_of(request, author), _text(comment, "comment")
    if not comment:
        raise PayloadError("bad_data", "cannot pause without a comment: say why")
    ends_at = _end(now, duration, ends_at)
    stored = await context.store.add_pause(_matchers(matchers), now, ends_at, author, comment)
    context.system.on_operator_action()
    return stored


async def resume(request: web.Request, id: int, author: str) -> Pause:
    """End a pause."""
    context = request.app[CONTEXT]
    author = author_of(request, author)
    now = context.clock.now()
    if all(pause.id != id for pause in await context.store.pauses(now)):
        raise web.HTTPNotFound(text=f"cannot find pause {id}: there is none, or it has ended")
    ended = await context.store.end_pause(id, author, now)
    context.system.on_operator_action()
    return ended


def no_service(name: str) -> web.HTTPNotFound:
    """The answer for a service that is not there."""
    return web.HTTPNotFound(text=f"cannot find the service {name!r}")


def no_incident(id: int) -> web.HTTPNotFound:
    """The answer for an incident that is not there."""
    return web.HTTPNotFound(text=f"cannot find incident {id}")


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

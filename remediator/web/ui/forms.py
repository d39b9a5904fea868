"""The pages' forms. They are read within bounds, and accepted only with the token of the page that they came from."""

from __future__ import annotations

import re
import secrets
from typing import TypedDict
from urllib.parse import parse_qsl

from aiohttp import web

from remediator.errors import PayloadError
from remediator.web.context import CONTEXT
from remediator.web.forwarded import came_by_tls
from remediator.web.passwords import same
from remediator.web.paths import link
from remediator.web.request_body import read_body

_LIMIT = 64 * 1024
_CSRF, _AUTHOR = "remediator_csrf", "remediator_author"
_TOKEN = re.compile(r"[0-9a-f]{32}", re.ASCII)


class CookieOptions(TypedDict):
    """The attributes that all cookies share."""

    path: str
    httponly: bool
    samesite: str
    secure: bool


def cookie_options(request: web.Request) -> CookieOptions:
    """Cookies stay with these pages: their path, no scripts, no other sites, and TLS where the browser speaks it."""
    return {"path": link(request, "/"), "httponly": True, "samesite": "Strict", "secure": came_by_tls(request)}


def csrf_token(request: web.Request) -> str:
    """The token of this browser: that of its cookie, or a new one."""
    given = request.cookies.get(_CSRF, "")
    return given if _TOKEN.fullmatch(given) else secrets.token_hex(16)


def remembered_author(request: web.Request) -> str:
    """The author's name that this browser gave last."""
    return request.cookies.get(_AUTHOR, "")[:200]


def set_token(request: web.Request, response: web.StreamResponse, token: str) -> None:
    """Let the browser keep the token of the forms on a page."""
    if request.cookies.get(_CSRF) != token:
        response.set_cookie(_CSRF, token, **cookie_options(request))


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields of a form from one of these pages. PayloadError if it is from elsewhere, or no form."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise PayloadError("media_type", "cannot read the form: it is not form data", 415)
    body = await read_body(request, _LIMIT, request.app[CONTEXT].body_timeout)
    try:
        fields = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=50, errors="strict"))
    except ValueError:
        raise PayloadError("bad_data", "cannot read the form: it is not URL-encoded UTF-8") from None
    if not same(fields.get("csrf", ""), request.cookies.get(_CSRF, "")) or not fields.get("csrf"):
        message = "cannot believe the form: its token is not this browser's. Open the page again, with cookies allowed"
        raise PayloadError("forbidden", message, 403)
    return fields


def see_other(request: web.Request, path: str, fields: dict[str, str]) -> web.Response:
    """The redirect after a form was carried out, to a path of the web. It remembers the author's name."""
    response = web.Response(status=303, headers={"Location": link(request, path)})
    author = re.sub(r"[^\w .@+-]", "", fields.get("author", ""))[:200].strip()
    if author and author.isascii():
        response.set_cookie(_AUTHOR, author, max_age=90 * 86400, **cookie_options(request))
    return response

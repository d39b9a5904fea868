"""Signing a browser in: by a link that works once, or by this machine's credential in a form."""

from __future__ import annotations

import asyncio

from aiohttp import web

from remediator.errors import PayloadError
from remediator.web.auth import SESSION_COOKIE
from remediator.web.context import CONTEXT, PRINCIPAL
from remediator.web.middleware import not_allowed
from remediator.web.paths import link
from remediator.web.permissions import Permission, Principal
from remediator.web.responses import success
from remediator.web.sessions import LIFETIME
from remediator.web.ui.forms import cookie_options, read_form
from remediator.web.ui.pages import show_page

_WRONG_TAKES = 0.5


async def sign_in_page(request: web.Request) -> web.Response:
    """The form. With `?code=`, the link signs the browser in."""
    code = request.query.get("code", "")
    context = request.app[CONTEXT]
    if not code or request.method != "GET":
        return await show_page(request, "sign_in.html", token_file=context.security.token_file)
    name = context.security.sessions.use_link(code, context.clock.now())
    principal = None if name is None else context.security.named(name)
    if principal is None:
        message = "cannot sign in by this link: it was used, or is too old; `remediator page` prints another one"
        raise web.HTTPForbidden(text=message)
    return _signed_in(request, principal)


async def sign_in(request: web.Request) -> web.Response:
    """The submitted form."""
    fields = await read_form(request)
    principal = request.app[CONTEXT].security.bearer(fields.get("credential", "").strip())
    if principal is None:
        await asyncio.sleep(_WRONG_TAKES)
        raise PayloadError("forbidden", "cannot sign in: the credential is wrong", 403)
    return _signed_in(request, principal)


async def sign_out(request: web.Request) -> web.Response:
    """The button that ends the session in this browser, and copies of it."""
    await read_form(request)
    context = request.app[CONTEXT]
    context.security.end_session(request.cookies.get(SESSION_COOKIE, ""), context.clock.now())
    response = web.Response(status=303, headers={"Location": link(request, "/")})
    response.del_cookie(SESSION_COOKIE, **cookie_options(request))
    return response


async def make_link(request: web.Request) -> web.Response:
    """A link that signs a browser in once. It has no code if nobody has to sign in."""
    context, principal = request.app[CONTEXT], request[PRINCIPAL]
    if not principal.known and context.security.asks_token:
        raise not_allowed(request, Permission.ADMINISTER)
    if not principal.known or context.security.named(principal.name) is None:
        return success({"path": "/"}, 201)
    code = context.security.sessions.make_link(principal.name, context.clock.now())
    return success({"path": f"/sign-in?code={code}"}, 201)


def _signed_in(request: web.Request, principal: Principal) -> web.Response:
    context = request.app[CONTEXT]
    response = web.Response(status=303, headers={"Location": link(request, "/")})
    response.set_cookie(
        SESSION_COOKIE,
        context.security.session(principal, context.clock.now()),
        max_age=int(LIFETIME),
        **cookie_options(request),
    )
    return response


ROUTES = (
    web.get("/sign-in", sign_in_page),
    web.post("/sign-in", sign_in),
    web.post("/sign-out", sign_out),
    web.post("/api/v1/sign-in-links", make_link),
)

"""What every request passes on its way in and every answer on its way out: credentials, origin, headers, errors."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from remediator.errors import ConfigError, ConflictError, PayloadError, RemediatorError, StoreError
from remediator.web.auth import Area, is_loopback
from remediator.web.context import CONTEXT, USER
from remediator.web.responses import error_type, failure

log = logging.getLogger(__name__)

ErrorPage = Callable[[web.Request, int, str], Awaitable[web.Response]]

_AREAS = {"webhook": Area.RECEIVER, "healthy": Area.OPEN, "ready": Area.OPEN}
"""The area of a route by its name; every other request, also for what does not exist, is an operator's."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " object-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not no-referrer: with it, browsers send forms with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


async def set_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the security headers on an answer (an `on_response_prepare` signal)."""
    for name, value in {**_HEADERS, **request.app[CONTEXT].security.headers}.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    if "Server" in response.headers:
        response.headers["Server"] = "remediator"


def answer_errors(error_page: ErrorPage) -> Middleware:
    """The middleware that turns exceptions into answers: a page for people in a browser, else Prometheus' shape."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers: dict[str, str] = {}
        kind = ""
        try:
            return await handler(request)
        except web.HTTPRedirection:
            raise
        except web.HTTPException as error:
            status, message = error.status, _sentence(request, error)
            headers = {name: error.headers[name] for name in ("Allow", "WWW-Authenticate") if name in error.headers}
        except PayloadError as error:
            status, kind, message = error.status, error.reason, str(error)
        except ConfigError as error:
            status, message = 400, str(error)
        except ConflictError as error:
            status, message = 409, str(error)
        except StoreError as error:
            status, message = 503, str(error)
        except RemediatorError as error:
            status, kind, message = 422, "refused", str(error)
        except ConnectionError:
            raise
        except Exception:
            # The outermost handler: the client always gets an answer, and it reveals nothing.
            log.exception("cannot answer %s %s", request.method, request.path)
            status, message = 500, "cannot answer: something unexpected went wrong; the log says what"
        if wants_page(request):
            response = await error_page(request, status, message)
        else:
            response = failure(status, kind or error_type(status), message)
        response.headers.update(headers)
        return response

    return middleware


@web.middleware
async def authorize(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in whom the web config lets in, and no request that another site made a browser send."""
    security = request.app[CONTEXT].security
    area = _area(request)
    users = security.users(area)
    request[USER] = ""
    if users:
        name, password = _credentials(request)
        if not await users.check(name, password):
            raise web.HTTPUnauthorized(
                text="cannot let you in: user name and password are needed"
                if not name
                else "cannot let you in: user name or password is wrong",
                headers={"WWW-Authenticate": 'Basic realm="remediator", charset="UTF-8"'},
            )
        request[USER] = name
    elif area is not Area.OPEN:
        _refuse_rebinding(request)
    if request.method not in _SAFE:
        _refuse_cross_site(request)
    return await handler(request)


def wants_page(request: web.Request) -> bool:
    """Whether a person in a browser asks, for a page."""
    path = request.path
    machine = path.startswith(("/api/", "/-/")) or path in ("/webhook", "/metrics")
    return not machine and "text/html" in request.headers.get("Accept", "")


def _area(request: web.Request) -> Area:
    return _AREAS.get(request.match_info.route.name or "", Area.OPERATOR)


def _credentials(request: web.Request) -> tuple[str, str]:
    """User name and password of an `Authorization: Basic` header, or empty texts."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password


def _refuse_rebinding(request: web.Request) -> None:
    """On loopback without credentials, a strange name in `Host` means that another site had its name point here."""
    host = request.headers.get("Host")
    if host is None or request.transport is None:
        return
    local = request.transport.get_extra_info("sockname")
    if not isinstance(local, tuple) or not is_loopback(str(local[0])):
        return
    name = urlsplit(f"//{host}").hostname or ""
    if is_loopback(name) or name == urlsplit(request.app[CONTEXT].external_url).hostname:
        return
    raise web.HTTPForbidden(
        text=f"cannot answer as {host!r}: it is neither a loopback name nor the host of external_url"
    )


def _refuse_cross_site(request: web.Request) -> None:
    """A browser says where a request comes from; what is not a browser sends neither header."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    origin = request.headers.get("Origin")
    hosts = {request.headers.get("Host", ""), urlsplit(request.app[CONTEXT].external_url).netloc}
    if site not in ("none", "same-origin") or (origin is not None and urlsplit(origin).netloc not in hosts - {""}):
        raise web.HTTPForbidden(text="cannot do that for another site: the request does not come from these pages")


def _sentence(request: web.Request, error: web.HTTPException) -> str:
    if error.status == 404 and error.text in (None, "404: Not Found"):
        return f"cannot find {request.path}"
    if error.status == 405:
        return f"cannot {request.method} {request.path}: only {', '.join(sorted(error.headers['Allow'].split(',')))}"
    return error.text or error.reason

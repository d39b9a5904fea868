"""Middleware of every request and every answer: credentials, origin, headers, errors."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from urllib.parse import quote, urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from remediator.errors import BusyError, ConfigError, ConflictError, PayloadError, RemediatorError, StoreError
from remediator.web.context import CONTEXT, PRINCIPAL
from remediator.web.listen import is_loopback
from remediator.web.paths import link, path_within
from remediator.web.permissions import NEEDED, NOBODY, Permission, permission_of
from remediator.web.responses import error_type, failure

log = logging.getLogger(__name__)

ErrorPage = Callable[[web.Request, int, str], Awaitable[web.Response]]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " object-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not no-referrer: browsers would then send forms with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


async def set_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the security headers on an answer (an `on_response_prepare` signal)."""
    add_security_headers(response, request.app[CONTEXT].security.headers)
    if "Server" in response.headers:
        response.headers["Server"] = "remediator"


def add_security_headers(response: web.StreamResponse, configured: Mapping[str, str]) -> None:
    """Put the headers on an answer. Those of the web config come last."""
    for name, value in {**_HEADERS, **configured}.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")


def answer_errors(error_page: ErrorPage) -> Middleware:
    """The middleware that turns exceptions into answers: a page in a browser, else an answer in the shape of
    Prometheus."""

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
        except BusyError as error:
            status, message, headers = 503, str(error), {"Retry-After": "1"}
        except RemediatorError as error:
            status, kind, message = 422, "refused", str(error)
        except ConnectionError:
            if not _went_away(request):
                raise
            # Nobody reads this answer. A raised exception would be logged as an error of this program.
            return web.Response(status=499, reason="Client Closed Request")
        except Exception:
            # The outermost handler: the client always gets an answer, and the answer reveals nothing.
            log.exception("cannot answer %s %s", request.method, request.path)
            status, message = 500, "cannot answer: something unexpected went wrong; the log says what"
        if wants_page(request):
            response = await error_page(request, status, message)
        else:
            response = failure(status, kind or error_type(status), message)
        response.headers.update(headers)
        return response

    return middleware


def _went_away(request: web.Request) -> bool:
    """Whether the client's connection is lost."""
    return request.transport is None or request.transport.is_closing()


@web.middleware
async def authorize(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in a request whose sender has the permission, unless another site made a browser send it."""
    context = request.app[CONTEXT]
    security, permission = context.security, permission_of(request)
    request[PRINCIPAL] = NOBODY
    if permission is Permission.WEBHOOK:
        if not await security.is_sender(request):
            raise _unauthorized(request)
        if not security.has_senders:
            _refuse_rebinding(request)
    elif permission is not Permission.OPEN:
        principal = await security.principal(request, context.clock.now())
        if principal is None:
            raise _unauthorized(request)
        if not principal.known:
            _refuse_rebinding(request)
        request[PRINCIPAL] = principal
    if request.method not in _SAFE:
        _refuse_cross_site(request)
    if not request[PRINCIPAL].may(permission):
        raise not_allowed(request, permission)
    return await handler(request)


def not_allowed(request: web.Request, permission: Permission, of: str = "") -> web.HTTPException:
    """The answer to a principal without this permission, for any service or for the one that `of` names."""
    principal = request[PRINCIPAL]
    if not principal.known:
        return _unauthorized(request)
    who = f"{principal.name or 'you'} has the role {principal.roles}"
    return web.HTTPForbidden(
        text=f"cannot do that{of and f' for {of}'}: {who}, and it needs {NEEDED[permission]} there"
    )


def _unauthorized(request: web.Request) -> web.HTTPUnauthorized:
    security = request.app[CONTEXT].security
    if security.asks_token and permission_of(request) is not Permission.WEBHOOK:
        header = f'Bearer realm="remediator", file="{quote(security.token_file)}"'
        text = (
            f"cannot do that without this machine's credential: it is in {security.token_file}, which commands read by"
            f" themselves; a browser is signed in by the link that `remediator page` prints, or at {link(request, '/sign-in')}"
        )
        if request.headers.get("Authorization"):
            text = f"cannot let you in: the credential is wrong. It is in {security.token_file}"
        return web.HTTPUnauthorized(text=text, headers={"WWW-Authenticate": header})
    scheme, _, _ = request.headers.get("Authorization", "").partition(" ")
    text = (
        "cannot let you in: user name or password is wrong"
        if scheme.lower() == "basic"
        else "cannot let you in: user name and password are needed"
    )
    return web.HTTPUnauthorized(text=text, headers={"WWW-Authenticate": 'Basic realm="remediator", charset="UTF-8"'})


def wants_page(request: web.Request) -> bool:
    """Whether the request is of a person in a browser who asks for a page."""
    path = path_within(request)
    machine = path.startswith(("/api/", "/-/")) or path in ("/webhook", "/metrics")
    return not machine and "text/html" in request.headers.get("Accept", "")


def _refuse_rebinding(request: web.Request) -> None:
    """Refuse a strange name in `Host` on a request without credentials: another site had its own name point here.

    On loopback every name is strange but those of loopback and of external_url. On other addresses, neighbours may use
    names that are not known here; so only browsers are refused, and only where external_url or the listen addresses say
    how people come.
    """
    host = request.headers.get("Host")
    if host is None or request.transport is None:
        return
    local = request.transport.get_extra_info("sockname")
    if not isinstance(local, tuple):
        return
    name, external = _name_in(f"//{host}"), _name_in(request.app[CONTEXT].external_url)
    if name is None:
        raise web.HTTPBadRequest(text=f"cannot answer as {host[:100]!r}: it is no name of a host")
    if is_loopback(str(local[0])):
        if not is_loopback(name) and name != external:
            raise web.HTTPForbidden(
                text=f"cannot answer as {host!r}: it is neither a loopback name nor the host of external_url"
            )
        return
    known = {external, *request.app[CONTEXT].listen_hosts} - {""}
    if known and name not in known and not _is_address(name) and _is_browser(request):
        what = (
            "the host of external_url" if external else "a listen address; external_url says by which name people come"
        )
        raise web.HTTPForbidden(text=f"cannot answer as {host!r}: it is not {what}")


def _refuse_cross_site(request: web.Request) -> None:
    """A browser says where a request comes from. Other programs send neither header."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    origin = request.headers.get("Origin")
    if origin is None and site in ("none", "same-origin"):
        return
    hosts = {request.headers.get("Host", ""), urlsplit(request.app[CONTEXT].external_url).netloc}
    if site not in ("none", "same-origin") or (origin is not None and _place_in(origin) not in hosts - {""}):
        raise web.HTTPForbidden(text="cannot do that for another site: the request does not come from these pages")


@lru_cache(maxsize=256)
def _place_in(url: str) -> str:
    """Host and port of a URL. Empty if it is no URL."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


@lru_cache(maxsize=256)
def _name_in(url: str) -> str | None:
    """The host of a URL. Empty if it has none; None if it is no URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_browser(request: web.Request) -> bool:
    return "Origin" in request.headers or request.headers.get("User-Agent", "").startswith("Mozilla/")


def _sentence(request: web.Request, error: web.HTTPException) -> str:
    if error.status == 404 and error.text in (None, "404: Not Found"):
        return f"cannot find {request.path}"
    if error.status == 405:
        return f"cannot {request.method} {request.path}: only {', '.join(sorted(error.headers['Allow'].split(',')))}"
    return error.text or error.reason

"""The paths of the web on its server: the one that browsers see before every page, and the one before every route.

They differ behind a proxy that removes a path before it forwards a request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from remediator.errors import RemediatorError

_SEGMENTS = re.compile(r"(?:/[A-Za-z0-9._~-]+)*", re.ASCII)


@dataclass(frozen=True)
class WebPaths:
    """The two paths. `base` begins every link and is the path of cookies; `prefix` begins every route. Each is empty,
    or begins with a slash and ends without one."""

    base: str = ""
    prefix: str = ""

    def within(self, path: str) -> str:
        """A request's path, or a route's, without the prefix."""
        if path == self.prefix:
            return "/"
        return path.removeprefix(self.prefix) if path.startswith(f"{self.prefix}/") else path


PATHS: web.AppKey[WebPaths] = web.AppKey("paths", WebPaths)


def path_within(request: web.Request) -> str:
    """The requested path, relative to the root of the web."""
    return request.app[PATHS].within(request.path)


def link(request: web.Request, path: str) -> str:
    """The path that a browser has to request to get this page of the web."""
    return request.app[PATHS].base + path


def web_paths(external_url: str, route_prefix: str | None) -> WebPaths:
    """The paths by the flags. Routes lie where people see them, unless a flag says so differently. RemediatorError if a
    flag cannot be used."""
    base = None
    if external_url:
        check_external_url(external_url)
        base = _path(urlsplit(external_url).path, f"--web.external-url={external_url}")
    prefix = base if route_prefix is None else _path(route_prefix, f"--web.route-prefix={route_prefix}")
    return WebPaths((prefix or "") if base is None else base, prefix or "")


def check_external_url(url: str) -> None:
    """Refuse, with RemediatorError, a value that is neither an http(s) URL nor a path."""
    try:
        place = urlsplit(url)
        known = place.scheme in ("http", "https") and bool(place.hostname)
        # Reading the port raises an error if it is no number.
        plain = (known or url.startswith("/")) and place.port is not False and not (place.query or place.fragment)
    except ValueError:
        plain = False
    if not plain or (not known and url.startswith("//")) or "@" in place.netloc:
        raise RemediatorError(
            f"cannot use --web.external-url={url}: write it as https://example.org/remediator/, or its path alone"
        )


def _path(given: str, flag: str) -> str:
    path = f"/{given.strip('/')}" if given.strip("/") else ""
    if not _SEGMENTS.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise RemediatorError(f"cannot use {flag}: a path has letters, digits and -._~ between its slashes")
    return path

"""URLs as people see them: without the passwords and tokens that may be in them."""

from __future__ import annotations

import re
from urllib.parse import unquote

_USER = re.compile(r"^([a-z][a-z0-9+.-]*://)([^/?#]*)@", re.IGNORECASE)
_SECRET_NAME = re.compile(r"auth|code|cred|key|pass|pwd|secret|session|sig|token", re.IGNORECASE)
_SHORT = 6
"""Characters of a value in a query that is shown. A longer one may be a password, under whatever name."""
_TOKEN = re.compile(r"(?=[^A-Za-z]*[A-Za-z])(?=[^0-9]*[0-9])(?:[A-Za-z0-9_~.=-]{20,}|[A-Za-z0-9]{16,})|[A-Za-z]{20,}")
"""A part of a path as tokens in the addresses of chat hooks are: long, and letters mixed with digits or without a break."""
_SECRET = "<secret>"  # noqa: S105 - what stands for one


def shown_url(url: str) -> str:
    """A URL without what may be secret in it. A user name is shown, unless it stands without a password, as tokens do."""

    def user(found: re.Match[str]) -> str:
        name, colon, _ = found[2].partition(":")
        return f"{found[1]}{name}:{_SECRET}@" if colon else f"{found[1]}{_SECRET}@"

    masked = _USER.sub(user, url)
    before, mark, query = masked.partition("?")
    scheme, slashes, rest = before.partition("://")
    host, slash, path = rest.partition("/")
    shown = "".join(_SECRET if _TOKEN.fullmatch(unquote(part)) else part for part in re.split("([/:#])", slash + path))
    return f"{scheme}{slashes}{host}{shown}{mark}" + "".join(map(_shown_part, re.split("([?&;#])", query)))


def _shown_part(part: str) -> str:
    """A part of a query, or a sign between two."""
    name, equals, value = part.partition("=")
    if not equals:
        return part if len(part) <= _SHORT else _SECRET
    shown = not value or (len(value) <= _SHORT and not _SECRET_NAME.search(name))
    return part if shown else f"{name}={_SECRET}"

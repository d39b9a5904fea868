"""URLs as people see them: without the passwords and tokens that may be in them."""

from __future__ import annotations

import re

_USER = re.compile(r"^([a-z][a-z0-9+.-]*://)([^/?#]*)@", re.IGNORECASE)
_QUERY = re.compile(
    r"([?&;#][^=&;#]*(?:auth|code|cred|key|pass|pwd|secret|session|sig|token)[^=&;#]*=)[^&;#]+", re.IGNORECASE
)
_SEGMENT = re.compile(r"(?<=[/:])(?=[^/?#:]*[A-Za-z])(?=[^/?#:]*[0-9])[A-Za-z0-9_~-]{20,}(?=[/?#:]|$)")
"""Part of a path that is long and mixes letters with digits, as tokens in the addresses of chat hooks do."""
_SECRET = "<secret>"  # noqa: S105 - what stands for one


def shown_url(url: str) -> str:
    """A URL without what may be secret in it. A user name is shown, unless it stands without a password, as tokens do."""

    def user(found: re.Match[str]) -> str:
        name, colon, _ = found[2].partition(":")
        return f"{found[1]}{name}:{_SECRET}@" if colon else f"{found[1]}{_SECRET}@"

    masked = _QUERY.sub(rf"\1{_SECRET}", _USER.sub(user, url))
    scheme, slashes, rest = masked.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host}" + _SEGMENT.sub(_SECRET, slash + path)

"""Browser sessions: a signed cookie instead of the credential, and links that sign a browser in once."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
from hashlib import sha256

import msgspec

LIFETIME = 12 * 3600.0
"""Seconds until a browser has to sign in again."""
LINK_LIFETIME = 300.0
_MOST_LINKS = 100


class _Session(msgspec.Struct, frozen=True):
    name: str
    expires_at: float
    nonce: str


class Sessions:
    """Issues and checks sessions. `secret` signs them. If the secret is kept, sessions outlive a restart."""

    def __init__(self, secret: str = "") -> None:
        self._key = hmac.digest(secret.encode(), b"remediator session", sha256) if secret else os.urandom(32)
        self._links: dict[str, tuple[str, float]] = {}
        self._revoked: dict[str, float] = {}
        """Signatures of the sessions that were signed out, with the time at which each would have expired."""

    def issue(self, name: str, proof: str, now: float) -> str:
        """The cookie of a session of this user. It ends when `proof`, such as the hash of a password, changes."""
        session = _Session(name, now + LIFETIME, secrets.token_hex(8))
        data = base64.urlsafe_b64encode(msgspec.json.encode(session)).decode()
        return f"{data}.{self._sign(data, proof)}"

    def name_in(self, cookie: str, now: float) -> str | None:
        """The user that a cookie names, unless it has expired. Only `valid` tells whether the claim is true."""
        try:
            session = msgspec.json.decode(base64.urlsafe_b64decode(cookie.partition(".")[0]), type=_Session)
        except (msgspec.MsgspecError, binascii.Error, ValueError):
            return None
        return session.name if session.expires_at > now else None

    def valid(self, cookie: str, proof: str) -> bool:
        """Whether this process, or one with its secret, issued the cookie, for this proof."""
        data, _, signature = cookie.partition(".")
        if signature in self._revoked:
            return False
        return hmac.compare_digest(self._sign(data, proof).encode(), signature.encode("utf-8", "surrogatepass"))

    def revoke(self, cookie: str, now: float) -> None:
        """Refuse a valid cookie from now on, in this process, and so every copy of it."""
        self._revoked = {signature: until for signature, until in self._revoked.items() if until > now}
        self._revoked[cookie.partition(".")[2]] = now + LIFETIME

    def make_link(self, name: str, now: float) -> str:
        """A code that signs a browser in as this user, once and soon."""
        self._links = {code: link for code, link in self._links.items() if link[1] > now}
        while len(self._links) >= _MOST_LINKS:
            del self._links[next(iter(self._links))]
        code = secrets.token_urlsafe(32)
        self._links[code] = (name, now + LINK_LIFETIME)
        return code

    def use_link(self, code: str, now: float) -> str | None:
        """The user of a code that is unused and not too old."""
        name, expires_at = self._links.pop(code, ("", 0.0))
        return name if expires_at > now else None

    def _sign(self, data: str, proof: str) -> str:
        return hmac.digest(self._key, f"{data}\0{proof}".encode("utf-8", "surrogatepass"), sha256).hex()

"""Users with bcrypt passwords: hashing is slow by intent, so it is bounded, and proven passwords are remembered."""

from __future__ import annotations

import asyncio
import hmac
import os
from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b

import bcrypt

from remediator.errors import BusyError
from remediator.web.threads import in_thread

_CACHED = 100
_WAITING = 100
_OF_PEER = 10
"""How many passwords of one address may wait to be checked."""


class Users:
    """Names with bcrypt hashes. Checking is slow by intent, so passwords found right are remembered as exporter-toolkit
    does: as a keyed hash of user, bcrypt hash and password, a bounded number of them."""

    def __init__(self, hashes: Mapping[str, str], before: Users | None = None) -> None:
        """`before` are the users of the file as it was: passwords found right stay so where the hash is the same."""
        self._hashes = dict(hashes)
        self._key: bytes = before._key if before is not None else os.urandom(32)
        self._right: dict[bytes, None] = {} if before is None else dict(before._right)
        self._wrong: dict[bytes, None] = {}
        self._turn = asyncio.Lock()
        self._waiting: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def hash_of(self, name: str) -> str | None:
        """A user's bcrypt hash; None when there is no such user."""
        return self._hashes.get(name)

    async def check(self, name: str, password: str, peer: str = "") -> bool:
        """Whether this is a user's password. A name that is unknown takes as long as one that is known.

        BusyError when too many others wait for an answer, or too many of the same peer, where it is known. What was found right before is
        right without waiting, so that strangers who guess keep nobody out.
        """
        if not name and not password:
            return False
        known = self._hashes.get(name)
        hashed = known or next(iter(self._hashes.values()), "")
        proof = blake2b("\0".join((name, hashed, password)).encode("utf-8", "surrogatepass"), key=self._key).digest()
        if known is not None and proof in self._right:
            return True
        if proof in self._wrong:
            return False
        if self._waiting.total() >= _WAITING or (peer and self._waiting[peer] >= _OF_PEER):
            raise BusyError("cannot check the password now: too many others are being checked")
        self._waiting[peer] += 1
        try:
            # One at a time: guessing passwords must not use up the machine.
            async with self._turn:
                right = await in_thread(_matches, password, hashed) and known is not None
        finally:
            self._waiting[peer] -= 1
            if not self._waiting[peer]:
                del self._waiting[peer]
        _remember(self._right if right else self._wrong, proof)
        return right


def _remember(proofs: dict[bytes, None], proof: bytes) -> None:
    if len(proofs) >= _CACHED:
        del proofs[next(iter(proofs))]
    proofs[proof] = None


def _matches(password: str, hashed: str) -> bool:
    # bcrypt looks at 72 bytes; htpasswd and Go cut longer passwords there, and so do we.
    try:
        return bcrypt.checkpw(password.encode()[:72], hashed.encode())
    except (ValueError, UnicodeEncodeError):
        return False


def same(one: str, other: str) -> bool:
    """Whether two texts are equal, in a time that does not tell how far."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))

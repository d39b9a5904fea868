"""Users with bcrypt passwords. Hashing is slow by intent, so it is bounded, and passwords found right are
remembered."""

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
"""Maximum number of passwords of one address that may wait for a check."""


class Users:
    """Names with bcrypt hashes.

    A check is slow by intent, so passwords found right are remembered, as exporter-toolkit does. The memory is bounded,
    and holds a keyed hash of user, bcrypt hash and password.
    """

    def __init__(self, hashes: Mapping[str, str], before: Users | None = None) -> None:
        """`before` are the users of the earlier file. Passwords found right stay so if the hash is the same."""
        self._hashes = dict(hashes)
        self._key: bytes = before._key if before is not None else os.urandom(32)
        self._right: dict[bytes, None] = {} if before is None else dict(before._right)
        self._wrong: dict[bytes, None] = {}
        self._turn = asyncio.Lock()
        self._waiting: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def hash_of(self, name: str) -> str | None:
        """A user's bcrypt hash. None if there is no such user."""
        return self._hashes.get(name)

    async def check(self, name: str, password: str, peer: str = "") -> bool:
        """Whether this is a user's password.

        An unknown name takes as long as a known one. BusyError if too many others wait for an answer, or too many of
        the same peer, where it is known. A password found right before needs no wait, so strangers who guess lock
        nobody out.
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
            # One at a time: guesses of passwords must not use up the machine.
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
    # bcrypt uses 72 bytes. htpasswd and Go cut longer passwords there, and so does this.
    try:
        return bcrypt.checkpw(password.encode()[:72], hashed.encode())
    except (ValueError, UnicodeEncodeError):
        return False


def same(one: str, other: str) -> bool:
    """Whether two texts are equal. The time that this takes does not reveal where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))

"""Who may do what: users with bcrypt passwords, one set for operators and one for the receiver, and TLS.

Each set guards its own side when it is given: `basic_auth_users` everything but the webhook, `webhook_users` the
webhook and nothing else. A side without users is open, which is why only loopback may be listened on then.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import ssl
from collections.abc import Mapping
from enum import Enum
from hashlib import blake2b
from pathlib import Path

import bcrypt

from remediator.errors import RemediatorError
from remediator.web.threads import in_thread
from remediator.web.web_config import ClientAuth, TlsServer, TlsVersion, WebConfig, load_web_config

_CACHED = 100
_WAITING = 100


class Area(Enum):
    """The sides of the web, each with its own users."""

    OPERATOR = "operator"
    RECEIVER = "receiver"
    OPEN = "open"


class Users:
    """Names with bcrypt hashes. Checking is slow by intent, so passwords found right are remembered as exporter-toolkit
    does: as a keyed hash of user, bcrypt hash and password, a bounded number of them."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = dict(hashes)
        self._key = os.urandom(32)
        self._right: dict[bytes, None] = {}
        self._turn = asyncio.Lock()
        self._waiting = 0

    def __bool__(self) -> bool:
        return bool(self._hashes)

    async def check(self, name: str, password: str) -> bool:
        """Whether this is a user's password. A name that is unknown takes as long as one that is known.

        RemediatorError when too many others wait for an answer.
        """
        known = self._hashes.get(name)
        hashed = known or next(iter(self._hashes.values()), "")
        proof = blake2b("\0".join((name, hashed, password)).encode("utf-8", "surrogatepass"), key=self._key).digest()
        if known is not None and proof in self._right:
            return True
        if self._waiting >= _WAITING:
            raise RemediatorError("cannot check the password now: too many others are being checked")
        self._waiting += 1
        try:
            # One at a time: guessing passwords must not use up the machine.
            async with self._turn:
                right = await in_thread(_matches, password, hashed) and known is not None
        finally:
            self._waiting -= 1
        if right:
            if len(self._right) >= _CACHED:
                del self._right[next(iter(self._right))]
            self._right[proof] = None
        return right


class Security:
    """What the web config file asks of those who come in; without a file, nothing."""

    def __init__(self, config: WebConfig | None = None, path: Path | None = None) -> None:
        self._path = path
        self._tls: ssl.SSLContext | None = None
        self._use(config or WebConfig())

    def ssl_context(self) -> ssl.SSLContext | None:
        """What to listen with; None means without TLS."""
        return self._tls

    def reload(self) -> None:
        """Read the file again, so that users and certificates can be changed while serving; all of it or none.

        Whether TLS is spoken at all is decided at start. Raises as `load_security`.
        """
        if self._path is not None:
            self._use(load_web_config(self._path))

    def users(self, area: Area) -> Users:
        """Those who may come in here; none of them means that everyone may."""
        return {Area.OPERATOR: self._operators, Area.RECEIVER: self._receivers}.get(area, _NOBODY)

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers for every answer, as the file's author wants them."""
        return self._headers

    def _use(self, config: WebConfig) -> None:
        tls = config.tls_server_config
        if tls is not None:
            self._tls = _tls_context(tls, self._tls)
        self.certificates = tls is not None and tls.client_auth_type is ClientAuth.REQUIRED
        self._operators = Users(config.basic_auth_users)
        self._receivers = Users(config.webhook_users)
        self._headers = dict(config.http_server_config.headers)


_NOBODY = Users({})


def load_security(path: Path | None) -> Security:
    """What a web config file asks; without a file, nothing. ConfigError when the file is wrong, RemediatorError when a
    certificate cannot be used."""
    return Security() if path is None else Security(load_web_config(path), path)


def parse_listen(address: str) -> tuple[str, int]:
    """Host and port of an address such as `127.0.0.1:9797`, `:9797` or `[::1]:9797`; the host is empty for all
    addresses. RemediatorError when it is none."""
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or (":" in host and bare == host):
        raise RemediatorError(f"cannot listen on {address!r}: write it as 127.0.0.1:9797, :9797 or [::1]:9797")
    return bare, int(port)


def check_listen(address: str, security: Security, allow: bool) -> None:
    """Refuse, with RemediatorError, to let strangers command this machine.

    Loopback needs no credentials. Any other address needs users for the operators' side and for the receiver's, or
    client certificates for both; or `allow`, which stands for the flag `--web.allow-unauthenticated`.
    """
    host, _ = parse_listen(address)
    if allow or security.certificates or is_loopback(host):
        return
    missing = [
        key
        for key, area in (("basic_auth_users", Area.OPERATOR), ("webhook_users", Area.RECEIVER))
        if not security.users(area)
    ]
    if missing:
        raise RemediatorError(
            f"cannot listen on {address}: whoever reaches it could have commands run here. Give {' and '.join(missing)}"
            " in a web config (--web.config.file), listen on 127.0.0.1, or allow it with --web.allow-unauthenticated"
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _matches(password: str, hashed: str) -> bool:
    # bcrypt looks at 72 bytes; htpasswd and Go cut longer passwords there, and so do we.
    try:
        return bcrypt.checkpw(password.encode()[:72], hashed.encode())
    except (ValueError, UnicodeEncodeError):
        return False


_VERSIONS = {TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2, TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3}
_CLIENTS = {
    ClientAuth.NONE: ssl.CERT_NONE,
    ClientAuth.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientAuth.REQUIRED: ssl.CERT_REQUIRED,
}


def _tls_context(tls: TlsServer, present: ssl.SSLContext | None) -> ssl.SSLContext:
    """The context for a config. One that is present already is given the new certificate, for new connections."""
    try:
        # Try a new context first: a wrong certificate must not damage the one in use.
        fresh = _fill(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls)
        return fresh if present is None else _fill(present, tls)
    except (OSError, ssl.SSLError) as error:
        raise RemediatorError(f"cannot set up TLS with {tls.cert_file} and {tls.key_file}: {error}") from None


def _fill(context: ssl.SSLContext, tls: TlsServer) -> ssl.SSLContext:
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.load_cert_chain(tls.cert_file, tls.key_file)
    if tls.client_ca_file:
        context.load_verify_locations(tls.client_ca_file)
    context.verify_mode = _CLIENTS[tls.client_auth_type]
    return context


def same(one: str, other: str) -> bool:
    """Whether two texts are equal, in a time that does not tell how far."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))

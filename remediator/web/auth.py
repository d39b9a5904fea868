"""Authentication: who a request comes from, by the web config, by this machine's credential, or by a session.

Senders of notifications have users of their own (`webhook_users`). Everyone else is a `Principal`, whose permissions
are in `remediator.web.permissions`.
"""

from __future__ import annotations

import base64
import binascii
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from remediator.errors import RemediatorError
from remediator.web.listen import is_loopback, parse_listen
from remediator.web.passwords import Users, same
from remediator.web.permissions import ADMIN, VIEWER, Principal
from remediator.web.roles import Grant, ProxyDoc, Role, grant_of, grants_of, is_within
from remediator.web.sessions import Sessions
from remediator.web.tls import tls_context
from remediator.web.web_config import ClientAuth, WebConfig, load_web_config

log = logging.getLogger(__name__)

SESSION_COOKIE = "remediator_session"


class Security:
    """The credentials that requests need: those of the web config file, and `token`, this machine's credential, whose
    file is `token_file`. Without either, requests need none."""

    def __init__(
        self, config: WebConfig | None = None, path: Path | None = None, *, token: str = "", token_file: str = ""
    ) -> None:
        self._path = path
        self._tls: ssl.SSLContext | None = None
        self._token = token
        self._open_to_readers = True
        self.token_file = token_file
        self.sessions = Sessions(token)
        self._operators = self._senders = Users({})
        self._use(config or WebConfig())

    def require_token(self, token: str, token_file: str, *, open_to_readers: bool = True) -> None:
        """Require this machine's credential of everyone, or only of those who change something."""
        self._token, self.token_file, self.sessions = token, token_file, Sessions(token)
        self._open_to_readers = open_to_readers

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context to listen with. None means no TLS."""
        return self._tls

    def reload(self) -> None:
        """Read the file again, so that users and certificates can change while serving. All of it is taken, or nothing.

        Whether TLS is used at all is decided at the start. Raises as `load_security`.
        """
        if self._path is not None:
            config = load_web_config(self._path)
            self._refuse_opening(config)
            self._use(config)

    def _refuse_opening(self, config: WebConfig) -> None:
        """What was decided at the start, where to listen and whether this machine's credential is asked, rests on these
        being there. A file that has lost them, such as one that is half written, must not let everyone in."""
        lost = [
            key
            for key, before, after in (
                ("basic_auth_users", self.has_users, bool(config.basic_auth_users)),
                ("webhook_users", self.has_senders, bool(config.webhook_users)),
                ("roles", bool(self._roles), bool(config.roles)),
                ("proxy", self.has_proxy, config.proxy is not None),
                ("client_auth_type", self.certificates, _asks_certificates(config)),
            )
            if before and not after
        ]
        if lost:
            raise RemediatorError(
                f"cannot use {self._path}: it has no {' and no '.join(lost)} any more, and a reload lets nobody in who was"
                " kept out; restart to change that"
            )

    @property
    def has_users(self) -> bool:
        """Whether operators have users in the web config."""
        return bool(self._operators)

    @property
    def has_proxy(self) -> bool:
        """Whether a proxy signs people in."""
        return self._proxy is not None

    @property
    def has_senders(self) -> bool:
        """Whether senders of notifications have users in the web config."""
        return bool(self._senders)

    @property
    def asks_token(self) -> bool:
        """Whether requests need this machine's credential."""
        return bool(self._token)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of every answer, from the file."""
        return self._headers

    def forwards(self, address: str) -> bool:
        """Whether a peer is a proxy that is trusted to name its clients."""
        return bool(self._forwarders) and is_within(address, self._forwarders)

    async def is_sender(self, request: web.Request) -> bool:
        """Whether this request may send a notification. Everyone may if the file names no senders."""
        return not self._senders or await self._senders.check(*_basic(request), _peer(request))

    async def principal(self, request: web.Request, now: float) -> Principal | None:
        """The principal of a request. None if credentials are needed, or if the given ones are wrong."""
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if self._token and scheme.lower() == "bearer":
            return self.bearer(text.strip())
        if self._operators and scheme:
            name, password = _basic(request)
            return self._user(name) if await self._operators.check(name, password, _peer(request)) else None
        if self._proxy is not None and self._proxy.trusts(_peer(request)):
            return self._proxied(request, self._proxy)
        if (found := self._of_session(request.cookies.get(SESSION_COOKIE, ""), now)) is not None:
            return found
        if self._operators or (self._token and not self._open_to_readers):
            return None
        return VIEWER if self._token else ADMIN

    def bearer(self, token: str) -> Principal | None:
        """The holder of this machine's credential may do everything."""
        return _HOLDER if self._token and same(token, self._token) else None

    def session(self, principal: Principal, now: float) -> str:
        """The cookie of a session for a user who has shown credentials."""
        return self.sessions.issue(principal.name, self._proof(principal.name) or "", now)

    def end_session(self, cookie: str, now: float) -> None:
        """Refuse a session from now on, if it is one."""
        if self._of_session(cookie, now) is not None:
            self.sessions.revoke(cookie, now)

    def named(self, name: str) -> Principal | None:
        """The user of this name in the present file. The empty name is the holder of this machine's credential."""
        return None if self._proof(name) is None else self._user(name) if name else _HOLDER

    def _of_session(self, cookie: str, now: float) -> Principal | None:
        name = self.sessions.name_in(cookie, now)
        proof = None if name is None else self._proof(name)
        if name is None or proof is None or not self.sessions.valid(cookie, proof):
            return None
        return self.named(name)

    def _proof(self, name: str) -> str | None:
        """The proof that a session of this user depends on. None if there is no such user."""
        return self._operators.hash_of(name) if name else self._token or None

    def _user(self, name: str) -> Principal:
        grants = (grant_of(self._roles[name]),) if name in self._roles else ()
        return Principal(name, grants if self._roles else (Grant(Role.ADMIN),), known=True)

    def _proxied(self, request: web.Request, proxy: ProxyDoc) -> Principal | None:
        """The user that a trusted proxy names. Nobody if it names none, or several."""
        names = [name.strip() for name in request.headers.getall(proxy.user_header, [])]
        if len(names) != 1 or not names[0]:
            return None
        lines = request.headers.getall(proxy.groups_header, [])
        groups = [group.strip() for line in lines for group in line.split(",")]
        return Principal(names[0], tuple(grants_of(names[0], groups, self._roles, proxy)), known=True)

    def _use(self, config: WebConfig) -> None:
        tls = config.tls_server_config
        if tls is not None:
            self._tls = tls_context(tls, self._tls)
        self.certificates = _asks_certificates(config)
        self._operators = Users(config.basic_auth_users, self._operators)
        self._senders = Users(config.webhook_users, self._senders)
        self._roles, self._proxy = config.roles, config.proxy
        self._forwarders = (*config.trusted_proxies, *(config.proxy.trusted if config.proxy is not None else ()))
        self._headers = dict(config.http_server_config.headers)


def _asks_certificates(config: WebConfig) -> bool:
    """Whether clients have to show a certificate."""
    tls = config.tls_server_config
    return tls is not None and tls.client_auth_type is ClientAuth.REQUIRED


_HOLDER = Principal("", (Grant(Role.ADMIN),), known=True)


def load_security(path: Path | None) -> Security:
    """The credentials that a web config file requires. Without a file there are none.

    ConfigError if the file is wrong, RemediatorError if a certificate cannot be used.
    """
    if path is None:
        return Security()
    config = load_web_config(path)
    if config.basic_auth_users and not config.roles:
        log.warning("%s gives no roles, so every user in basic_auth_users may do everything", path)
    return Security(config, path)


def check_listen(address: str, security: Security, allow: bool) -> None:
    """Refuse, with RemediatorError, an address at which strangers could command this machine.

    On loopback, `serve` asks for this machine's credential. Any other address needs users for the operators' side and
    for the receiver's, or client certificates for both. `allow`, the flag `--web.allow-unauthenticated`, permits it
    without them.
    """
    host, _ = parse_listen(address)
    if allow or security.certificates or is_loopback(host):
        return
    missing = [
        key
        for key, present in (
            ("basic_auth_users", security.has_users or security.has_proxy),
            ("webhook_users", security.has_senders),
        )
        if not present
    ]
    if missing:
        raise RemediatorError(
            f"cannot listen on {address}: whoever reaches it could have commands run here. Give {' and '.join(missing)}"
            " in a web config (--web.config.file), listen on 127.0.0.1, or allow it with --web.allow-unauthenticated"
        )


def _peer(request: web.Request) -> str:
    """The address that the connection comes from; no header can change it."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _basic(request: web.Request) -> tuple[str, str]:
    """User name and password of an `Authorization: Basic` header, or empty texts."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password

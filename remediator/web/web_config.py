"""The web config file: exporter-toolkit's format, with `webhook_users` beside `basic_auth_users`.

    tls_server_config: {cert_file: …, key_file: …, client_ca_file: …, client_auth_type: …, min_version: TLS12}
    http_server_config: {headers: {Strict-Transport-Security: max-age=31536000}}
    basic_auth_users: {NAME: BCRYPT-HASH}   # operators: everything but the webhook
    webhook_users: {NAME: BCRYPT-HASH}      # Alertmanager: the webhook and nothing else
    roles: {NAME: ROLE}                     # what each user may do, and `proxy:`, in `remediator.web.roles`
    trusted_proxies: [ADDRESS, NETWORK]     # whose X-Forwarded-For is logged, in `remediator.web.forwarded`

File names are relative to the file. Key names are those of exporter-toolkit's `web` package; what Python's TLS cannot do
(cipher and curve lists, certificates that are asked for but not verified) is refused rather than ignored.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

from remediator.config.document import Document, open_document
from remediator.config.scalars import Scalar
from remediator.config.schema import read_document
from remediator.errors import ConfigError
from remediator.problem import Position, Problem
from remediator.web.roles import LIMITED, Network, ProxyDoc, Role, RoleDoc

_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}", re.ASCII)
_HEADERS = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)
_PLAIN = re.compile(
    r"\s*(?:cert_file|key_file|client_ca_file|client_auth_type|min_version|max_version|http2|role|match|trusted|trusted_proxies|user_header|groups_header|"
    + "|".join(_HEADERS)
    + r")\s*:"
)


class ClientAuth(StrEnum):
    """Whether clients have to show certificates, in the words of Go's crypto/tls."""

    NONE = "NoClientCert"
    OPTIONAL = "VerifyClientCertIfGiven"
    REQUIRED = "RequireAndVerifyClientCert"


class ServerTlsVersion(StrEnum):
    """Versions of TLS that are fit for use."""

    TLS12 = "TLS12"
    TLS13 = "TLS13"


def _hash(text: str) -> str:
    found = _HASH.fullmatch(text)
    if found is None or not 4 <= int(found[1]) <= 16:
        # The text is left out, because it may be a password in the wrong place.
        raise ValueError("this is not a bcrypt hash, with a cost from 4 to 16")
    return text


def _user(text: str) -> str:
    if not text or ":" in text or not text.isprintable():
        raise ValueError(f"{text!r} cannot be a user name: it is empty, or has a colon or an unprintable character")
    return text


def _header(text: str) -> str:
    if text not in _HEADERS:
        raise ValueError(f"the header {text!r} cannot be set here")
    return text


def _value(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a header's value is on one line")
    return text


_Hash = Annotated[str, Scalar("a bcrypt hash", _hash, remedy="make one with: htpasswd -nBC 10 NAME")]
_User = Annotated[str, Scalar("a user name", _user)]
_Header = Annotated[str, Scalar("a header", _header, words=_HEADERS)]
_Value = Annotated[str, Scalar("a header's value", _value)]


class TlsServer(msgspec.Struct, frozen=True):
    """The server's certificate, and whether clients have to show one."""

    cert_file: str
    key_file: str
    client_ca_file: str = ""
    client_auth_type: ClientAuth = ClientAuth.NONE
    min_version: ServerTlsVersion = ServerTlsVersion.TLS12
    max_version: ServerTlsVersion = ServerTlsVersion.TLS13


class HttpServer(msgspec.Struct, frozen=True):
    """Headers of every answer. `http2` is understood, for files shared with others: HTTP/1.1 is what is spoken."""

    headers: dict[_Header, _Value] = {}
    http2: bool = False


class WebConfig(msgspec.Struct, frozen=True):
    """The file."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: dict[_User, _Hash] = {}
    webhook_users: dict[_User, _Hash] = {}
    roles: dict[_User, Role | RoleDoc] = {}
    proxy: ProxyDoc | None = None
    trusted_proxies: tuple[Network, ...] = ()
    """Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."""


def load_web_config(path: Path) -> WebConfig:
    """Read the file. ConfigError with every problem in it. No message shows a user's line."""
    document = open_document(path)
    config = read_document(document, WebConfig) or WebConfig()
    tls = config.tls_server_config
    if tls is not None:
        _check_clients(tls, document)
        tls = msgspec.structs.replace(
            tls,
            cert_file=str(path.parent / tls.cert_file),
            key_file=str(path.parent / tls.key_file),
            client_ca_file=str(path.parent / tls.client_ca_file) if tls.client_ca_file else "",
        )
    for name in config.basic_auth_users.keys() & config.webhook_users.keys():
        message = f"the user {name!r} stands in basic_auth_users too: the receiver has credentials of its own"
        document.report(("webhook_users", name), "bad-value", message, "give it another name and password")
    _check_roles(config, document)
    if document.problems:
        raise ConfigError([_masked(problem) for problem in document.problems])
    return msgspec.structs.replace(config, tls_server_config=tls)


def _check_clients(tls: TlsServer, document: Document) -> None:
    asks = tls.client_auth_type is not ClientAuth.NONE
    if asks and not tls.client_ca_file:
        where, missing = ("tls_server_config", "client_auth_type"), "client_ca_file"
    elif tls.client_ca_file and not asks:
        where, missing = ("tls_server_config", "client_ca_file"), "client_auth_type"
    else:
        return
    document.report(where, "missing-key", f"this means nothing without {missing}", f"add {missing}:")


def _check_roles(config: WebConfig, document: Document) -> None:
    given: list[tuple[tuple[str, ...], Role | RoleDoc]] = [
        (("roles", name), role) for name, role in config.roles.items()
    ]
    if config.proxy is not None:
        given += [(("proxy", "groups", name), role) for name, role in config.proxy.groups.items()]
    for place, role in given:
        if isinstance(role, RoleDoc) and role.match and role.role not in LIMITED:
            message = f"match means nothing for the role {role.role}, which is not of services"
            document.report((*place, "match"), "bad-value", message, f"only {' and '.join(LIMITED)} take matchers")
    for name in config.basic_auth_users.keys() - config.roles.keys() if config.roles else ():
        message = f"the user {name!r} has no role, while others have"
        document.report(("basic_auth_users", name), "missing-key", message, "name it under roles:")
    if config.proxy is None:
        for name in config.roles.keys() - config.basic_auth_users.keys():
            message = f"there is no user {name!r} in basic_auth_users, and no proxy: that could name one"
            document.report(("roles", name), "bad-value", message, "add the user, or take the role away")


def _masked(problem: Problem) -> Problem:
    """The problem without possible passwords and hashes: only values that are known to be harmless are shown."""
    place = problem.position
    if _PLAIN.match(place.source):
        return problem
    key, colon, _ = place.source.partition(":")
    indent = key[: len(key) - len(key.lstrip())]
    source = f"{key}: <secret>" if colon else f"{indent}<secret>"
    shown = Position(place.file, place.line, place.column, source)
    return Problem(shown, problem.check, problem.message, problem.remedy, problem.severity)

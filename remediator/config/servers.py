"""The servers of the config: their addresses, and how to be let in there, as Prometheus' http_config has it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from urllib.parse import urlsplit

from msgspec import Meta
from msgspec.structs import replace

from remediator.clients.http_options import HttpClient, HttpConfig, OAuth2, Proxy, TlsConfig
from remediator.config.scalars import Scalar
from remediator.config.struct_schema import Violation
from remediator.model.field_types import Name

if TYPE_CHECKING:
    from remediator.clients.prometheus.client import Prometheus
    from remediator.metrics import Metrics

_BOTH = "contradiction"
_KEEP = "keep one of them"
_RESERVED = frozenset(
    (
        *("accept-encoding", "authorization", "host", "connection", "keep-alive", "te", "trailer", "transfer-encoding"),
        *("content-encoding", "content-length", "content-type", "date", "upgrade", "www-authenticate"),
        *("proxy-authenticate", "proxy-authorization", "user-agent"),
    )
)
"""The headers that Prometheus lets nobody set in http_headers."""


def http_url(text: str) -> str:
    """An address of HTTP without a slash at its end; ValueError with a sentence when it is none."""
    try:
        parts = urlsplit(text)
        # Reading the port raises when it is none.
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or any(char.isspace() for char in text):
        raise ValueError("this is not an address such as http://localhost:9090")
    return text.rstrip("/")


Url = Annotated[str, Scalar("an address", http_url, remedy="write http:// or https://, a host and a port")]


class QueryMethod(StrEnum):
    """The HTTP method of PromQL queries."""

    GET = "GET"
    POST = "POST"


class Server(HttpClient, frozen=True, kw_only=True):
    """A neighbour's address, and how to be let in: fields as in Prometheus' http client config."""

    url: Annotated[Url, Meta(description="http:// or https://, a host, a port, and a path if there is one.")]

    def violations(self) -> Iterator[Violation]:
        """What cannot be meant."""
        return http_violations(self)


C = TypeVar("C", bound=HttpConfig)


def http_violations(given: HttpConfig) -> Iterator[Violation]:
    """What cannot be meant in these settings."""
    ways = {
        "basic_auth": given.basic_auth is not None,
        "authorization": given.authorization is not None,
        "oauth2": given.oauth2 is not None,
        "bearer_token": given.bearer_token is not None,
        "bearer_token_file": bool(given.bearer_token_file),
    }
    used = [name for name, there in ways.items() if there]
    if len(used) > 1:
        yield Violation((used[1],), _BOTH, f"there are both {used[0]} and {used[1]}", _KEEP)
    basic, bearer = given.basic_auth, given.authorization
    if basic is not None:
        yield from _one_of("basic_auth", password=basic.password, password_file=basic.password_file)
        yield from _one_of("basic_auth", username=basic.username, username_file=basic.username_file)
        if not basic.username and not basic.username_file:
            yield Violation(("basic_auth",), "missing-key", "the key username is missing here", "add username:")
    if bearer is not None:
        yield from _one_of("authorization", credentials=bearer.credentials, credentials_file=bearer.credentials_file)
        if bearer.type.strip().lower() == "basic":
            path = ("authorization", "type")
            yield Violation(path, "bad-value", "authorization is not for the type Basic", "write basic_auth: instead")
    yield from _tls_violations(given.tls_config, "tls_config")
    yield from _proxy_violations(given)
    if given.oauth2 is not None:
        yield from _oauth2_violations(given.oauth2)
    for name in given.http_headers:
        if name.lower() in _RESERVED:
            message = f"the header {name} cannot be set, as in Prometheus"
            yield Violation(("http_headers", name), "bad-value", message, "use the keys that are for it")


def _one_of(*path: str, **given: object) -> Iterator[Violation]:
    """A value is given, or in a file, and not both."""
    one, other = given
    if given[one] and given[other]:
        yield Violation((*path, other), _BOTH, f"there are both {one} and {other}", _KEEP)


def _tls_violations(tls: TlsConfig | None, *path: str) -> Iterator[Violation]:
    if tls is None:
        return
    yield from _one_of(*path, ca=tls.ca, ca_file=tls.ca_file)
    yield from _one_of(*path, cert=tls.cert, cert_file=tls.cert_file)
    yield from _one_of(*path, key=tls.key, key_file=tls.key_file)
    if bool(tls.cert or tls.cert_file) != bool(tls.key or tls.key_file):
        message = "a certificate is shown with its key: cert_file and key_file go together"
        yield Violation(path, _BOTH, message, "give both, or neither")
    if tls.min_version is not None and tls.max_version is not None and tls.min_version > tls.max_version:
        message = f"min_version {tls.min_version} is newer than max_version {tls.max_version}"
        yield Violation((*path, "min_version"), _BOTH, message, "exchange them")


def _proxy_violations(proxy: Proxy, *path: str) -> Iterator[Violation]:
    if proxy.proxy_url is not None:
        if proxy.proxy_from_environment:
            message = "there are both proxy_url and proxy_from_environment"
            yield Violation((*path, "proxy_from_environment"), _BOTH, message, _KEEP)
        try:
            http_url(proxy.proxy_url.reveal())
        except ValueError:
            message = "this is not the address of a proxy such as http://proxy:3128"
            remedy = "write http:// or https://, a host and a port: SOCKS is not supported"
            yield Violation((*path, "proxy_url"), "bad-value", message, remedy)
    elif proxy.no_proxy:
        message = "no_proxy is for a proxy_url, and there is none"
        yield Violation((*path, "no_proxy"), _BOTH, message, "give a proxy_url, or leave it out")
    elif proxy.proxy_connect_header and not proxy.proxy_from_environment:
        message = "proxy_connect_header is for a proxy, and there is none"
        yield Violation((*path, "proxy_connect_header"), _BOTH, message, "give a proxy_url, or leave it out")


def _oauth2_violations(oauth2: OAuth2) -> Iterator[Violation]:
    yield from _one_of("oauth2", client_secret=oauth2.client_secret, client_secret_file=oauth2.client_secret_file)
    if not oauth2.client_secret and not oauth2.client_secret_file:
        message = "the key client_secret is missing here"
        yield Violation(("oauth2",), "missing-key", message, "add client_secret_file:")
    try:
        http_url(oauth2.token_url)
    except ValueError as error:
        yield Violation(
            ("oauth2", "token_url"), "bad-value", str(error), "write http:// or https://, a host and a path"
        )
    yield from _tls_violations(oauth2.tls_config, "oauth2", "tls_config")
    yield from _proxy_violations(oauth2, "oauth2")


class PrometheusServer(Server, frozen=True, kw_only=True):
    """A Prometheus, or a server that answers as one; or a replicated pair of them."""

    url: Annotated[Url, Meta(description="http:// or https://, a host, a port, and a path if there is one.")] = ""
    urls: Annotated[
        tuple[Url, ...],
        Meta(description="Or the addresses of servers with the same data: one that fails is passed over."),
    ] = ()
    name: Annotated[Name, Meta(description="How thresholds and services name it, where there are several.")] = ""
    method: Annotated[
        QueryMethod | None,
        Meta(description="How it is asked; POST unless given, and GET where the server refuses POST."),
    ] = None

    def violations(self) -> Iterator[Violation]:
        """What cannot be meant."""
        if self.url and self.urls:
            yield Violation(("urls",), _BOTH, "there are both url and urls", _KEEP)
        elif not self.url and not self.urls:
            yield Violation((), "missing-key", "the key url is missing here", "add url:")
        if len(set(self.urls)) < len(self.urls):
            yield Violation(("urls",), _BOTH, "the same address is there twice", "keep it once")
        yield from http_violations(self)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses, in the order in which they are asked."""
        return self.urls or (self.url,)

    def client(self, *, query_timeout: float, metrics: Metrics) -> Prometheus:
        """A client of this server."""
        from remediator.clients.prometheus.client import Prometheus

        return Prometheus(
            replace(self, url=self.addresses[0]),
            query_timeout=query_timeout,
            metrics=metrics,
            method=self.method or "",
            urls=self.urls,
        )


class AlertmanagerClient(Server, frozen=True, kw_only=True):
    """An Alertmanager, and the name of the receiver there that posts to remediator."""

    receiver: Annotated[
        str, Meta(description="The receiver there that posts to remediator; without it every alert counts.")
    ] = ""


def beside_client(client: C, folder: Path) -> C:
    """The settings with file names that are relative to this folder."""
    basic, bearer, oauth2 = client.basic_auth, client.authorization, client.oauth2
    if basic is not None:
        basic = replace(
            basic,
            password_file=beside(folder, basic.password_file),
            username_file=beside(folder, basic.username_file),
        )
    if bearer is not None:
        bearer = replace(bearer, credentials_file=beside(folder, bearer.credentials_file))
    if oauth2 is not None:
        oauth2 = replace(
            oauth2,
            client_secret_file=beside(folder, oauth2.client_secret_file),
            tls_config=_beside_tls(oauth2.tls_config, folder),
        )
    headers = {
        name: replace(header, files=tuple(beside(folder, file) for file in header.files))
        for name, header in client.http_headers.items()
    }
    return replace(
        client,
        basic_auth=basic,
        authorization=bearer,
        oauth2=oauth2,
        bearer_token_file=beside(folder, client.bearer_token_file),
        http_headers=headers,
        tls_config=_beside_tls(client.tls_config, folder),
    )


def _beside_tls(tls: TlsConfig | None, folder: Path) -> TlsConfig | None:
    if tls is None:
        return None
    names = ("ca_file", "cert_file", "key_file")
    return replace(tls, **{name: beside(folder, getattr(tls, name)) for name in names})


def beside(folder: Path, name: str) -> str:
    """A file name relative to this folder; an empty one stays empty."""
    return str(folder / name) if name else ""

"""Prometheus' http-client settings as data: the address of a server, credentials and TLS.

Field names follow prometheus/common `config.HTTPClientConfig`. Files are read at each use, so that a rotated token works
without a reload.
"""

from __future__ import annotations

import base64
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from remediator.errors import RemoteError


class Secret:
    """A text that only `reveal` shows: `repr`, `str` and formatting give `<secret>`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


_NO_PROVIDER = "there are no secret providers here: name a file instead"


class BasicAuth(msgspec.Struct, frozen=True):
    """User name and password, each given or in a file."""

    hints: ClassVar[dict[str, str]] = {"username_ref": _NO_PROVIDER, "password_ref": _NO_PROVIDER}
    username: Annotated[str, Meta(description="The user's name.")] = ""
    password: Annotated[Secret | None, Meta(description="The password itself; a file is the better place.")] = None
    password_file: Annotated[str, Meta(description="A file with the password, read at each use.")] = ""
    username_file: Annotated[str, Meta(description="A file with the user's name, read at each use.")] = ""


class Authorization(msgspec.Struct, frozen=True):
    """An `Authorization` header of any type."""

    hints: ClassVar[dict[str, str]] = {"credentials_ref": _NO_PROVIDER}
    type: Annotated[str, Meta(description="What stands before the credentials; Bearer unless given.")] = "Bearer"
    credentials: Annotated[Secret | None, Meta(description="The token itself; a file is the better place.")] = None
    credentials_file: Annotated[str, Meta(description="A file with the token, read at each use.")] = ""


class TlsVersion(StrEnum):
    """A version of TLS."""

    TLS10 = "TLS10"
    TLS11 = "TLS11"
    TLS12 = "TLS12"
    TLS13 = "TLS13"


class TlsConfig(msgspec.Struct, frozen=True):
    """Trusted authorities, and the client certificate, each in a file or inline."""

    hints: ClassVar[dict[str, str]] = dict.fromkeys(("ca_ref", "cert_ref", "key_ref"), _NO_PROVIDER)
    ca_file: Annotated[
        str, Meta(description="Certificates of the authorities to trust; the system's unless given.")
    ] = ""
    cert_file: Annotated[str, Meta(description="The certificate to show.")] = ""
    key_file: Annotated[str, Meta(description="The key of that certificate.")] = ""
    server_name: Annotated[str, Meta(description="The name its certificate has to have; the host's unless given.")] = ""
    insecure_skip_verify: Annotated[bool, Meta(description="true: take whoever answers for the server.")] = False
    ca: Annotated[str, Meta(description="The authorities to trust, as PEM text.")] = ""
    cert: Annotated[str, Meta(description="The certificate to show, as PEM text.")] = ""
    key: Annotated[Secret | None, Meta(description="Its key, as PEM text; a file is the better place.")] = None
    min_version: Annotated[TlsVersion | None, Meta(description="The oldest version of TLS to speak.")] = None
    max_version: Annotated[TlsVersion | None, Meta(description="The newest version of TLS to speak.")] = None

    def files(self) -> list[str]:
        """The files that a context is made of."""
        return [file for file in (self.ca_file, self.cert_file, self.key_file) if file]


class HttpHeader(msgspec.Struct, frozen=True):
    """The values of one header. Several are sent as one, with commas between them."""

    values: Annotated[tuple[str, ...], Meta(description="Values.")] = ()
    secrets: Annotated[tuple[Secret, ...], Meta(description="Values that are shown nowhere.")] = ()
    files: Annotated[tuple[str, ...], Meta(description="Files with a value each, read at each use.")] = ()


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """The proxy in front of a server."""

    proxy_url: Annotated[Secret | None, Meta(description="The proxy, as http://HOST:PORT.")] = None
    no_proxy: Annotated[str, Meta(description="Hosts, domains and networks to reach without the proxy.")] = ""
    proxy_from_environment: Annotated[
        bool, Meta(description="true: take the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name.")
    ] = False
    proxy_connect_header: Annotated[
        dict[str, tuple[Secret, ...]], Meta(description="Headers for the proxy alone.")
    ] = {}


class OAuth2(Proxy, frozen=True, kw_only=True):
    """A token by OAuth 2.0's client credentials, fetched again when it expires."""

    hints: ClassVar[dict[str, str]] = {
        "client_secret_ref": _NO_PROVIDER,
        **dict.fromkeys(
            ("client_certificate_key", "client_certificate_key_file", "client_certificate_key_id", "claims"),
            "only the grant type client_credentials is supported",
        ),
    }
    client_id: Annotated[str, Meta(description="The client's name.")]
    client_secret: Annotated[Secret | None, Meta(description="Its secret; a file is the better place.")] = None
    client_secret_file: Annotated[str, Meta(description="A file with the secret, read when a token is fetched.")] = ""
    scopes: Annotated[tuple[str, ...], Meta(description="The scopes to ask for.")] = ()
    token_url: Annotated[str, Meta(description="Where the token is fetched.")]
    endpoint_params: Annotated[dict[str, str], Meta(description="Further parameters of that request.")] = {}
    tls_config: TlsConfig | None = None


class HttpConfig(Proxy, frozen=True, kw_only=True):
    """Credentials, TLS settings, headers and proxy, as prometheus/common has them."""

    hints: ClassVar[dict[str, str]] = dict.fromkeys(
        ("sigv4", "azuread", "google_iam"), "requests are not signed for clouds here: put a signing proxy in front"
    )

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    tls_config: TlsConfig | None = None
    headers: Annotated[dict[str, str], Meta(description="Further headers of each request.")] = {}
    oauth2: OAuth2 | None = None
    bearer_token: Annotated[Secret | None, Meta(description="A token; authorization: is the newer way to say it.")] = (
        None
    )
    bearer_token_file: Annotated[str, Meta(description="A file with a token, read at each use.")] = ""
    http_headers: Annotated[
        dict[str, HttpHeader], Meta(description="Further headers of each request, as Prometheus has them.")
    ] = {}
    follow_redirects: Annotated[
        bool, Meta(description="true: follow redirects within the same server; never to another one.")
    ] = False
    enable_http2: Annotated[bool, Meta(description="Accepted, and without effect: HTTP/1.1 is spoken.")] = False

    def all_headers(self) -> dict[str, str]:
        """The headers of each request, with `Authorization` but for OAuth's. RemoteError when a file cannot be read."""
        headers = dict(self.headers)
        for name, given in self.http_headers.items():
            secrets = (secret.reveal() for secret in given.secrets)
            headers[name] = ", ".join((*given.values, *secrets, *(read_secret(None, file) for file in given.files)))
        if self.basic_auth is not None:
            username = read_secret(Secret(self.basic_auth.username), self.basic_auth.username_file)
            password = read_secret(self.basic_auth.password, self.basic_auth.password_file)
            headers["Authorization"] = f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"
        elif self.authorization is not None:
            token = read_secret(self.authorization.credentials, self.authorization.credentials_file)
            headers["Authorization"] = f"{self.authorization.type} {token}"
        elif self.bearer_token is not None or self.bearer_token_file:
            headers["Authorization"] = f"Bearer {read_secret(self.bearer_token, self.bearer_token_file)}"
        return headers


class HttpClient(HttpConfig, frozen=True):
    """A server's address, and how it is reached."""

    url: str

    def ssl_context(self) -> ssl.SSLContext:
        """The TLS context. RemoteError when a file cannot be used."""
        return ssl_context(self.tls_config or TlsConfig(), self.url)


_VERSIONS = {
    TlsVersion.TLS10: ssl.TLSVersion.TLSv1,
    TlsVersion.TLS11: ssl.TLSVersion.TLSv1_1,
    TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3,
}


def ssl_context(tls: TlsConfig, url: str) -> ssl.SSLContext:
    """The TLS context for an address. RemoteError when a certificate or key cannot be used."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file or None, cadata=tls.ca or None)
        if tls.cert_file or tls.cert:
            with (
                _as_file(tls.cert, tls.cert_file) as cert,
                _as_file(tls.key.reveal() if tls.key else "", tls.key_file) as key,
            ):
                context.load_cert_chain(cert, key or None)
        if tls.min_version is not None:
            context.minimum_version = _VERSIONS[tls.min_version]
        if tls.max_version is not None:
            context.maximum_version = _VERSIONS[tls.max_version]
    except (OSError, ssl.SSLError, ValueError) as error:
        raise RemoteError(f"cannot set up TLS for {url}: {error}", retry=True) from None
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.contextmanager
def _as_file(text: str, file: str) -> Iterator[str]:
    """The name of the file, or of a private one with the text: OpenSSL reads certificates from files alone."""
    if not text:
        yield file
        return
    handle, name = tempfile.mkstemp(prefix="remediator-", suffix=".pem")
    try:
        with os.fdopen(handle, "w") as opened:
            opened.write(text)
        yield name
    finally:
        os.unlink(name)


def secrets_in(value: object, name: str = "") -> Iterator[str]:
    """The keys under which settings hold a secret itself."""
    if isinstance(value, Secret):
        yield name
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from secrets_in(getattr(value, field), field)
    elif isinstance(value, dict):
        for item in value.values():
            yield from secrets_in(item, name)
    elif isinstance(value, tuple):
        for item in value:
            yield from secrets_in(item, name)


def read_secret(given: Secret | None, file: str) -> str:
    """A secret that is given or in a file, without blanks around it. RemoteError when the file cannot be read."""
    if not file:
        return given.reveal() if given else ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RemoteError(f"cannot read the credentials file {file}: {error}", retry=True) from None

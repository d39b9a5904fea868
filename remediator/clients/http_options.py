"""Prometheus' http-client settings as data: the address of a server, credentials and TLS.

Field names follow prometheus/common `config.HTTPClientConfig`. Files are read at each use, so that a rotated token works
without a reload.
"""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Annotated

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


class BasicAuth(msgspec.Struct, frozen=True):
    """User name and password. The password is given or in a file."""

    username: Annotated[str, Meta(description="The user's name.")]
    password: Annotated[Secret | None, Meta(description="The password itself; a file is the better place.")] = None
    password_file: Annotated[str, Meta(description="A file with the password, read at each use.")] = ""


class Authorization(msgspec.Struct, frozen=True):
    """An `Authorization` header of any type."""

    type: Annotated[str, Meta(description="What stands before the credentials; Bearer unless given.")] = "Bearer"
    credentials: Annotated[Secret | None, Meta(description="The token itself; a file is the better place.")] = None
    credentials_file: Annotated[str, Meta(description="A file with the token, read at each use.")] = ""


class TlsConfig(msgspec.Struct, frozen=True):
    """Trusted authorities, and the client certificate."""

    ca_file: Annotated[
        str, Meta(description="Certificates of the authorities to trust; the system's unless given.")
    ] = ""
    cert_file: Annotated[str, Meta(description="The certificate to show.")] = ""
    key_file: Annotated[str, Meta(description="The key of that certificate.")] = ""
    server_name: Annotated[str, Meta(description="The name its certificate has to have; the host's unless given.")] = ""
    insecure_skip_verify: Annotated[bool, Meta(description="true: take whoever answers for the server.")] = False


class HttpClient(msgspec.Struct, frozen=True):
    """A server's address, credentials, TLS settings and headers."""

    url: str
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    tls_config: TlsConfig | None = None
    headers: Annotated[dict[str, str], Meta(description="Further headers of each request.")] = {}

    def all_headers(self) -> dict[str, str]:
        """The headers of each request, with `Authorization`. RemoteError when a credentials file cannot be read."""
        headers = dict(self.headers)
        if self.basic_auth is not None:
            password = _secret(self.basic_auth.password, self.basic_auth.password_file)
            pair = f"{self.basic_auth.username}:{password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        elif self.authorization is not None:
            token = _secret(self.authorization.credentials, self.authorization.credentials_file)
            headers["Authorization"] = f"{self.authorization.type} {token}"
        return headers

    def ssl_context(self) -> ssl.SSLContext:
        """The TLS context. RemoteError when a file cannot be used."""
        tls = self.tls_config or TlsConfig()
        try:
            context = ssl.create_default_context(cafile=tls.ca_file or None)
            if tls.cert_file:
                context.load_cert_chain(tls.cert_file, tls.key_file or None)
        except (OSError, ssl.SSLError) as error:
            raise RemoteError(f"cannot set up TLS for {self.url}: {error}", retry=True) from None
        if tls.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _secret(given: Secret | None, file: str) -> str:
    if not file:
        return given.reveal() if given else ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RemoteError(f"cannot read the credentials file {file}: {error}", retry=True) from None

"""The file of `--http.config.file`: credentials of the client commands, in the format of Prometheus' http config."""

from __future__ import annotations

from pathlib import Path

import msgspec

from remediator.clients.http_options import Authorization, BasicAuth, HttpClient, TlsConfig
from remediator.config.document import open_document
from remediator.config.schema import read_document
from remediator.errors import ConfigError


class HttpFile(msgspec.Struct, frozen=True):
    """Credentials and TLS settings. File names in it are relative to the working directory."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    tls_config: TlsConfig | None = None


def read_http_file(url: str, path: Path) -> HttpClient:
    """The client options for `url` with the credentials of the file. Raises ConfigError with every problem in it."""
    document = open_document(path)
    given = read_document(document, HttpFile)
    if document.problems or given is None:
        raise ConfigError(document.problems)
    return HttpClient(url, basic_auth=given.basic_auth, authorization=given.authorization, tls_config=given.tls_config)

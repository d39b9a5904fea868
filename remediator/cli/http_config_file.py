"""The file of `--http.config.file`: how the client commands are let in, in the words of Prometheus' http config."""

from __future__ import annotations

from pathlib import Path

import msgspec

from remediator.clients.http_options import Authorization, BasicAuth, HttpClient, TlsConfig
from remediator.config.document import open_document
from remediator.config.schema import read_document
from remediator.errors import ConfigError


class HttpFile(msgspec.Struct, frozen=True):
    """Who to be, and whom to trust. Names of files are relative to where the command is run."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    tls_config: TlsConfig | None = None


def read_http_file(url: str, path: Path) -> HttpClient:
    """The client of an address with the credentials of a file. ConfigError with every problem in it."""
    document = open_document(path)
    given = read_document(document, HttpFile)
    if document.problems or given is None:
        raise ConfigError(document.problems)
    return HttpClient(url, basic_auth=given.basic_auth, authorization=given.authorization, tls_config=given.tls_config)

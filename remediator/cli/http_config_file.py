"""The file of `--http.config.file`: credentials of the client commands, in the format of Prometheus' http config."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from remediator.clients.http_options import HttpClient, HttpConfig
from remediator.config.document import open_document
from remediator.config.schema import read_document
from remediator.config.servers import http_violations
from remediator.config.struct_schema import Violation
from remediator.errors import ConfigError


class HttpFile(HttpConfig, frozen=True, kw_only=True):
    """Credentials, TLS settings and proxy. File names in it are relative to the working directory."""

    def violations(self) -> Iterator[Violation]:
        """What cannot be meant."""
        return http_violations(self)


def read_http_file(url: str, path: Path) -> HttpClient:
    """The client options for `url` with the credentials of the file. Raises ConfigError with every problem in it."""
    document = open_document(path)
    given = read_document(document, HttpFile)
    if document.problems or given is None:
        raise ConfigError(document.problems)
    return HttpClient(url, **{name: getattr(given, name) for name in HttpConfig.__struct_fields__})

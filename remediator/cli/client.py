"""What every command that asks a running remediator shares: reaching it, and showing what it says.

Exit codes: 0 done, 1 it said no, 2 it could not be asked. Text from outside is shown with its control characters
escaped, since it may come from a label.
"""

from __future__ import annotations

import argparse
import functools
import getpass
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remediator.cli.local_token import local_token, named_file
from remediator.errors import RemediatorError, RemoteError

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from remediator.clients.http_options import HttpClient

DEFAULT_URL = "http://127.0.0.1:9797"
_TIMEOUT = 30.0
_MOST = 256 * 1024 * 1024
_UNSHOWN = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Characters beyond ASCII that steer terminals, or turn the direction of text. JSON itself escapes those within."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]|" + _UNSHOWN.pattern)
_COLOURS = {
    "healthy": "green",
    "recovered": "green",
    "cleared": "green",
    "succeeded": "green",
    "degraded": "yellow",
    "held": "yellow",
    "failed": "red",
    "exhausted": "red",
    "firing": "red",
    "timed_out": "red",
    "recovering": "blue",
    "open": "blue",
    "running": "blue",
}


class Refusal(RemediatorError):
    """It was reached and said no."""


def add_connection(parser: argparse.ArgumentParser, *, output: bool = True) -> None:
    """The arguments that say where remediator is, who asks, and how to show the answer."""
    parser.add_argument(
        "--url",
        default=os.environ.get("REMEDIATOR_URL") or DEFAULT_URL,
        help="where remediator is (default: $REMEDIATOR_URL, or %(default)s)",
    )
    parser.add_argument(
        "--http.config.file",
        dest="http_config",
        metavar="FILE",
        type=Path,
        help="basic_auth, authorization and tls_config, as in Prometheus' http config; else $REMEDIATOR_USERNAME and"
        " $REMEDIATOR_PASSWORD are used",
    )
    if output:
        parser.add_argument(
            "--output", choices=("table", "json"), default="table", help="how to show the answer (default: %(default)s)"
        )


def add_author(parser: argparse.ArgumentParser, *, comment: str) -> None:
    """The arguments that say who acts and why; `comment` says when the latter is needed."""
    parser.add_argument("--author", default="", help="who asks (default: the user of this shell)")
    parser.add_argument("--comment", default="", help=comment)


def author_of(args: argparse.Namespace) -> str:
    """Who acts."""
    try:
        return str(args.author) or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def answered(command: Callable[[argparse.Namespace, Client], None]) -> Callable[[argparse.Namespace], int]:
    """The `run` of a command that asks: makes its client, and exit codes of what comes of it."""

    @functools.wraps(command)
    def run(args: argparse.Namespace) -> int:
        try:
            command(args, Client.of(args))
        except Refusal as error:
            print(f"remediator: {clean(str(error))}", file=sys.stderr)
            return 1
        return 0

    return run


class Client:
    """The HTTP API of a running remediator. Raises RemoteError when it cannot be asked, Refusal when it says no."""

    def __init__(self, server: HttpClient) -> None:
        import urllib.request

        class NoRedirect(urllib.request.HTTPRedirectHandler):
            """Credentials go where they were meant to go."""

            def redirect_request(self, *_: Any) -> None:
                return None

        self._server = server
        self._token = ""
        secure = server.url.startswith("https:")
        handlers: list[Any] = [urllib.request.ProxyHandler({}), NoRedirect()]
        if secure:
            handlers.append(urllib.request.HTTPSHandler(context=server.ssl_context()))
        self._opener = urllib.request.build_opener(*handlers)

    @classmethod
    def of(cls, args: argparse.Namespace) -> Client:
        """The client the arguments ask for."""
        return cls(_server(args.url, args.http_config))

    def get(self, path: str, **query: object) -> Any:
        """The data of a GET. Arguments that are empty are left out."""
        return self._ask("GET", path, query)

    def post(self, path: str, body: object) -> Any:
        """The data of a POST."""
        return self._ask("POST", path, {}, json.dumps(body).encode())

    def delete(self, path: str, **query: object) -> Any:
        """The data of a DELETE."""
        return self._ask("DELETE", path, query)

    def events(self) -> Iterator[Any]:
        """Journal entries as they come, until the connection ends."""
        from http.client import HTTPException

        with self._open("GET", "/api/v1/events", {}, None) as response:
            try:
                for line in response:
                    if line.startswith(b"data: "):
                        yield json.loads(line[6:])
            except (OSError, HTTPException, ValueError) as error:
                raise RemoteError(f"cannot follow {self._server.url}: {error}", retry=True) from None

    def _ask(self, method: str, path: str, query: dict[str, object], body: bytes | None = None) -> Any:
        from http.client import HTTPException

        with self._open(method, path, query, body) as response:
            try:
                answer = json.loads(response.read(_MOST))
                return answer["data"]
            except (OSError, HTTPException, ValueError, KeyError, TypeError):
                raise self._stranger() from None

    def _open(self, method: str, path: str, query: dict[str, object], body: bytes | None) -> HTTPResponse:
        import http.client
        import urllib.error
        import urllib.parse
        import urllib.request

        given = {
            name: value for name, value in query.items() if value is not None and value is not False and value != ""
        }
        text = urllib.parse.urlencode({name: "true" if value is True else value for name, value in given.items()})
        url = self._server.url.rstrip("/") + path + (f"?{text}" if text else "")
        headers = {"Accept": "application/json", "User-Agent": "remediator", **self._server.all_headers()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
            request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - only http(s), see _server
            response: HTTPResponse = self._opener.open(request, timeout=_TIMEOUT)
            return response
        except urllib.error.HTTPError as error:
            with error:
                answer = error.read(_MOST)
                file = named_file(error.headers.get("WWW-Authenticate", ""))
            if error.code == 401 and file and "Authorization" not in headers:
                self._token = local_token(self._server.url, file)
                return self._open(method, path, query, body)
            raise self._refusal(error.code, answer) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise RemoteError(f"cannot reach remediator at {self._server.url}: {reason}", retry=True) from None

    def _refusal(self, status: int, body: bytes) -> RemediatorError:
        try:
            answer = json.loads(body)
            return Refusal(str(answer["error"]))
        except (ValueError, KeyError, TypeError):
            return self._stranger(status)

    def _stranger(self, status: int = 200) -> RemoteError:
        return RemoteError(f"cannot understand {self._server.url} ({status}): is that remediator?", retry=False)


def service_path(name: str, verb: str = "") -> str:
    """The API's path of a service, whatever is in its name."""
    import urllib.parse

    return f"/api/v1/services/{urllib.parse.quote(name, safe='')}{verb}"


def show_json(data: object) -> None:
    """What was answered, for programs."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    print(_UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """A table: with lines and colours on a terminal, plain columns when piped; `empty` is said when there are no
    rows."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    given = list(rows)
    if not given:
        print(empty, file=sys.stderr)
        return
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=10_000, color_system=None)
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper(), overflow="fold")
    for row in given:
        texts = [clean(one_line(str(cell))) for cell in row]
        table.add_row(*(Text(text, style=_COLOURS.get(text, "")) for text in texts))
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())


def clean(text: str) -> str:
    """Text that leaves the terminal as it is."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Text for a cell."""
    return " ".join(text.split("\n"))


def seconds_of(at: str | None) -> float | None:
    """A time of the API as seconds since the epoch."""
    from datetime import datetime

    return None if at is None else datetime.fromisoformat(at).timestamp()


def ago(at: str | None, now: float | None = None) -> str:
    """How long ago a time of the API was, or how far ahead it is."""
    from remediator.model.durations import rough_duration

    seconds = seconds_of(at)
    if seconds is None:
        return ""
    distance = round((time.time() if now is None else now) - seconds)
    return f"{rough_duration(distance)} ago" if distance >= 0 else f"in {rough_duration(-distance)}"


def moment(at: str | None) -> str:
    """A time of the API to the second, in UTC."""
    return "" if at is None else at[:19].replace("T", " ") + "Z"


def _server(url: str, file: Path | None) -> HttpClient:
    from remediator.clients.http_options import BasicAuth, HttpClient, Secret

    if not url.startswith(("http://", "https://")):
        raise RemediatorError(f"cannot reach {url!r}: an address begins with http:// or https://")
    if file is not None:
        from remediator.cli.http_config_file import read_http_file

        return read_http_file(url, file)
    username = os.environ.get("REMEDIATOR_USERNAME", "")
    password = Secret(os.environ.get("REMEDIATOR_PASSWORD", ""))
    return HttpClient(url, basic_auth=BasicAuth(username, password) if username else None)

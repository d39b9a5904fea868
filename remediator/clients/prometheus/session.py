"""The HTTP session under PrometheusConnect, with what PrometheusConnect lacks.

That is: queries of any length (a form body instead of the URL), one deadline for the whole exchange, a limit of the
response's size, no retries, credentials read at each request, TLS as configured, and the parts of the response that
PrometheusConnect drops (resultType, warnings, infos).
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from urllib3.util import Timeout

from remediator.clients.deadline_transport import DeadlineAdapter
from remediator.clients.http_options import HttpClient, TlsConfig
from remediator.clients.oauth2 import Credentials
from remediator.clients.prometheus.answer import QueryFailure, QueryResult, decode, decode_names, short
from remediator.clients.proxy import connect_headers, proxy_for
from remediator.errors import RemoteError
from remediator.model.health import QueryStatus

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024 * 1024
"""Maximum size of a response."""
_MOVED = (301, 302, 307, 308)
_REDIRECTS = 5
_REFUSES_POST = (403, 404, 405, 501)
"""The statuses of proxies and roles that let only GET through. Routers that know no POST say that there is nothing."""


class Session(requests.Session):
    """The session under PrometheusConnect. QueryFailure unless the response can be judged."""

    def __init__(self, client: HttpClient, timeout: float, connections: int, method: str = "") -> None:
        super().__init__()
        # Ignore proxies, .netrc and certificates of the environment: the config has all settings.
        self.trust_env = False
        self._client = client
        self._credentials = Credentials(client)
        self._given_method = method
        self._method = method
        """GET or POST as given; otherwise GET once the server has refused POST."""
        self._timeout = timeout
        self._connections = connections
        self._tls = client.tls_config or TlsConfig()
        self._tls_stamp: tuple[int, ...] | None = None
        self._mounting = threading.Lock()
        parts = urlsplit(client.url)
        self._shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")

    def request(self, method: str | bytes, url: str | bytes, params: Any = None, *_: Any, **__: Any) -> Any:
        deadline = time.monotonic() + self._timeout
        status, answer = self._sent(self._method or "POST", str(url), params, deadline)
        if status not in _REFUSES_POST or not isinstance(answer, QueryFailure) or answer.from_api or self._given_method:
            return _reply(answer)
        if self._method:
            # What refuses GET today may let POST through.
            self._method = ""
            return _reply(answer)
        # A proxy or a role may let only GET through. The answer to it counts only if it is the query API's.
        other = self._sent("GET", str(url), params, deadline)[1]
        if isinstance(other, QueryFailure) and not other.from_api:
            return _reply(answer)
        self._method = "GET"
        log.info("%s refuses POST with HTTP %d: asking it by GET from now on", self._shown, status)
        return _reply(other)

    def _sent(self, method: str, url: str, params: Any, deadline: float) -> tuple[int, QueryResult | QueryFailure]:
        """The status of one request (0 without one) and what came of it. A body is decoded by the kind of the URL."""
        try:
            response = self._exchange(method, url, params, deadline)
            with response:
                body = response.raw.read(MAX_BYTES + 1, decode_content=True)
        except RemoteError as error:
            return 0, QueryFailure(QueryStatus.UNREACHABLE, str(error), from_api=False)
        except UnicodeError as error:
            return 0, QueryFailure(QueryStatus.BAD_DATA, f"cannot send the query: {error}", from_api=False)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            return 0, self._failure(error)
        if response.status_code == 401:
            self._credentials.refused()
        if len(body) > MAX_BYTES:
            text = f"the answer is larger than {MAX_BYTES >> 20} MiB: aggregate in the expression, as with sum by (…)"
            return response.status_code, QueryFailure(QueryStatus.BAD_ANSWER, text)
        try:
            if url.endswith("/labels"):
                return response.status_code, decode_names(response, body, self._shown)
            return response.status_code, decode(response, body, self._shown, ranged=url.endswith("/query_range"))
        except QueryFailure as failure:
            return response.status_code, failure

    def _exchange(self, method: str, url: str, params: Any, deadline: float) -> requests.Response:
        """The response to a request, after redirects within the same server if they are to be followed."""
        self._mount()
        headers = {**self._credentials.headers(), "Accept-Encoding": "identity"}
        proxy = proxy_for(self._client, self._client.url)
        for _ in range(_REDIRECTS + 1):
            response: requests.Response = super().request(
                method,
                url,
                params=params if method == "GET" else None,
                data=params if method != "GET" else None,
                headers=headers,
                timeout=Timeout(total=max(0.001, deadline - time.monotonic())),  # type: ignore[arg-type]  # requests takes urllib3's
                stream=True,
                allow_redirects=False,
                proxies={"http": proxy, "https": proxy} if proxy else None,
            )
            target = urljoin(url, response.headers.get("Location", ""))
            moved = response.status_code in _MOVED and target.partition("?")[0] != url
            if not (self._client.follow_redirects and moved and _origin(target) == _origin(url)):
                break
            response.close()
            # The query is sent again as it was, whatever the redirect keeps of it.
            url = target.partition("?")[0]
        return response

    def get_redirect_target(self, resp: Any) -> None:
        """None: credentials and expressions are sent only to the configured address."""

    def _failure(self, error: Exception) -> QueryFailure:
        causes = _causes(error)
        where = f"Prometheus at {self._shown}"
        if any(isinstance(cause, requests.ConnectTimeout) for cause in causes):
            return QueryFailure(
                QueryStatus.UNREACHABLE, f"cannot connect to {where} within {self._timeout:g}s", from_api=False
            )
        connected = not any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in causes)
        if connected and any(isinstance(c, TimeoutError | urllib3.exceptions.ReadTimeoutError) for c in causes):
            return QueryFailure(
                QueryStatus.TIMEOUT, f"{where} did not answer within {self._timeout:g}s", from_api=False
            )
        # The innermost cause says what happened. The outer ones repeat it in the library's words, with addresses.
        cause = next((cause for cause in reversed(causes) if isinstance(cause, OSError)), causes[-1])
        return QueryFailure(
            QueryStatus.UNREACHABLE,
            f"cannot reach {where}: {short(str(cause) or type(cause).__name__)}",
            from_api=False,
        )

    def _mount(self) -> None:
        """Mount our adapter, and replace it when a certificate file has changed.

        Its prefix is longer than that of PrometheusConnect's adapter, so requests uses ours.
        """
        try:
            stamp = tuple(Path(file).stat().st_mtime_ns for file in self._tls.files())
        except OSError as error:
            raise RemoteError(f"cannot set up TLS for {self._shown}: {error}", retry=True) from None
        with self._mounting:
            if stamp == self._tls_stamp:
                return
            url = self._client.url.rstrip("/")
            secure = url.lower().startswith("https:")
            context = self._client.ssl_context() if secure else None
            name = self._tls.server_name if secure else ""
            adapter = DeadlineAdapter(self._connections, context, name, connect_headers(self._client))
            previous = self.adapters.get(f"{url}/api/")
            self.mount(f"{url}/api/", adapter)
            if self._client.follow_redirects:
                self.mount(f"{_origin(url)}/", adapter)
            if previous is not None:
                previous.close()
            self._tls_stamp = stamp


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def _reply(answer: QueryResult | QueryFailure) -> _Reply:
    if isinstance(answer, QueryFailure):
        raise answer from None
    return _Reply(answer)


class _Reply(requests.Response):
    """Stands in for the server's response. PrometheusConnect returns its `result`, which is all that we decoded."""

    def __init__(self, result: QueryResult) -> None:
        super().__init__()
        self.status_code = 200
        self._result = result

    def json(self, **_: Any) -> Any:
        return {"data": {"result": self._result}}


def _causes(error: BaseException) -> list[BaseException]:
    """An exception and its causes, outermost first, also those that urllib3 keeps in attributes."""
    found: list[BaseException] = []
    todo: list[Any] = [error]
    while todo:
        item = todo.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            todo += [getattr(item, "reason", None), item.__cause__, item.__context__, *item.args]
    return found

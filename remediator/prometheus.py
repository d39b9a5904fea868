"""The PromQL client: instant queries through prometheus-api-client, each with a named outcome and never an exception.

`PrometheusConnect` speaks through a session of ours, which gives it what it lacks: queries of any length (a form body
instead of the URL), one deadline over the whole exchange, a limit to what is read, no retries, credentials read at each
request, TLS as configured, and the parts of the answer that it would drop (resultType, warnings, infos).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
import urllib3
from prometheus_api_client import PrometheusConnect
from urllib3.util import Timeout

from remediator.errors import NeighbourError
from remediator.health import Sight
from remediator.httpclient import HttpClient, TlsConfig
from remediator.metrics import Metrics
from remediator.wire import DeadlineAdapter

MAX_BYTES = 64 * 1024 * 1024
"""How much of an answer is read."""
THREADS = 8
"""How many queries of `Prometheus.query` run at once."""
_CONNECTIONS = 2 * THREADS
_SHOWN = 300

# Prometheus' errorType, as its api/v1 names them. `unavailable` is a server that starts, or whose storage is not ready.
_SIGHTS = {
    "bad_data": Sight.BAD_DATA,
    "execution": Sight.EXECUTION,
    "internal": Sight.EXECUTION,
    "timeout": Sight.TIMEOUT,
    "canceled": Sight.TIMEOUT,
    "unavailable": Sight.UNREACHABLE,
}


class Series(msgspec.Struct, frozen=True, gc=False):
    """One element of an instant vector; a scalar is one without labels. The value may be NaN or infinite."""

    labels: dict[str, str]
    value: float


class Answer(msgspec.Struct, frozen=True):
    """What came of a query asked at `at`. `sight` is SEEN when Prometheus evaluated it; otherwise `error` is a sentence.

    With `warnings` a part of the data may be missing. `kind` is Prometheus' resultType, `vector` or `scalar`.
    """

    at: float
    sight: Sight
    series: list[Series] = []
    error: str = ""
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    kind: str = ""

    @property
    def true(self) -> bool | None:
        """The answer as a condition: a vector is true unless it is empty, as in Prometheus' alerting rules, a scalar
        unless it is 0 or NaN. None when it was not seen, or may be incomplete."""
        if self.sight is not Sight.SEEN or self.warnings:
            return None
        if self.kind == "scalar":
            value = self.series[0].value
            return value == value and value != 0
        return bool(self.series)


class Prometheus:
    """One Prometheus server. Connections are kept; `query_timeout` is seconds for a whole query."""

    def __init__(
        self, client: HttpClient, *, query_timeout: float, metrics: Metrics, now: Callable[[], float] = time.time
    ) -> None:
        self._timeout = query_timeout
        self._now = now
        self._results = {sight: metrics.queries.labels(sight.value) for sight in Sight}
        self._duration = metrics.query_duration
        self._session = _Session(client, query_timeout)
        self._connect = PrometheusConnect(client.url.rstrip("/"), session=self._session, method="POST")
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="promql")

    async def query(self, expr: str) -> Answer:
        """Evaluate an expression now."""
        at = self._now()
        loop = asyncio.get_running_loop()
        # The session keeps to the deadline by itself, but for a name that is slow to resolve or threads that are taken.
        limit = self._timeout + 0.5
        try:
            async with asyncio.timeout(limit):
                return await loop.run_in_executor(self._threads, self.query_blocking, expr)
        except TimeoutError:
            return self._count(Answer(at, Sight.TIMEOUT, error=f"Prometheus was not asked within {limit:g}s"), limit)

    def query_blocking(self, expr: str) -> Answer:
        """Evaluate an expression now; for worker threads."""
        at, started = self._now(), time.perf_counter()
        # Prometheus gives up first, so that it is Prometheus that says why.
        params = {"timeout": f"{max(1, round(self._timeout * 900))}ms"}
        try:
            result: _Result = self._connect.custom_query(expr, params)
            answer = Answer(at, Sight.SEEN, result.series, "", result.warnings, result.infos, result.kind)
        except _Unseen as unseen:
            answer = Answer(at, unseen.sight, error=unseen.text)
        return self._count(answer, time.perf_counter() - started)

    async def close(self) -> None:
        """Let go of the connections, once the queries under way have ended."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._connect.close()

    def _count(self, answer: Answer, seconds: float) -> Answer:
        self._results[answer.sight].inc()
        self._duration.observe(seconds)
        return answer


class _Unseen(Exception):
    """A query has not been answered; carries the outcome."""

    def __init__(self, sight: Sight, text: str) -> None:
        self.sight = sight
        self.text = text
        super().__init__(text)


class _Result(msgspec.Struct, frozen=True):
    """All that is kept of a successful answer."""

    kind: str
    series: list[Series]
    warnings: tuple[str, ...]
    infos: tuple[str, ...]


class _Reply(requests.Response):
    """What PrometheusConnect takes for the server's response. It hands through whatever stands in for `result`, and so
    returns the whole of what we decoded."""

    def __init__(self, result: _Result) -> None:
        super().__init__()
        self.status_code = 200
        self._result = result

    def json(self, **_: Any) -> Any:
        return {"data": {"result": self._result}}


class _Session(requests.Session):
    """The session under PrometheusConnect. Raises _Unseen for everything but an answer that can be judged."""

    def __init__(self, client: HttpClient, timeout: float) -> None:
        super().__init__()
        # No proxy, .netrc or certificate store from the environment: the config says it all.
        self.trust_env = False
        self._client = client
        self._timeout = timeout
        self._tls = client.tls_config or TlsConfig()
        self._tls_stamp: tuple[int, ...] | None = None
        self._mounting = threading.Lock()
        parts = urlsplit(client.url)
        self._shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")

    def request(self, method: str | bytes, url: str | bytes, params: Any = None, *_: Any, **__: Any) -> Any:
        timeout = Timeout(total=self._timeout)
        try:
            self._mount()
            with super().request(
                method,
                url,
                data=params,
                headers={**self._client.all_headers(), "Accept-Encoding": "identity"},
                timeout=timeout,  # type: ignore[arg-type]  # requests takes urllib3's, which alone knows a total
                stream=True,
                allow_redirects=False,
            ) as response:
                body = response.raw.read(MAX_BYTES + 1, decode_content=True)
        except NeighbourError as error:
            raise _Unseen(Sight.UNREACHABLE, str(error)) from None
        except UnicodeError as error:
            raise _Unseen(Sight.BAD_DATA, f"cannot send the query: {error}") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._failure(error) from None
        if len(body) > MAX_BYTES:
            text = f"the answer is larger than {MAX_BYTES >> 20} MiB: aggregate in the expression, as with sum by (…)"
            raise _Unseen(Sight.BAD_ANSWER, text)
        return _Reply(_decode(response, body, self._shown))

    def get_redirect_target(self, resp: Any) -> None:
        """Nowhere: credentials and expressions go to the configured address alone."""

    def _failure(self, error: Exception) -> _Unseen:
        causes = _causes(error)
        where = f"Prometheus at {self._shown}"
        if any(isinstance(cause, requests.ConnectTimeout) for cause in causes):
            return _Unseen(Sight.UNREACHABLE, f"cannot connect to {where} within {self._timeout:g}s")
        connected = not any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in causes)
        if connected and any(isinstance(c, TimeoutError | urllib3.exceptions.ReadTimeoutError) for c in causes):
            return _Unseen(Sight.TIMEOUT, f"{where} did not answer within {self._timeout:g}s")
        # The innermost cause says what happened; the outer ones are the library's own words for it, addresses included.
        cause = next((cause for cause in reversed(causes) if isinstance(cause, OSError)), causes[-1])
        return _Unseen(Sight.UNREACHABLE, f"cannot reach {where}: {_short(str(cause) or type(cause).__name__)}")

    def _mount(self) -> None:
        """Put our adapter in place, anew when a certificate file has changed. Its prefix is longer than that of the
        adapter which PrometheusConnect mounts, so ours is the one used."""
        files = (self._tls.ca_file, self._tls.cert_file, self._tls.key_file)
        try:
            stamp = tuple(Path(file).stat().st_mtime_ns for file in files if file)
        except OSError as error:
            raise NeighbourError(f"cannot set up TLS for {self._shown}: {error}", retry=True) from None
        with self._mounting:
            if stamp == self._tls_stamp:
                return
            url = self._client.url.rstrip("/")
            if url.lower().startswith("https:"):
                adapter = DeadlineAdapter(_CONNECTIONS, self._client.ssl_context(), self._tls.server_name)
            else:
                adapter = DeadlineAdapter(_CONNECTIONS)
            previous = self.adapters.get(f"{url}/api/")
            self.mount(f"{url}/api/", adapter)
            if previous is not None:
                previous.close()
            self._tls_stamp = stamp


# Ten thousand of these at once are nothing for the garbage collector to walk through, hence gc=False.
class _Point(msgspec.Struct, array_like=True, gc=False):
    at: float
    value: str


class _Sample(msgspec.Struct, gc=False):
    metric: dict[str, str]
    value: _Point | None = None


class _Data(msgspec.Struct):
    resultType: str  # noqa: N815
    result: msgspec.Raw


class _Body(msgspec.Struct):
    status: str
    data: _Data | None = None
    errorType: str = ""  # noqa: N815
    error: str = ""
    warnings: tuple[str, ...] | None = None
    infos: tuple[str, ...] | None = None


_BODY = msgspec.json.Decoder(_Body)
_VECTOR = msgspec.json.Decoder(list[_Sample])
_SCALAR = msgspec.json.Decoder(_Point)
# Large answers decoded side by side would gain nothing, but make the event loop wait for the interpreter lock in turn.
_DECODING = threading.Lock()


def _decode(response: requests.Response, body: bytes, shown: str) -> _Result:
    """What a response says; raises _Unseen when that is not a vector or a scalar."""
    try:
        with _DECODING:
            decoded = _BODY.decode(body)
            if decoded.status == "success" and decoded.data is not None and response.status_code == 200:
                series = _series(decoded.data.resultType, decoded.data.result)
                return _Result(decoded.data.resultType, series, decoded.warnings or (), decoded.infos or ())
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise _stranger(response, body, shown) from None
    sight = _SIGHTS.get(decoded.errorType)
    if decoded.status != "error" or sight is None:
        raise _stranger(response, body, shown)
    raise _Unseen(sight, f"Prometheus says {decoded.errorType}: {_short(decoded.error)}")


def _series(kind: str, result: msgspec.Raw) -> list[Series]:
    if kind == "vector":
        samples = _VECTOR.decode(result)
        if any(sample.value is None for sample in samples):
            text = "the expression gives native histograms: make numbers of them, as with histogram_quantile(…)"
            raise _Unseen(Sight.BAD_ANSWER, text)
        return [Series(sample.metric, float(sample.value.value)) for sample in samples]  # type: ignore[union-attr]
    if kind == "scalar":
        return [Series({}, float(_SCALAR.decode(result).value))]
    if kind == "matrix":
        text = "the expression gives a range of values (a matrix): apply a function such as rate(…) or max_over_time(…)"
    else:
        text = f"the expression gives a {_short(kind)}, and only a vector or a scalar can be judged"
    raise _Unseen(Sight.BAD_ANSWER, text)


def _stranger(response: requests.Response, body: bytes, shown: str) -> _Unseen:
    """The outcome for a response that is not of Prometheus' query API: from a proxy, a login page, another server."""
    status = response.status_code
    if status in (401, 403):
        return _Unseen(Sight.BAD_ANSWER, f"{shown} refuses the credentials (HTTP {status})")
    if 300 <= status < 400:
        location = _short(response.headers.get("Location", "elsewhere"))
        return _Unseen(
            Sight.BAD_ANSWER, f"{shown} redirects to {location}: give the address that answers (HTTP {status})"
        )
    text = f"HTTP {status}: {_short(body[: 4 * _SHOWN].decode(errors='replace')) or 'no content'}"
    # What a server that starts, or a proxy without one behind it, says.
    if status in (429, 502, 503, 504):
        return _Unseen(Sight.UNREACHABLE, f"Prometheus at {shown} is not available, {text}")
    return _Unseen(Sight.BAD_ANSWER, f"{shown} does not answer as Prometheus' query API does, {text}")


def _causes(error: BaseException) -> list[BaseException]:
    """An exception and those inside it, outermost first: what it was raised from, and what urllib3 wraps."""
    found: list[BaseException] = []
    todo: list[Any] = [error]
    while todo:
        item = todo.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            todo += [getattr(item, "reason", None), item.__cause__, item.__context__, *item.args]
    return found


def _short(text: str) -> str:
    """A text from outside, fit for a sentence: one line of bounded length."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * _SHOWN]).split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"

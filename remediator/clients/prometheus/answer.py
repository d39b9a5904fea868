"""Decodes responses of Prometheus' query API: vectors and scalars of instant queries, matrices of range queries."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import requests

from remediator.model.health import QueryStatus

SHOWN = 300
"""How many characters of a text from a server are shown in a sentence."""

# By Prometheus' errorType. A server is `unavailable` while it starts or its storage is not ready.
_SIGHTS = {
    "bad_data": QueryStatus.BAD_DATA,
    "execution": QueryStatus.EXECUTION,
    "internal": QueryStatus.EXECUTION,
    "timeout": QueryStatus.TIMEOUT,
    "canceled": QueryStatus.TIMEOUT,
    "unavailable": QueryStatus.UNREACHABLE,
}


class Series(msgspec.Struct, frozen=True, gc=False):
    """One element of an instant vector, or a scalar, which has no labels. The value may be NaN or infinite."""

    labels: dict[str, str]
    value: float


class RangeSeries(msgspec.Struct, frozen=True, gc=False):
    """One series of a range query. Points are pairs of time and value, oldest first; values may be NaN or infinite."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


class Answer(msgspec.Struct, frozen=True):
    """The answer to a query asked at `at`. Unless `sight` is SEEN, `error` says in a sentence why there is none.

    With `warnings`, some data may be missing. `kind` is Prometheus' resultType, `vector` or `scalar`.
    """

    at: float
    sight: QueryStatus
    series: list[Series] = []
    error: str = ""
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    kind: str = ""

    @property
    def true(self) -> bool | None:
        """The answer as a condition: a vector is true unless empty, a scalar unless 0 or NaN, as in alerting rules.

        None when there is no answer, or it may be incomplete.
        """
        if self.sight is not QueryStatus.SEEN or self.warnings:
            return None
        if self.kind == "scalar":
            value = self.series[0].value
            return value == value and value != 0
        return bool(self.series)


class Range(msgspec.Struct, frozen=True):
    """The answer to a range query; see `Answer`."""

    sight: QueryStatus
    lines: list[RangeSeries] = []
    error: str = ""
    warnings: tuple[str, ...] = ()


class QueryFailure(Exception):
    """A query that was not answered, with the reason."""

    def __init__(self, sight: QueryStatus, text: str) -> None:
        self.sight = sight
        self.text = text
        super().__init__(text)


class QueryResult(msgspec.Struct, frozen=True):
    """All that is kept of a successful answer. Its series are `Series`, or `Line` when a range was asked for."""

    kind: str
    series: list[Any]
    warnings: tuple[str, ...]
    infos: tuple[str, ...]


# gc=False: the garbage collector would otherwise walk through ten thousand of these.
class _Point(msgspec.Struct, array_like=True, gc=False):
    at: float
    value: str


class _Sample(msgspec.Struct, gc=False):
    metric: dict[str, str]
    value: _Point | None = None


class _Samples(msgspec.Struct, gc=False):
    metric: dict[str, str]
    values: list[tuple[float, float]] | None = None


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


class _Names(msgspec.Struct):
    status: str
    data: list[str] | None = None
    warnings: tuple[str, ...] | None = None


_BODY = msgspec.json.Decoder(_Body)
_VECTOR = msgspec.json.Decoder(list[_Sample])
_SCALAR = msgspec.json.Decoder(_Point)
# Numbers are quoted in the response. Decoding them directly is twice as fast as decoding text first.
_MATRIX = msgspec.json.Decoder(list[_Samples], strict=False)
# Decoding large responses in parallel gains nothing, and makes the event loop wait for the interpreter lock.
_DECODING = threading.Lock()
_HISTOGRAMS = "the expression gives native histograms: make numbers of them, as with histogram_quantile(…)"


def decode(response: requests.Response, body: bytes, shown: str, *, ranged: bool = False) -> QueryResult:
    """Decode a response. QueryFailure unless it is a vector or a scalar, or for a range query a matrix.

    `shown` is the server's address for messages.
    """
    try:
        with _DECODING:
            decoded = _BODY.decode(body)
            if decoded.status == "success" and decoded.data is not None and response.status_code == 200:
                read = _lines if ranged else _series
                series = read(decoded.data.resultType, decoded.data.result)
                return QueryResult(decoded.data.resultType, series, decoded.warnings or (), decoded.infos or ())
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise _stranger(response, body, shown) from None
    sight = _SIGHTS.get(decoded.errorType)
    if decoded.status != "error" or sight is None:
        raise _stranger(response, body, shown)
    raise QueryFailure(sight, f"Prometheus says {decoded.errorType}: {short(decoded.error)}")


def decode_names(response: requests.Response, body: bytes, shown: str) -> QueryResult:
    """Decode a response that lists names. QueryFailure when it is something else."""
    try:
        decoded = msgspec.json.decode(body, type=_Names)
    except msgspec.DecodeError:
        raise _stranger(response, body, shown) from None
    if decoded.status != "success" or response.status_code != 200:
        raise _stranger(response, body, shown)
    return QueryResult("names", list(decoded.data or ()), decoded.warnings or (), ())


def _series(kind: str, result: msgspec.Raw) -> list[Series]:
    if kind == "vector":
        samples = _VECTOR.decode(result)
        if any(sample.value is None for sample in samples):
            raise QueryFailure(QueryStatus.BAD_ANSWER, _HISTOGRAMS)
        return [Series(sample.metric, float(sample.value.value)) for sample in samples]  # type: ignore[union-attr]
    if kind == "scalar":
        return [Series({}, float(_SCALAR.decode(result).value))]
    if kind == "matrix":
        text = "the expression gives a range of values (a matrix): apply a function such as rate(…) or max_over_time(…)"
    else:
        text = f"the expression gives a {short(kind)}, and only a vector or a scalar can be judged"
    raise QueryFailure(QueryStatus.BAD_ANSWER, text)


def _lines(kind: str, result: msgspec.Raw) -> list[RangeSeries]:
    if kind != "matrix":
        raise QueryFailure(
            QueryStatus.BAD_ANSWER, f"the expression gives a {short(kind)} over time, and only numbers can be judged"
        )
    text = bytes(result)
    # A value stands at the end of a pair, so a label of this text is not changed.
    text = text.replace(b',"+Inf"]', b',"Inf"]')
    samples = _MATRIX.decode(text)
    if any(sample.values is None for sample in samples):
        raise QueryFailure(QueryStatus.BAD_ANSWER, _HISTOGRAMS)
    return [RangeSeries(sample.metric, sample.values or []) for sample in samples]


def _stranger(response: requests.Response, body: bytes, shown: str) -> QueryFailure:
    """The failure for a response of something else than the query API: a proxy, a login page, another server."""
    status = response.status_code
    if status in (401, 403):
        return QueryFailure(QueryStatus.BAD_ANSWER, f"{shown} refuses the credentials (HTTP {status})")
    if 300 <= status < 400:
        location = short(response.headers.get("Location", "elsewhere"))
        return QueryFailure(
            QueryStatus.BAD_ANSWER, f"{shown} redirects to {location}: give the address that answers (HTTP {status})"
        )
    text = f"HTTP {status}: {short(body[: 4 * SHOWN].decode(errors='replace')) or 'no content'}"
    # What a server that starts, or a proxy without one behind it, says.
    if status in (429, 502, 503, 504):
        return QueryFailure(QueryStatus.UNREACHABLE, f"Prometheus at {shown} is not available, {text}")
    return QueryFailure(QueryStatus.BAD_ANSWER, f"{shown} does not answer as Prometheus' query API does, {text}")


def short(text: str) -> str:
    """A text from a server on one line of bounded length, for use in a sentence."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * SHOWN]).split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"

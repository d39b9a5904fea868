"""What Prometheus' query API answers, decoded: vectors and scalars of instant queries, matrices of range queries."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import requests

from remediator.model.health import QueryStatus

SHOWN = 300
"""How many characters of a text from outside are shown in a sentence."""

# Prometheus' errorType, as its api/v1 names them. `unavailable` is a server that starts, or whose storage is not ready.
_SIGHTS = {
    "bad_data": QueryStatus.BAD_DATA,
    "execution": QueryStatus.EXECUTION,
    "internal": QueryStatus.EXECUTION,
    "timeout": QueryStatus.TIMEOUT,
    "canceled": QueryStatus.TIMEOUT,
    "unavailable": QueryStatus.UNREACHABLE,
}


class Series(msgspec.Struct, frozen=True, gc=False):
    """One element of an instant vector; a scalar is one without labels. The value may be NaN or infinite."""

    labels: dict[str, str]
    value: float


class RangeSeries(msgspec.Struct, frozen=True, gc=False):
    """One series of a range query: its points, as pairs of time and value, oldest first. Values may be NaN or
    infinite."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


class Answer(msgspec.Struct, frozen=True):
    """What came of a query asked at `at`. `sight` is SEEN when Prometheus evaluated it; otherwise `error` is a sentence.

    With `warnings` a part of the data may be missing. `kind` is Prometheus' resultType, `vector` or `scalar`.
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
        """The answer as a condition: a vector is true unless it is empty, as in Prometheus' alerting rules, a scalar
        unless it is 0 or NaN. None when it was not seen, or may be incomplete."""
        if self.sight is not QueryStatus.SEEN or self.warnings:
            return None
        if self.kind == "scalar":
            value = self.series[0].value
            return value == value and value != 0
        return bool(self.series)


class Range(msgspec.Struct, frozen=True):
    """What came of a range query, as `Answer` has it of an instant query."""

    sight: QueryStatus
    lines: list[RangeSeries] = []
    error: str = ""
    warnings: tuple[str, ...] = ()


class QueryFailure(Exception):
    """A query has not been answered; carries the outcome."""

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


# Ten thousand of these at once are nothing for the garbage collector to walk through, hence gc=False.
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
# Numbers stand in quotation marks; reading them as such is twice as fast as by way of texts.
_MATRIX = msgspec.json.Decoder(list[_Samples], strict=False)
# Large answers decoded side by side would gain nothing, but make the event loop wait for the interpreter lock in turn.
_DECODING = threading.Lock()
_HISTOGRAMS = "the expression gives native histograms: make numbers of them, as with histogram_quantile(…)"


def decode(response: requests.Response, body: bytes, shown: str, *, ranged: bool = False) -> QueryResult:
    """What a response says. Raises Unseen when that is not a vector or a scalar, or for a range not a matrix. `shown` is
    the server's address as it may be shown."""
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
    """The names that a response lists. Raises Unseen when it does not."""
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
    # A value stands at the end of a pair; a label that says the same stays as it is.
    text = text.replace(b',"+Inf"]', b',"Inf"]')
    samples = _MATRIX.decode(text)
    if any(sample.values is None for sample in samples):
        raise QueryFailure(QueryStatus.BAD_ANSWER, _HISTOGRAMS)
    return [RangeSeries(sample.metric, sample.values or []) for sample in samples]


def _stranger(response: requests.Response, body: bytes, shown: str) -> QueryFailure:
    """The outcome for a response that is not of Prometheus' query API: from a proxy, a login page, another server."""
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
    """A text from outside, fit for a sentence: one line of bounded length."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * SHOWN]).split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"

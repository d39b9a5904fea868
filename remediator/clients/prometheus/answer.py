"""Decodes responses of Prometheus' query API: vectors and scalars of instant queries, matrices of range queries."""

from __future__ import annotations

import math
import re
import threading
from typing import Any

import msgspec
import requests

from remediator.model.health import QueryStatus

SHOWN = 300
"""How many characters of a text from a server are shown in a sentence."""

MOST_SERIES = 250_000
MOST_POINTS = 1_000_000
MOST_TEXTS = 2_500_000
"""How much an answer may hold. Small parts take more than ten times their size in memory, so its size says too little."""

# By errorType, of Prometheus, Mimir and Cortex. A server is `unavailable` while it starts or its storage is not ready.
_QUERY_STATUSES = {
    "bad_data": QueryStatus.BAD_DATA,
    "execution": QueryStatus.EXECUTION,
    "internal": QueryStatus.EXECUTION,
    "timeout": QueryStatus.TIMEOUT,
    "canceled": QueryStatus.TIMEOUT,
    "unavailable": QueryStatus.UNREACHABLE,
    "too_many_requests": QueryStatus.UNREACHABLE,
    # VictoriaMetrics gives the HTTP status as its errorType.
    "400": QueryStatus.BAD_DATA,
    "408": QueryStatus.TIMEOUT,
    "422": QueryStatus.EXECUTION,
    "429": QueryStatus.UNREACHABLE,
    "500": QueryStatus.EXECUTION,
    "502": QueryStatus.UNREACHABLE,
    "503": QueryStatus.UNREACHABLE,
    "504": QueryStatus.TIMEOUT,
}
_NOT_NOW = (429, 502, 503, 504)
"""The statuses of a server that starts or is overloaded, or of a proxy whose server is down."""
_ENGINE = "PromQL "
"""The start of what Prometheus' engine remarks about an expression: `PromQL info: …`, `PromQL warning: …`. Everything else
among the warnings is about missing data."""
_ENGINE_WARNING = "PromQL warning"
_VALUE = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|Inf|NaN)", re.ASCII)


class Series(msgspec.Struct, frozen=True, gc=False):
    """One element of an instant vector, or a scalar, which has no labels. The value may be NaN or infinite.

    A native `histogram` has the value NaN.
    """

    labels: dict[str, str]
    value: float
    histogram: bool = False


class RangeSeries(msgspec.Struct, frozen=True, gc=False):
    """One series of a range query. Points are pairs of time and value, oldest first; values may be NaN or infinite.

    A native histogram is a point with the value NaN.
    """

    labels: dict[str, str]
    points: list[tuple[float, float]]


class Answer(msgspec.Struct, frozen=True):
    """The answer to a query asked at `at`. Unless `query_status` is SEEN, `error` says in a sentence why there is none.

    With `warnings`, some data may be missing. `remarks` are the engine's warnings and infos about the expression itself.
    `kind` is Prometheus' resultType, `vector` or `scalar`.
    """

    at: float
    query_status: QueryStatus
    series: list[Series] = []
    error: str = ""
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    kind: str = ""

    def condition(self, *, empty: bool | None = None, zero: bool = False) -> bool | None:
        """The answer as a condition: true by any value but 0 and NaN, else false by 0, which with `zero` is true too.

        `empty` is what an answer without series says. None when there is no answer, it may be incomplete, or a value
        is no number. It may be empty because of what the engine warns of, such as elements that it left out.
        """
        if self.query_status is not QueryStatus.SEEN or self.warnings:
            return None
        if not self.series:
            unsure = any(remark.startswith(_ENGINE_WARNING) for remark in self.remarks)
            return None if unsure else empty
        if zero and self.kind != "scalar":
            return True
        if any(one.value for one in self.series if one.value == one.value):
            return True
        return None if any(one.value != one.value for one in self.series) else False


class Range(msgspec.Struct, frozen=True):
    """The answer to a range query; see `Answer`."""

    query_status: QueryStatus
    lines: list[RangeSeries] = []
    error: str = ""
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class QueryFailure(Exception):
    """A query that was not answered, with the reason. `from_api` says that the query API gave it."""

    def __init__(self, query_status: QueryStatus, text: str, *, from_api: bool = True) -> None:
        self.query_status = query_status
        self.text = text
        self.from_api = from_api
        super().__init__(text)


class QueryResult(msgspec.Struct, frozen=True):
    """What is kept of a successful response. `series` are `Series`, or `RangeSeries` for a range query."""

    kind: str
    series: list[Any]
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]


# gc=False: the garbage collector would otherwise walk through ten thousand of these.
class _Point(msgspec.Struct, array_like=True, gc=False):
    at: float
    value: str


class _Sample(msgspec.Struct, gc=False):
    metric: dict[str, str]
    value: _Point | None = None
    histogram: msgspec.Raw = msgspec.Raw()


class _Samples(msgspec.Struct, gc=False):
    metric: dict[str, str]
    values: list[tuple[float, float]] | None = None
    histograms: list[tuple[float, msgspec.Raw]] | None = None


class _Envelope(msgspec.Struct):
    """What surrounds the data. `isPartial` and `partial` are VictoriaMetrics' and others' words for missing data."""

    status: str
    errorType: str | int = ""  # noqa: N815
    error: str = ""
    warnings: tuple[str, ...] | None = None
    infos: tuple[str, ...] | None = None
    isPartial: bool | None = None  # noqa: N815
    partial: bool | None = None


class _Data(msgspec.Struct):
    resultType: str  # noqa: N815
    result: msgspec.Raw
    isPartial: bool | None = None  # noqa: N815
    partial: bool | None = None


class _Body(_Envelope):
    data: _Data | None = None


class _Names(_Envelope):
    data: list[str] | None = None


_BODY = msgspec.json.Decoder(_Body)
_VECTOR = msgspec.json.Decoder(list[_Sample])
_SCALAR = msgspec.json.Decoder(_Point)
# Numbers are quoted in the response. Decoding them directly is twice as fast as decoding text first.
_MATRIX = msgspec.json.Decoder(list[_Samples], strict=False)
# Decoding large responses in parallel gains nothing, and makes the event loop wait for the interpreter lock.
_DECODING = threading.Lock()


def decode(response: requests.Response, body: bytes, shown: str, *, ranged: bool = False) -> QueryResult:
    """Decode a response. QueryFailure unless it is a vector or a scalar, or for a range query a matrix.

    `shown` is the server's address for messages.
    """
    if response.status_code == 200:
        _check_size(body, ranged=ranged)
    try:
        with _DECODING:
            decoded = _BODY.decode(body)
            if decoded.status == "success" and decoded.data is not None and response.status_code == 200:
                read = _lines if ranged else _series
                series = read(decoded.data.resultType, decoded.data.result)
                return _result(decoded.data.resultType, series, response, decoded, decoded.data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise _stranger(response, body, shown) from None
    if decoded.status != "error" or not decoded.errorType:
        raise _stranger(response, body, shown)
    raise _refused(response, decoded, shown)


def _check_size(body: bytes, *, ranged: bool) -> None:
    """QueryFailure when the response would take too much memory, or too long, once it is decoded. Counting costs little."""
    most = ""
    if body.count(b'"metric"') > MOST_SERIES:
        most = f"{MOST_SERIES:,} series"
    elif ranged and body.count(b'"]') > MOST_POINTS:
        most = f"{MOST_POINTS:,} points"
    elif body.count(b'"') > 2 * MOST_TEXTS:
        most = f"{MOST_TEXTS:,} labels and values"
    if most:
        text = f"the answer holds more than {most}: aggregate in the expression, as with sum by (…)"
        raise QueryFailure(QueryStatus.BAD_ANSWER, text)


def decode_names(response: requests.Response, body: bytes, shown: str) -> QueryResult:
    """Decode a list of names, such as label names. QueryFailure when the response is no such list."""
    try:
        decoded = msgspec.json.decode(body, type=_Names)
    except msgspec.DecodeError:
        raise _stranger(response, body, shown) from None
    if decoded.status != "success" or response.status_code != 200:
        raise _stranger(response, body, shown)
    return _result("names", list(decoded.data or ()), response, decoded)


def _result(
    kind: str, series: list[Any], response: requests.Response, decoded: _Envelope, data: _Data | None = None
) -> QueryResult:
    """The result with its warnings about missing data, apart from the engine's remarks about the expression."""
    said, infos = decoded.warnings or (), decoded.infos or ()
    remarks = (*(text for text in said if text.startswith(_ENGINE)), *infos)
    warnings = [short(text) for text in said if not text.startswith(_ENGINE)]
    if decoded.isPartial or decoded.partial or (data is not None and (data.isPartial or data.partial)):
        warnings.append("the server says that its answer is partial (isPartial)")
    # M3 says in a header alone that it stopped at a limit, or could not reach a part of its storage.
    if limited := response.headers.get("M3-Results-Limited"):
        warnings.append(f"the server says that its answer is limited: {short(limited)}")
    return QueryResult(kind, series, tuple(warnings), tuple(short(text) for text in remarks))


def _series(kind: str, result: msgspec.Raw) -> list[Series]:
    if kind == "vector":
        return [_one(sample) for sample in _VECTOR.decode(result)]
    if kind == "scalar":
        return [Series({}, _number(_SCALAR.decode(result).value))]
    if kind == "matrix":
        text = "the expression gives a range of values (a matrix): apply a function such as rate(…) or max_over_time(…)"
    else:
        text = f"the expression gives a {short(kind)}, and only a vector or a scalar can be judged"
    raise QueryFailure(QueryStatus.BAD_ANSWER, text)


def _one(sample: _Sample) -> Series:
    if sample.value is not None:
        return Series(sample.metric, _number(sample.value.value))
    if bytes(sample.histogram) in (b"", b"null"):
        raise ValueError("a sample without a value")
    return Series(sample.metric, math.nan, histogram=True)


def _number(text: str) -> float:
    """A sample value in Prometheus' notation. ValueError for everything else, even where Python reads a number."""
    if _VALUE.fullmatch(text) is None:
        raise ValueError(f"{text[:20]!r} is not a sample value")
    return float(text)


def _lines(kind: str, result: msgspec.Raw) -> list[RangeSeries]:
    if kind != "matrix":
        raise QueryFailure(
            QueryStatus.BAD_ANSWER, f"the expression gives a {short(kind)} over time, and only numbers can be judged"
        )
    text = bytes(result)
    # A value stands at the end of a pair, so a label of this text is not changed.
    text = text.replace(b',"+Inf"]', b',"Inf"]')
    return [RangeSeries(sample.metric, _points(sample)) for sample in _MATRIX.decode(text)]


def _points(sample: _Samples) -> list[tuple[float, float]]:
    if sample.histograms is None:
        return sample.values or []
    return sorted(
        [*(sample.values or ()), *((at, math.nan) for at, _ in sample.histograms)], key=lambda point: point[0]
    )


def _refused(response: requests.Response, decoded: _Envelope, shown: str) -> QueryFailure:
    """The outcome for an error of the query API, in the server's own words."""
    kind = short(str(decoded.errorType))
    said = f"{kind}: {short(decoded.error)}"
    query_status = _QUERY_STATUSES.get(kind)
    if query_status is not None:
        return QueryFailure(query_status, f"Prometheus says {said}")
    query_status = QueryStatus.UNREACHABLE if response.status_code in _NOT_NOW else QueryStatus.BAD_ANSWER
    return QueryFailure(query_status, f"{shown} says {said} (HTTP {response.status_code})")


def _stranger(response: requests.Response, body: bytes, shown: str) -> QueryFailure:
    """The outcome for a response that is not of Prometheus' query API, such as a proxy's, a login page's or another server's."""
    status = response.status_code
    said = short(body[: 4 * SHOWN].decode(errors="replace"))
    if status in (401, 403):
        words = f": {said}" if said else ""
        text = f"{shown} refuses the credentials (HTTP {status}){words}"
        return QueryFailure(QueryStatus.BAD_ANSWER, text, from_api=False)
    if 300 <= status < 400:
        location = short(response.headers.get("Location", "elsewhere"))
        return QueryFailure(
            QueryStatus.BAD_ANSWER,
            f"{shown} redirects to {location}: give the address that answers (HTTP {status})",
            from_api=False,
        )
    text = f"HTTP {status}: {said or 'no content'}"
    if status in _NOT_NOW:
        return QueryFailure(QueryStatus.UNREACHABLE, f"Prometheus at {shown} is not available, {text}", from_api=False)
    return QueryFailure(
        QueryStatus.BAD_ANSWER, f"{shown} does not answer as Prometheus' query API does, {text}", from_api=False
    )


def short(text: str) -> str:
    """A text from a server on one line of bounded length, for use in a sentence."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * SHOWN]).split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"

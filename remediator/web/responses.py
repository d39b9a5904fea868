"""Answers in the shape of Prometheus' HTTP API: `{"status": "success", "data": …}`, or an error type and a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from remediator.web.threads import in_thread

T = TypeVar("T")

_TYPES = {
    400: "bad_data",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    503: "unavailable",
}


def success(data: Any, status: int = 200) -> web.Response:
    """The answer with the requested data."""
    return web.Response(
        body=msgspec.json.encode({"status": "success", "data": data}), status=status, content_type="application/json"
    )


async def success_list(shape: Callable[[T], object], items: Iterable[T]) -> web.Response:
    """A list of objects, each serialized by a function and encoded in a thread."""

    def encode() -> bytes:
        # One by one: the encoder holds the interpreter, and so blocks the event loop, while it works.
        return b'{"status":"success","data":[' + b",".join(msgspec.json.encode(shape(item)) for item in items) + b"]}"

    return web.Response(body=await in_thread(encode), content_type="application/json")


def failure(status: int, kind: str, message: str) -> web.Response:
    """The answer to a failed request. `kind` is a short word for programs, `message` a sentence for people."""
    body = {"status": "error", "errorType": kind or error_type(status), "error": message}
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def error_type(status: int) -> str:
    """The word for an HTTP status."""
    return _TYPES.get(status, "internal" if status >= 500 else "bad_data")

"""Request bodies, read within bounds of size and time."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from remediator.errors import BusyError, PayloadError

T = TypeVar("T")
_ENCODINGS = frozenset({"identity", "gzip", "deflate"})
_JSON_LIMIT = 1024 * 1024


class ByteBudget:
    """Limits the bytes of bodies in memory, from the first byte read until the content is stored."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    @contextlib.contextmanager
    def reserved(self) -> Iterator[Callable[[int], None]]:
        """A function that reserves bytes until this context ends. BusyError if the budget is used up."""
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if self._taken + size > self._limit:
                raise BusyError(f"cannot take in more now: {self._taken} bytes of notifications are in hand")
            self._taken += size
            mine += size

        try:
            yield take
        finally:
            self._taken -= mine


async def read_body(
    request: web.Request, limit: int, seconds: float, take: Callable[[int], None] = lambda size: None
) -> bytes:
    """The body: at most `limit` bytes that arrive within `seconds`. `take` is called with each size before the bytes
    are kept.

    PayloadError if the body is too long, too late or broken. The connection is then closed, because the rest of the
    body could be taken for the next request.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in _ENCODINGS:
        message = f"cannot read the body: nobody here knows the Content-Encoding {encoding[:40]!r}"
        raise PayloadError("media_type", message, 415)
    too_large = PayloadError("too_large", f"cannot accept the body: it is longer than {limit} bytes", 413)
    if (request.content_length or 0) > limit:
        raise too_large
    body = bytearray()
    unpack = _Unpacker(encoding, limit)
    content = request.content

    def add(chunk: bytes) -> None:
        nonlocal body
        piece = unpack(chunk, len(body))
        take(len(piece))
        body += piece
        if len(body) > limit:
            raise too_large

    try:
        if content.is_eof():
            # All of it came with the head, so there is nothing to wait for.
            add(content.read_nowait())
        else:
            async with asyncio.timeout(seconds):
                async for chunk in content.iter_any():
                    add(chunk)
        unpack.end()
    except TimeoutError:
        message = f"cannot accept the body: it did not arrive within {seconds:g} s"
        raise PayloadError("too_slow", message, 408) from None
    except (web.RequestPayloadError, HttpProcessingError, zlib.error) as error:
        raise PayloadError("broken", f"cannot read the body: {error}") from None
    return bytes(body)


class _Unpacker:
    """Unpacks a body, never further than one byte beyond the limit."""

    def __init__(self, encoding: str, limit: int) -> None:
        self._packed = encoding != "identity"
        self._deflated = encoding == "deflate"
        self._limit = limit
        self._inner: Any = None

    def __call__(self, chunk: bytes, size: int) -> bytes:
        """What a chunk is unpacked, after `size` bytes."""
        if not self._packed or not chunk:
            return chunk
        if self._inner is None:
            # `deflate` comes with the header of zlib, as it should, or without.
            bare = self._deflated and chunk[0] & 0x0F != 8
            self._inner = zlib.decompressobj(-zlib.MAX_WBITS if bare else zlib.MAX_WBITS | 32)
        unpacked: bytes = self._inner.decompress(chunk, self._limit + 1 - size)
        return unpacked

    def end(self) -> None:
        """Nothing more comes. PayloadError when something is missing."""
        if self._inner is not None and not self._inner.eof:
            raise PayloadError("broken", "cannot read the body: what is packed in it ends too soon")


async def read_json(request: web.Request, shape: type[T], seconds: float) -> T:
    """A JSON body of this shape. A missing body stands for an empty object. PayloadError if it is anything else.

    The required content type keeps other sites' forms out: a browser asks before it sends JSON to another site.
    """
    body = await read_body(request, _JSON_LIMIT, seconds)
    if body and request.content_type != "application/json":
        raise PayloadError("media_type", "cannot accept the body: its Content-Type has to be application/json", 415)
    try:
        return msgspec.json.decode(body or b"{}", type=shape)
    except UnicodeDecodeError:
        raise PayloadError("not_utf8", "cannot read the body: it is not UTF-8") from None
    except msgspec.DecodeError as error:
        raise PayloadError("bad_data", f"cannot read the body: {error}") from None
    except RecursionError:
        raise PayloadError("too_deep", "cannot read the body: it is nested too deeply") from None

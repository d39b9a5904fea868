"""The event stream: journal entries as server-sent events, in the order in which they were committed."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from remediator.errors import PayloadError, StoreError
from remediator.model.incident import Entry
from remediator.web.api.serialize import entry_shape
from remediator.web.context import CLOSING, CONTEXT, STREAMS

_POLL = 5.0
"""Seconds between looks at the journal when nobody rings: the bell only makes it sooner."""
_WRITE_TIMEOUT = 20.0
_MOST_STREAMS = 200
_PAGE = 500


async def stream(request: web.Request) -> web.StreamResponse:
    """Tell entries as they come: those after `Last-Event-ID` (or `?after=`), else those that are still to come.

    A client that does not keep up is let go; it comes back with the last id it saw.
    """
    parts, closing, streams = request.app[CONTEXT], request.app[CLOSING], request.app[STREAMS]
    if len(streams) >= _MOST_STREAMS:
        raise web.HTTPServiceUnavailable(text=f"cannot stream events: {_MOST_STREAMS} clients do so already")
    after = _after(request)
    if after is None:
        after = await parts.store.journal_end()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    # A stream goes on for hours, so its connection is worth nothing afterwards.
    response.force_close()
    task = asyncio.current_task()
    streams.add(task)
    try:
        await response.prepare(request)
        await _send(response, b"retry: 2000\n\n")
        while not closing.is_set():
            next_step = parts.broadcast.next()
            entries = await parts.store.journal(after=after, limit=_PAGE)
            if entries:
                after = entries[-1].id
                await _send(response, b"".join(map(_event, entries)))
            else:
                await _first(next_step, closing)
                if not next_step.is_set():
                    # Nothing was rung: a comment tells both ends that the connection still stands.
                    await _send(response, b":\n\n")
    except (ConnectionError, TimeoutError, StoreError):
        pass
    finally:
        streams.discard(task)
    return response


async def _first(next_step: asyncio.Event, closing: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in (next_step, closing)]
    try:
        await asyncio.wait(waiting, timeout=_POLL, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def _send(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(_WRITE_TIMEOUT):
        await response.write(data)


def _event(entry: Entry) -> bytes:
    data = msgspec.json.encode(entry_shape(entry))
    return b"id: %d\ndata: %s\n\n" % (entry.id, data)


def _after(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID") or request.query.get("after")
    if given is None:
        return None
    if not given.isascii() or not given.isdigit():
        raise PayloadError("bad_data", f"cannot stream events after {given[:40]!r}: it is not the id of an entry")
    return int(given)

"""The event stream: journal entries as server-sent events, in the order in which they were committed."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from remediator.errors import PayloadError, StoreError
from remediator.model.incident import Entry
from remediator.web.api.serialize import serialize_entry
from remediator.web.context import CLOSING, CONTEXT, STREAMS

_POLL = 5.0
"""Maximum seconds between two reads of the journal. A broadcast only makes the next one sooner."""
_WRITE_TIMEOUT = 20.0
_MOST_STREAMS = 200
_BATCH = 500


async def stream(request: web.Request) -> web.StreamResponse:
    """Stream the entries after `Last-Event-ID` (or `?after=`), or else only new ones.

    A client that cannot keep up is disconnected. It reconnects with the last id that it received.
    """
    context, closing, streams = request.app[CONTEXT], request.app[CLOSING], request.app[STREAMS]
    if len(streams) >= _MOST_STREAMS:
        raise web.HTTPServiceUnavailable(text=f"cannot stream events: {_MOST_STREAMS} clients do so already")
    after = _after(request)
    if after is None:
        after = await context.store.journal_end()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    # A stream lasts for hours, so its connection is useless afterwards.
    response.force_close()
    task = asyncio.current_task()
    streams.add(task)
    try:
        await response.prepare(request)
        await _send(response, b"retry: 2000\n\n")
        woken = asyncio.Event()
        with context.committed.following(woken.set):
            while not closing.is_set():
                woken.clear()
                entries = await context.store.journal(after=after, limit=_BATCH)
                if entries:
                    after = entries[-1].id
                    await _send(response, b"".join(map(_event, entries)))
                else:
                    await _first(woken, closing)
                    if not woken.is_set():
                        # Nothing was committed. A comment shows both ends that the connection is alive.
                        await _send(response, b":\n\n")
    except (ConnectionError, TimeoutError, StoreError):
        pass
    finally:
        streams.discard(task)
    return response


async def _first(woken: asyncio.Event, closing: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in (woken, closing)]
    try:
        await asyncio.wait(waiting, timeout=_POLL, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def _send(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(_WRITE_TIMEOUT):
        await response.write(data)


def _event(entry: Entry) -> bytes:
    data = msgspec.json.encode(serialize_entry(entry))
    return b"id: %d\ndata: %s\n\n" % (entry.id, data)


def _after(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID") or request.query.get("after")
    if given is None:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 18:
        raise PayloadError("bad_data", f"cannot stream events after {given[:40]!r}: it is not the id of an entry")
    return int(given)

"""`POST /webhook`: a notification is answered 200 when its alerts are committed, and not before.

A 503 asks the sender to send it again soon, which Alertmanager does. A 4xx means that another attempt cannot help. Each
request is counted by its result, and each refusal logged with its reason and its peer.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

from aiohttp import web

from remediator.errors import BusyError, PayloadError, StoreError
from remediator.web.context import CONTEXT
from remediator.web.forwarded import client_address
from remediator.web.paths import PATHS
from remediator.web.request_body import read_body
from remediator.web.responses import failure, success
from remediator.web.threads import in_thread
from remediator.web.webhook_payload import decode_notification

log = logging.getLogger(__name__)

_MOST_RECORDED = 1000
_recorded: web.AppKey[dict[str, None]] = web.AppKey("recorded", dict)
"""The sentences about unreadable alerts that are already in the journal: senders repeat a group."""

_INLINE = 64 * 1024
"""Bodies longer than this are decoded in a thread."""


async def receive(request: web.Request) -> web.Response:
    """Take in one notification."""
    context = request.app[CONTEXT]
    metrics = context.metrics
    try:
        with context.body_budget.reserved() as take:
            body = await read_body(request, context.body_limit, context.body_timeout, take)
            now = context.clock.now()
            if len(body) <= _INLINE:
                notification = decode_notification(body, now)
            else:
                notification = await in_thread(decode_notification, body, now)
            accepted = await context.intake(notification)
            await _record_unreadable(request, notification.unreadable, notification.receiver)
    except PayloadError as error:
        metrics.notifications.labels(error.reason).inc()
        log.warning("refused a notification from %s (%s): %s", client_address(request), error.reason, error)
        with contextlib.suppress(StoreError):
            await _record_unreadable(request, error.unreadable, "")
        if error.status != 408:
            return failure(error.status, error.reason, str(error))
        # Alertmanager sends again soon only after 5xx. A body that was slow once may be quick the next time.
        response = failure(503, error.reason, str(error))
        response.headers["Retry-After"] = "1"
        return response
    except (BusyError, StoreError) as error:
        metrics.notifications.labels("unavailable").inc()
        log.error("cannot take in a notification from %s: %s", client_address(request), error)
        response = failure(503, "unavailable", str(error))
        response.headers["Retry-After"] = "1"
        return response
    except ConnectionError:
        metrics.notifications.labels("disconnected").inc()
        log.info("a notification from %s broke off: the client went away", client_address(request))
        raise
    metrics.notifications.labels("accepted").inc()
    metrics.truncated.inc(notification.truncated)
    return success({"new": accepted.new, "repeated": accepted.repeated, "resolved": accepted.resolved})


def add_webhook(app: web.Application) -> None:
    """Give an application the receiver."""
    app[_recorded] = {}
    app.router.add_post(f"{app[PATHS].prefix}/webhook", receive, name="webhook")


async def _record_unreadable(request: web.Request, unreadable: Sequence[str], receiver: str) -> None:
    """Count the alerts that were not taken in, and write each to the journal once."""
    if not unreadable:
        return
    context, recorded = request.app[CONTEXT], request.app[_recorded]
    context.metrics.unreadable.inc(len(unreadable))
    new = [text for text in dict.fromkeys(unreadable) if text not in recorded]
    for text in new:
        log.warning("an alert of a notification from %s was not taken: %s", client_address(request), text)
    if new:
        await context.store.record_unreadable(new, receiver, context.clock.now())
    recorded.update(dict.fromkeys(new))
    while len(recorded) > _MOST_RECORDED:
        del recorded[next(iter(recorded))]

"""`POST /webhook`: a notification is answered 200 when its alerts are committed, and not before.

503 says "send it again soon", which Alertmanager does; 4xx says that sending it again cannot help. Each request is
counted by its result, and each refusal logged with its reason and its peer.
"""

from __future__ import annotations

import logging

from aiohttp import web

from remediator.errors import BusyError, PayloadError, StoreError
from remediator.web.context import CONTEXT
from remediator.web.request_body import read_body
from remediator.web.responses import failure, success
from remediator.web.threads import in_thread
from remediator.web.webhook_payload import decode_notification

log = logging.getLogger(__name__)

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
    except PayloadError as error:
        metrics.notifications.labels(error.reason).inc()
        log.warning("refused a notification from %s (%s): %s", request.remote, error.reason, error)
        return failure(error.status, error.reason, str(error))
    except (BusyError, StoreError) as error:
        metrics.notifications.labels("unavailable").inc()
        log.error("cannot take in a notification from %s: %s", request.remote, error)
        response = failure(503, "unavailable", str(error))
        response.headers["Retry-After"] = "1"
        return response
    except ConnectionError:
        metrics.notifications.labels("disconnected").inc()
        log.info("a notification from %s broke off: the client went away", request.remote)
        raise
    metrics.notifications.labels("accepted").inc()
    metrics.truncated.inc(notification.truncated)
    return success({"new": accepted.new, "repeated": accepted.repeated, "resolved": accepted.resolved})

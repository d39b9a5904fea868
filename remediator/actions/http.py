"""Sends one HTTP request and returns its result. It follows no redirect and verifies certificates."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import aiohttp

from remediator.model.action import Call, HttpSpec, Outcome, Result
from remediator.model.durations import format_duration
from remediator.model.shown_url import shown_url

OUTPUT_LIMIT = 8192
"""How many bytes of a response's body are kept, from its beginning."""


def http_session() -> aiohttp.ClientSession:
    """A session for `run_http`, without cookies and kept connections: a request on a kept connection may be sent twice."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
    )


async def run_http(session: aiohttp.ClientSession, call: Call) -> Result:
    """Send `call.http`; failures of the server are results, not exceptions."""
    spec = call.http or HttpSpec(url="")
    try:
        async with (
            asyncio.timeout(call.timeout),
            session.request(
                spec.method,
                spec.url,
                headers=spec.headers,
                data=spec.body.encode() if spec.body else None,
                allow_redirects=False,
            ) as answer,
        ):
            output = (await _beginning(answer)).decode(errors="replace").replace("\0", "\ufffd")
    except TimeoutError:
        return Result(Outcome.TIMED_OUT, f"no answer within {format_duration(call.timeout)}")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        reason = (str(error) or type(error).__name__).replace(spec.url, shown_url(spec.url))
        return Result(Outcome.FAILED, f"cannot send the request: {reason}")
    expected = answer.status in spec.expect if spec.expect else 200 <= answer.status < 300
    outcome = Outcome.SUCCEEDED if expected else Outcome.FAILED
    return Result(outcome, f"answered {status_text(answer.status)}", None, output)


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    body = b""
    while len(body) < OUTPUT_LIMIT and (chunk := await answer.content.read(OUTPUT_LIMIT - len(body))):
        body += chunk
    return body


def status_text(code: int) -> str:
    """A status with its phrase, as `404 Not Found`."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)

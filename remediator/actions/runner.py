"""Runs any call, with what calls share: the watchdog of the commands and the session of the HTTP requests."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp

from remediator.actions.command import run_command
from remediator.actions.http import http_session, run_http
from remediator.actions.supervisor import Supervisor
from remediator.model.action import Call, Outcome, Result


class Runner:
    """The real `Run`. What it shares comes into being at the first use and goes with `close`.

    `allowed` is asked right before each call: a process that was stopped in between may have no right to it any more.
    """

    def __init__(self, allowed: Callable[[], bool] = lambda: True) -> None:
        self._allowed = allowed
        self._supervisor = Supervisor()
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, call: Call) -> Result:
        if not self._allowed():
            return Result(Outcome.UNKNOWN, "was not started, as this process leads no more")
        if call.http is None:
            return await run_command(call, self._supervisor)
        if self._session is None:
            self._session = http_session()
        return await run_http(self._session, call)

    async def close(self) -> None:
        """Let go of everything; commands that still run are ended."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self._supervisor.close()

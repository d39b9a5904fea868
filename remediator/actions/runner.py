"""Runs any call, and owns what calls share: the watchdog of commands and the session of HTTP requests."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp

from remediator.actions.command import run_command
from remediator.actions.http import http_session, run_http
from remediator.actions.supervisor import Supervisor
from remediator.model.action import Call, Outcome, Result


class Runner:
    """The real `Run`. Creates what calls share at first use; `close` releases it.

    `allowed` is asked before each call, because a process that was suspended may no longer lead.
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
        """Release everything. Commands that still run are ended."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self._supervisor.close()

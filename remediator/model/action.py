"""Hands: what can be done to the outside world, and what came of it.

An `ActionSpec` is what an author wrote; rendering it gives a `Call`, with nothing left to substitute; running a call
gives a `Result`. `command` runs argv lists and shell text, `http` sends requests. Neither knows of services or
incidents.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """How a step run ended. None of these says that the service is healthy: that is verified by observation."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"
    """Rendering gave something unsafe or incomplete: nothing was run."""
    SKIPPED = "skipped"
    """There was nothing to do, such as a scale at its limit: nothing was run."""
    UNKNOWN = "unknown"
    """It was running when its owner died: it may or may not have taken effect."""

    @property
    def ran(self) -> bool:
        """Whether a command was started, so that it counts against budgets and is worth verifying."""
        return self not in (Outcome.REFUSED, Outcome.SKIPPED)


class HttpSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request as written: every text is a template."""

    url: str
    method: str = "POST"
    headers: dict[str, str] = {}
    body: str = ""
    expect: tuple[int, ...] = ()
    """The status codes that mean success; none given means 200 to 299."""


TIMEOUT = 60.0
"""Seconds that an action may take which names no timeout."""


class ActionSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """One action as written: exactly one of `run` (argv), `shell` and `http`, all of them templates."""

    run: tuple[str, ...] | None = None
    shell: str | None = None
    http: HttpSpec | None = None
    timeout: float | None = None
    env: dict[str, str] = {}
    undo: str = ""
    """The action that takes this one back: it is run once the service has recovered."""


class Call(msgspec.Struct, frozen=True):
    """Something ready to run: argv (of a command, or of `sh -c` for shell text), or an HTTP request.

    `timeout` is in seconds. `env` is the whole environment of the command but for PATH, HOME and LANG.
    """

    argv: tuple[str, ...] = ()
    http: HttpSpec | None = None
    timeout: float = TIMEOUT
    env: dict[str, str] = {}

    def __str__(self) -> str:
        if self.http is not None:
            return f"{self.http.method} {self.http.url}"
        import shlex

        return shlex.join(self.argv)


class Result(msgspec.Struct, frozen=True):
    """What came of a call. `text` is a sentence, `output` the last 8 KiB of what it printed (stdout and stderr)."""

    outcome: Outcome
    text: str
    exit_code: int | None = None
    output: str = ""


Run = Callable[[Call], Awaitable[Result]]
"""Runs a call to its end; never raises for what the call does. Rehearsals put their own in its place."""

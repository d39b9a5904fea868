"""What can be done to the outside world, and its result.

An `ActionSpec` is what an author wrote. Rendering it gives a `Call`, with nothing left to substitute. Running a call
gives a `Result`. Nothing here knows of services or incidents.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from remediator.model.field_types import (
    ArgumentTemplate,
    Name,
    PositiveDuration,
    ShellTemplate,
    TextTemplate,
    UrlTemplate,
)
from remediator.model.shown_url import shown_url


class Outcome(StrEnum):
    """How a step run ended. None of these says that the service is healthy: observation verifies that."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"
    """Rendering gave something unsafe or incomplete. Nothing was run."""
    SKIPPED = "skipped"
    """There was nothing to do, as with a scale at its limit. Nothing was run."""
    UNKNOWN = "unknown"
    """It was running when its owner died. It may or may not have taken effect."""

    NOT_STARTED = "not_started"
    """The machine had no process, descriptor or memory to spare for it, or it took too long to record its start. Nothing
    was run; it is tried again."""

    @property
    def ran(self) -> bool:
        """Whether a command was started, so that it counts against budgets and is worth verifying."""
        return self not in (Outcome.REFUSED, Outcome.SKIPPED, Outcome.NOT_STARTED)


class HttpSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request to send. Every text is a template."""

    schema_name: ClassVar[str] = "HttpDoc"
    url: Annotated[UrlTemplate, Meta(description="Where to send it.")]
    method: Annotated[Name, Meta(description="POST unless given.")] = "POST"
    headers: Annotated[dict[str, TextTemplate], Meta(description="Headers to send.")] = {}
    body: Annotated[TextTemplate, Meta(description="What to send.")] = ""
    expect: Annotated[
        tuple[int, ...], Meta(description="Status codes that mean success; 200 to 299 unless given.")
    ] = ()


TIMEOUT = 60.0
"""Seconds that an action without a timeout may take."""


class ActionSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to run: exactly one of run, shell and http."""

    schema_name: ClassVar[str] = "ActionDoc"
    hints: ClassVar[dict[str, str]] = {
        "command": "write run: with a list, or shell: with a text",
        "cmd": "write run: with a list, or shell: with a text",
        "exec": "write run: with a list, or shell: with a text",
    }
    run: Annotated[
        tuple[ArgumentTemplate, ...] | None,
        Meta(description="A command as a list of arguments. Each template is exactly one argument; there is no shell."),
    ] = None
    shell: Annotated[
        ShellTemplate | None, Meta(description="Text for sh -c. Every {{ }} is quoted as one word by itself.")
    ] = None
    http: HttpSpec | None = None
    timeout: Annotated[PositiveDuration | None, Meta(description="When to end it, if it has not ended.")] = None
    env: Annotated[dict[str, TextTemplate], Meta(description="Environment variables for the command.")] = {}
    undo: Annotated[
        Name | None, Meta(description="The action that takes this one back, run once the service has recovered.")
    ] = None
    title: Annotated[
        TextTemplate, Meta(description="What it does, in words that begin with a verb: 'restart {{ unit }} (systemd)'.")
    ] = ""


class Call(msgspec.Struct, frozen=True):
    """Something ready to run: argv (of a command, or of `sh -c` for shell text), or an HTTP request.

    `timeout` is in seconds. `env` is the command's whole environment besides PATH, HOME and LANG.
    """

    argv: tuple[str, ...] = ()
    http: HttpSpec | None = None
    timeout: float = TIMEOUT
    env: dict[str, str] = {}
    probe: bool = False
    """Whether it only asks if the target can be reached."""

    def __str__(self) -> str:
        """The call as it is typed: shell text by itself, and quoted once where ssh hands it on."""
        if self.http is not None:
            return f"{self.http.method} {shown_url(self.http.url)}"
        import shlex

        if len(self.argv) == 3 and self.argv[:2] == ("sh", "-c"):
            return self.argv[2].strip()
        if self.argv[:1] == ("ssh",) and "--" in self.argv[-3:]:
            return f"{shlex.join(self.argv[:-1])} {self.argv[-1]}"
        return shlex.join(self.argv)


class Result(msgspec.Struct, frozen=True):
    """The result of a call. `text` is a sentence, `output` the last 8 KiB that it printed (stdout and stderr)."""

    outcome: Outcome
    text: str
    exit_code: int | None = None
    output: str = ""


Run = Callable[[Call], Awaitable[Result]]
"""Runs a call to its end. It never raises for what the call does."""

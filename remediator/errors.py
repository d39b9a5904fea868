"""The exceptions that the package raises on purpose, as one tree. Each message is a sentence a person can act on.

RemediatorError
 ├── ConfigError        a config, rule or web file cannot be used; carries problems with positions
 ├── TemplateError      a template cannot be compiled
 ├── RefusedError       a template rendered to something unsafe, or to nothing: the step is refused
 ├── PayloadError       a notification that can never be accepted (HTTP 4xx)
 ├── BusyError          too much is being done already; later there is room (HTTP 503)
 ├── StoreError         the store cannot be opened, read or written
 │    ├── ConflictError an invariant of the store forbids the write (already open, already answered, ...)
 │    ├── UnavailableError  it cannot be reached or has no space at present
 │    └── FencedError   a write that only the leader may make, and this process does not lead
 ├── LeaseError         another process holds the store
 └── RemoteError        Prometheus, Alertmanager or Grafana did not do what was asked
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from remediator.problem import Problem


class RemediatorError(Exception):
    """A failure with a message made for people ("cannot …: …")."""


class ConfigError(RemediatorError):
    """A file cannot be used. `problems` holds every one found, in file order; the message shows them all."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.render() for problem in self.problems))


class TemplateError(RemediatorError):
    """A template's text is wrong. `offset` is the index of the wrong character, or None."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        self.offset = offset
        super().__init__(message)


class RefusedError(RemediatorError):
    """Rendering would produce something unsafe or incomplete, so nothing is run."""


class PayloadError(RemediatorError):
    """A request body that can never be accepted. `reason` is a short word for metrics. `unreadable` has a sentence for
    each alert in it, if none of them can be read."""

    def __init__(self, reason: str, message: str, status: int = 400, unreadable: tuple[str, ...] = ()) -> None:
        self.reason = reason
        self.status = status
        self.unreadable = unreadable
        super().__init__(message)


class BusyError(RemediatorError):
    """Too much is under way already. A repetition later helps."""


class StoreError(RemediatorError):
    """The store cannot be opened, read or written. A repetition later may help."""


class ConflictError(StoreError):
    """The write contradicts the stored data. A repetition does not help."""


class UnavailableError(StoreError):
    """The store cannot be reached, or has no space. That may pass by itself."""


class FencedError(StoreError):
    """Only the leader may write this, and this process does not lead."""


class LeaseError(RemediatorError):
    """Another process leads; the message names it."""


class RemoteError(RemediatorError):
    """Another system refused a request or cannot be reached. `retry` tells whether a repetition may help."""

    def __init__(self, message: str, *, retry: bool, status: int | None = None) -> None:
        self.retry = retry
        self.status = status
        super().__init__(message)

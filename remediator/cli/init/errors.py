"""The error that ends `remediator init`."""

from __future__ import annotations

from remediator.errors import RemediatorError


class DraftError(RemediatorError):
    """No rules can be drafted, or the files cannot be written. The message says what to do."""

"""The error that ends `remediator init`."""

from __future__ import annotations

from remediator.errors import RemediatorError


class DraftError(RemediatorError):
    """There is nothing to draft rules from, or no place for them; the message says what to do."""

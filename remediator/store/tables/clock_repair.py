"""Repairs times of past events that lie in the future after the clock was set back."""

from __future__ import annotations

from remediator.store.database import Database

_RUNS = """
    UPDATE step_runs SET deadline = deadline - (started_at - :now), started_at = :now,
        ended_at = CASE WHEN ended_at > :now THEN :now ELSE ended_at END
    WHERE started_at > :now
"""
_ENDED_RUNS = "UPDATE step_runs SET ended_at = :now WHERE ended_at > :now AND started_at > :now - 86400"
_OPEN = "UPDATE incidents SET opened_at = :now WHERE closed_at IS NULL AND opened_at > :now"
_CLOSED = """
    UPDATE incidents SET closed_at = :now, opened_at = CASE WHEN opened_at > :now THEN :now ELSE opened_at END
    WHERE closed_at > :now
"""
_FIRING = """
    UPDATE alerts SET updated_at = :now, received_at = CASE WHEN received_at > :now THEN :now ELSE received_at END
    WHERE firing = 1 AND updated_at > :now
"""
_RESOLVED = """
    UPDATE alerts SET updated_at = :now, received_at = CASE WHEN received_at > :now THEN :now ELSE received_at END
    WHERE firing = 0 AND updated_at > :now
"""


def repair_clock(db: Database, now: float) -> int:
    """Move such times to `now`. Returns the number of changed rows."""
    statements = (_RUNS, _ENDED_RUNS, _OPEN, _CLOSED, _FIRING, _RESOLVED)
    return sum(db.execute(statement, {"now": now}).rowcount for statement in statements)

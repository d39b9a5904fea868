"""Retention: deletes old rows, in steps so small that other writes need not wait.

Incidents are deleted before the journal, so that the entries of a kept incident are kept with it.
"""

from __future__ import annotations

from remediator.store.database import Database

STEP = 500
"""Maximum number of incidents, alerts, pauses or entries that one step deletes."""

_OLD_INCIDENTS = """
    SELECT id FROM incidents WHERE closed_at IS NOT NULL AND closed_at < ? ORDER BY closed_at LIMIT ?
"""
_FORGET_RUN_ANNOTATION = """
    DELETE FROM annotations WHERE key IN (SELECT 'run:' || id FROM step_runs WHERE incident = ?)
"""
_FORGET_INCIDENT_ANNOTATION = "DELETE FROM annotations WHERE key = 'incident:' || ?"
_FORGET_RUNS = "DELETE FROM step_runs WHERE incident = ?"
_FORGET_INCIDENT = "DELETE FROM incidents WHERE id = ?"

_FORGET_ALERTS = """
    DELETE FROM alerts WHERE seq IN
        (SELECT seq FROM alerts WHERE firing = 0 AND updated_at < ? ORDER BY updated_at LIMIT ?)
"""
_FORGET_PAUSES = """
    DELETE FROM pauses WHERE id IN (SELECT id FROM pauses WHERE ends_at < ? ORDER BY ends_at LIMIT ?)
"""
_FORGET_ENTRIES = """
    DELETE FROM journal WHERE id IN (
        SELECT id FROM journal
        WHERE at < ? AND NOT EXISTS (SELECT 1 FROM incidents WHERE incidents.id = journal.incident)
        ORDER BY at LIMIT ?
    )
"""


def forget_incidents(db: Database, before: float) -> int:
    """Delete one step of incidents that closed before this time, with their dependent rows. Returns the number of
    rows."""
    deleted = 0
    for (incident,) in db.execute(_OLD_INCIDENTS, (before, STEP)).fetchall():
        for statement in (_FORGET_RUN_ANNOTATION, _FORGET_INCIDENT_ANNOTATION, _FORGET_RUNS, _FORGET_INCIDENT):
            deleted += db.execute(statement, (incident,)).rowcount
    return deleted


def forget_alerts(db: Database, before: float) -> int:
    """Delete one step of alerts that were resolved before this time. Returns the number of rows."""
    return db.execute(_FORGET_ALERTS, (before, STEP)).rowcount


def forget_pauses(db: Database, before: float) -> int:
    """Delete one step of pauses that ended before this time. Returns the number of rows."""
    return db.execute(_FORGET_PAUSES, (before, STEP)).rowcount


def forget_entries(db: Database, before: float) -> int:
    """Delete one step of journal entries older than this time. Returns the number of rows."""
    return db.execute(_FORGET_ENTRIES, (before, STEP)).rowcount


IN_ORDER = (forget_incidents, forget_alerts, forget_pauses, forget_entries)

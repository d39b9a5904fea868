"""The journal: writing an entry beside each change, reading entries, and the cursors of its followers. `Store` says
what each function promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from remediator.model.incident import Entry, EntryKind
from remediator.store.database import Database, Row
from remediator.store.tables.columns import encode, few, has_nul, many

TOP = 2**63 - 1
"""A number above every row number: the start of a page in descending order."""

_NOTE = "INSERT INTO journal (at, kind, text, service, incident, run, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
_NOTE_MANY = """
    INSERT INTO journal (at, kind, text, service, incident, run, data)
    SELECT :at, value ->> 0, value ->> 1, value ->> 2, CAST(value ->> 3 AS BIGINT), NULL, value ->> 4
    FROM json_each(:entries) ORDER BY CAST(key AS BIGINT)
"""
_ENTRIES = "SELECT * FROM journal WHERE id > ? ORDER BY id LIMIT ?"
_ENTRIES_OF_SERVICE = "SELECT * FROM journal WHERE service = ? AND id > ? ORDER BY id LIMIT ?"
_ENTRIES_OF_INCIDENT = "SELECT * FROM journal WHERE incident = ? AND id > ? ORDER BY id LIMIT ?"
_RECENT = "SELECT * FROM journal WHERE id < ? ORDER BY id DESC LIMIT ?"
_RECENT_OF_SERVICE = "SELECT * FROM journal WHERE service = ? AND id < ? ORDER BY id DESC LIMIT ?"
_END = "SELECT coalesce(max(id), 0) FROM journal"

_CURSOR = "SELECT entry FROM cursors WHERE name = ?"
_MOVE_CURSOR = """
    INSERT INTO cursors (name, entry) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET entry = excluded.entry
"""
_ANNOTATION = "SELECT annotation FROM annotations WHERE key = ?"
_PUT_ANNOTATION = """
    INSERT INTO annotations (key, annotation) VALUES (?, ?)
    ON CONFLICT (key) DO UPDATE SET annotation = excluded.annotation
"""

_decode_data = msgspec.json.Decoder(dict[str, Any]).decode


def write_entry(
    db: Database,
    at: float,
    kind: EntryKind,
    text: str,
    data: dict[str, Any],
    service: str = "",
    incident: int | None = None,
    run: int | None = None,
) -> None:
    """Write an entry, in the transaction of the change that it describes."""
    db.execute(_NOTE, (at, kind, text, service, incident, run, encode(data)))


class NewEntry(NamedTuple):
    """What an entry of an incident is to say."""

    kind: EntryKind
    text: str
    service: str
    incident: int
    data: dict[str, Any]


def write_entries(db: Database, at: float, entries: Sequence[NewEntry]) -> None:
    """Write entries in this order, in the transaction of what they tell."""
    if few(entries) or has_nul(text for entry in entries for text in (entry.text, entry.service)):
        for entry in entries:
            write_entry(db, at, entry.kind, entry.text, entry.data, entry.service, entry.incident)
    else:
        # The time is no part of the JSON, since only Python reads a float back exactly as it wrote it.
        db.execute(_NOTE_MANY, {"at": at, "entries": many([(*entry[:4], encode(entry.data)) for entry in entries])})


def record_unreadable(db: Database, texts: Sequence[str], receiver: str, now: float) -> None:
    for text in texts:
        write_entry(db, now, EntryKind.ALERT_REFUSED, text, {"receiver": receiver})


def with_comment(comment: str) -> str:
    """An operator's comment, as the end of a sentence."""
    return f": {comment}" if comment else ""


def entries(db: Database, after: int, service: str, incident: int | None, limit: int) -> list[Entry]:
    if incident is not None:
        rows = db.execute(_ENTRIES_OF_INCIDENT, (incident, after, limit))
    elif service:
        rows = db.execute(_ENTRIES_OF_SERVICE, (service, after, limit))
    else:
        rows = db.execute(_ENTRIES, (after, limit))
    # An incident has one service. If another service is asked for, there are no entries.
    return [_entry(row) for row in rows if not service or row["service"] == service]


def recent_entries(db: Database, service: str, before: int | None, limit: int) -> list[Entry]:
    below = TOP if before is None else before
    if service:
        rows = db.execute(_RECENT_OF_SERVICE, (service, below, limit))
    else:
        rows = db.execute(_RECENT, (below, limit))
    return [_entry(row) for row in rows]


def end(db: Database) -> int:
    newest: int = db.execute(_END).fetchone()[0]
    return newest


def cursor(db: Database, name: str) -> int | None:
    row = db.execute(_CURSOR, (name,)).fetchone()
    return None if row is None else row["entry"]


def move_cursor(db: Database, name: str, entry: int) -> None:
    db.execute(_MOVE_CURSOR, (name, entry))


def annotation(db: Database, key: str) -> int | None:
    row = db.execute(_ANNOTATION, (key,)).fetchone()
    return None if row is None else row["annotation"]


def put_annotation(db: Database, key: str, annotation: int, cursor: str, entry: int) -> None:
    db.execute(_PUT_ANNOTATION, (key, annotation))
    move_cursor(db, cursor, entry)


def _entry(row: Row) -> Entry:
    return Entry(
        id=row["id"],
        at=row["at"],
        kind=EntryKind(row["kind"]),
        text=row["text"],
        service=row["service"],
        incident=row["incident"],
        run=row["run"],
        data=_decode_data(row["data"]),
    )

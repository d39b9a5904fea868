"""Pauses and services that operators add and remove at run time, each journalled with author and comment. `Store` says
what each function promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from remediator.errors import ConflictError
from remediator.model.clock import rfc3339
from remediator.model.incident import EntryKind, Pause
from remediator.model.matcher import Matcher
from remediator.model.rules import Service
from remediator.store.database import Database, Row
from remediator.store.tables.columns import encode
from remediator.store.tables.journal import with_comment, write_entry

_ADD_PAUSE = """
    INSERT INTO pauses (matchers, starts_at, ends_at, author, comment) VALUES (?, ?, ?, ?, ?) RETURNING *
"""
_END_PAUSE = "UPDATE pauses SET ends_at = ?1 WHERE id = ?2 AND ends_at > ?1 RETURNING *"
_PAUSES = "SELECT * FROM pauses WHERE ends_at > ? ORDER BY id"

_ADD_SERVICE = "INSERT INTO services (name, service, author, added_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_REMOVE_SERVICE = "DELETE FROM services WHERE name = ?"
_SERVICES = "SELECT service FROM services ORDER BY name"

_decode_matchers = msgspec.json.Decoder(tuple[Matcher, ...]).decode
_decode_service = msgspec.json.Decoder(Service).decode


def add_pause(
    db: Database, matchers: Sequence[Matcher], starts_at: float, ends_at: float, author: str, comment: str
) -> Pause:
    row = db.execute(_ADD_PAUSE, (encode(tuple(matchers)), starts_at, ends_at, author, comment)).fetchone()
    added = _pause(row)
    text = f"{author} paused healing of {_whom(added)} until {rfc3339(ends_at)}{with_comment(comment)}"
    write_entry(db, starts_at, EntryKind.PAUSED, text, _pause_data(added))
    return added


def end_pause(db: Database, id: int, author: str, now: float) -> Pause:
    row = db.execute(_END_PAUSE, (now, id)).fetchone()
    if row is None:
        raise ConflictError(f"cannot end pause {id}: it has ended already, or never was")
    ended = _pause(row)
    text = f"{author} resumed healing of {_whom(ended)}"
    write_entry(db, now, EntryKind.RESUMED, text, {**_pause_data(ended), "author": author})
    return ended


def pauses(db: Database, now: float) -> list[Pause]:
    return [_pause(row) for row in db.execute(_PAUSES, (now,))]


def add_service(db: Database, service: Service, author: str, now: float) -> None:
    if db.execute(_ADD_SERVICE, (service.name, encode(service), author, now)).rowcount == 0:
        raise ConflictError(f"cannot add the service {service.name}: there is one of this name")
    text = f"{author} added the service {service.name}"
    write_entry(db, now, EntryKind.SERVICE_ADDED, text, {"author": author}, service.name)


def remove_service(db: Database, name: str, author: str, now: float) -> None:
    if db.execute(_REMOVE_SERVICE, (name,)).rowcount == 0:
        raise ConflictError(f"cannot remove the service {name}: none of this name was added at run time")
    write_entry(db, now, EntryKind.SERVICE_REMOVED, f"{author} removed the service {name}", {"author": author}, name)


def added_services(db: Database) -> list[Service]:
    return [_decode_service(row["service"]) for row in db.execute(_SERVICES)]


def _pause(row: Row) -> Pause:
    return Pause(
        id=row["id"],
        matchers=_decode_matchers(row["matchers"]),
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        author=row["author"],
        comment=row["comment"],
    )


def _pause_data(pause: Pause) -> dict[str, Any]:
    return {
        "pause": pause.id,
        "matchers": ", ".join(map(str, pause.matchers)),
        "ends_at": pause.ends_at,
        "author": pause.author,
        "comment": pause.comment,
    }


def _whom(pause: Pause) -> str:
    return ", ".join(map(str, pause.matchers)) or "every service"

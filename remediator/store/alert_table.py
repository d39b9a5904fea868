"""Alerts: taking them in by identity, settling what became of them, and reading them.

Many are written by one statement that reads them from JSON: SQLite then works on all of them at a stretch, where a
statement for each would hand Python's interpreter lock back and forth as often. An alert's identity is a text (a JSON
array), because only Python reads a float back exactly as it wrote it. What each function promises is said in `Store`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from remediator.alert import Alert, Source
from remediator.incident import Disposition, Settlement, StoredAlert
from remediator.store import Accepted
from remediator.store.columns import encode, many
from remediator.store.database import Database, Row
from remediator.store.journal_table import TOP

_TAKE_NUMBERS = "UPDATE counters SET value = value + ? WHERE name = 'alerts' RETURNING value"
_PUT = """
    INSERT INTO alerts (seq, key, firing, alert, received_at, updated_at, disposition, text)
    SELECT :first + CAST(key AS BIGINT), value ->> 0, CAST(value ->> 1 AS BIGINT), value ->> 2, :now, :now,
        CASE WHEN CAST(value ->> 1 AS BIGINT) = 0 THEN 'resolved' END,
        CASE WHEN CAST(value ->> 1 AS BIGINT) = 0 THEN 'was over when it was first heard of' ELSE '' END
    FROM json_each(:alerts) WHERE true
    ON CONFLICT (key) DO UPDATE SET
        seq = CASE WHEN alerts.firing = excluded.firing THEN alerts.seq ELSE excluded.seq END,
        received_at = CASE WHEN alerts.firing < excluded.firing THEN excluded.received_at ELSE alerts.received_at END,
        disposition = CASE WHEN alerts.firing < excluded.firing THEN NULL ELSE alerts.disposition END,
        gate = CASE WHEN alerts.firing < excluded.firing THEN '' ELSE alerts.gate END,
        text = CASE WHEN alerts.firing < excluded.firing THEN '' ELSE alerts.text END,
        incident = CASE WHEN alerts.firing < excluded.firing THEN NULL ELSE alerts.incident END,
        firing = excluded.firing,
        alert = excluded.alert,
        updated_at = excluded.updated_at
"""
_COUNT_CHANGED = "SELECT count(*), CAST(coalesce(sum(firing), 0) AS BIGINT) FROM alerts WHERE seq >= ?"

_FIRING_OF = """
    SELECT alerts.alert FROM json_each(?) AS new CROSS JOIN alerts
    WHERE alerts.firing = 1 AND alerts.key > new.value ->> 0 AND alerts.key < new.value ->> 1
        AND alerts.key <> new.value ->> 2
"""

_JOURNAL_SETTLED = """
    INSERT INTO journal (at, kind, text, service, incident, run, data)
    SELECT :now, 'alert_settled', new.value ->> 2, new.value ->> 3, CAST(new.value ->> 5 AS BIGINT), NULL, new.value ->> 6
    FROM json_each(:settlements) AS new CROSS JOIN alerts
    WHERE alerts.key = new.value ->> 0
        AND (coalesce(alerts.disposition, '') <> new.value ->> 1 OR alerts.gate <> new.value ->> 4)
    ORDER BY CAST(new.key AS BIGINT)
"""
_SETTLE = """
    UPDATE alerts SET disposition = ?2, text = ?3, service = ?4, gate = ?5,
        incident = CASE WHEN ?2 = 'resolved' THEN coalesce(?6, incident) ELSE ?6 END
    WHERE key = ?1
"""
_SETTLE_MANY = """
    UPDATE alerts SET
        disposition = new.value ->> 1,
        text = new.value ->> 2,
        service = new.value ->> 3,
        gate = new.value ->> 4,
        incident = CASE WHEN new.value ->> 1 = 'resolved'
            THEN coalesce(CAST(new.value ->> 5 AS BIGINT), alerts.incident) ELSE CAST(new.value ->> 5 AS BIGINT) END
    FROM json_each(?) AS new
    WHERE alerts.key = new.value ->> 0
"""
_FEW = 8
"""Up to so many alerts are settled one by one, which is quicker for them."""

_UNTOLD = (Disposition.OPENED, Disposition.JOINED, Disposition.RESOLVED)
"""What the journal does not tell of an alert by itself: its incident does, or there is nothing to tell."""

_SINCE = "SELECT * FROM alerts WHERE seq > ? ORDER BY seq LIMIT ?"
_FIRING = "SELECT * FROM alerts WHERE firing = 1 ORDER BY seq"
_PAGE = "SELECT * FROM alerts WHERE seq < ? ORDER BY seq DESC LIMIT ?"
_PAGE_OF_SERVICE = "SELECT * FROM alerts WHERE service = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
_PAGE_FIRING = "SELECT * FROM alerts WHERE firing = 1 AND seq < ? ORDER BY seq DESC LIMIT ?"
_PAGE_FIRING_OF_SERVICE = "SELECT * FROM alerts WHERE firing = 1 AND service = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
_OF_FINGERPRINT = "SELECT * FROM alerts WHERE key > ? AND key < ?"

_decode_alert = msgspec.json.Decoder(Alert).decode


def put(db: Database, alerts: Sequence[Alert], now: float) -> Accepted:
    if not alerts:
        return Accepted()
    # Of one alert that comes twice the last word counts.
    latest = {_key(alert.key): alert for alert in alerts}
    first: int = db.execute(_TAKE_NUMBERS, (len(latest),)).fetchone()[0] - len(latest) + 1
    _write(db, latest, first, now)
    changed, new = db.execute(_COUNT_CHANGED, (first,)).fetchone()
    if over := _begun_anew(db, latest):
        _write(db, over, db.execute(_TAKE_NUMBERS, (len(over),)).fetchone()[0] - len(over) + 1, now)
    return Accepted(new=new, repeated=len(alerts) - changed, resolved=changed - new)


def _write(db: Database, alerts: dict[str, Alert], first: int, now: float) -> None:
    rows = many([(key, int(alert.firing), encode(alert)) for key, alert in alerts.items()])
    db.execute(_PUT, {"first": first, "now": now, "alerts": rows})


def _begun_anew(db: Database, alerts: dict[str, Alert]) -> dict[str, Alert]:
    """The alerts of Alertmanager's that are over because they have begun anew: of the same labels only one can fire. When
    one ends and begins again between two notifications, Alertmanager tells of the new one and never of the end."""
    firing = {key: alert for key, alert in alerts.items() if alert.firing and alert.source is Source.ALERTMANAGER}
    of_fingerprint: dict[str, dict[str, Alert]] = {}
    for key, alert in firing.items():
        of_fingerprint.setdefault(alert.fingerprint, {})[key] = alert
    bounds = [(*_bounds(alert.fingerprint), key) for key, alert in firing.items()]
    for row in db.execute(_FIRING_OF, (many(bounds),)) if bounds else ():
        other = _decode_alert(row["alert"])
        if other.source is Source.ALERTMANAGER:
            of_fingerprint[other.fingerprint][_key(other.key)] = other
    over: dict[str, Alert] = {}
    for same in of_fingerprint.values():
        if len(same) > 1:
            *earlier, last = sorted(same.values(), key=lambda alert: alert.starts_at)
            over |= {_key(alert.key): msgspec.structs.replace(alert, ends_at=last.starts_at) for alert in earlier}
    return over


def settle(db: Database, settlements: Sequence[Settlement], now: float) -> None:
    rows, told = [], []
    for settlement in settlements:
        row = (
            _key(settlement.key),
            settlement.disposition,
            _without_nul(settlement.text),
            _without_nul(settlement.service),
            settlement.gate,
            settlement.incident,
        )
        rows.append(row)
        if settlement.disposition not in _UNTOLD:
            data = {
                "fingerprint": settlement.key[0],
                "disposition": settlement.disposition,
                "gate": settlement.gate,
            }
            told.append((*row, encode(data)))
    if told:
        db.execute(_JOURNAL_SETTLED, {"now": now, "settlements": many(told)})
    if len(rows) <= _FEW:
        db.executemany(_SETTLE, rows)
    else:
        db.execute(_SETTLE_MANY, (many(rows),))


def since(db: Database, seq: int, limit: int) -> list[StoredAlert]:
    return [_alert(row) for row in db.execute(_SINCE, (seq, limit))]


def firing(db: Database) -> list[StoredAlert]:
    return [_alert(row) for row in db.execute(_FIRING)]


def page(db: Database, service: str, firing_only: bool, before: int | None, limit: int) -> list[StoredAlert]:
    below = TOP if before is None else before
    if service:
        query = _PAGE_FIRING_OF_SERVICE if firing_only else _PAGE_OF_SERVICE
        rows = db.execute(query, (service, below, limit))
    else:
        rows = db.execute(_PAGE_FIRING if firing_only else _PAGE, (below, limit))
    return [_alert(row) for row in rows]


def of_fingerprint(db: Database, fingerprint: str) -> list[StoredAlert]:
    found = map(_alert, db.execute(_OF_FINGERPRINT, _bounds(fingerprint)))
    return sorted(found, key=lambda stored: stored.alert.starts_at, reverse=True)


def _key(key: tuple[str, float]) -> str:
    return encode(key)


def _bounds(fingerprint: str) -> tuple[str, str]:
    """What the keys of all alerts of a fingerprint lie between. A key is `["FINGERPRINT",TIME]`; this text and the same
    with the next character."""
    begin = encode([fingerprint])[:-1]
    return f"{begin},", f"{begin}-"


def _without_nul(text: str) -> str:
    # SQLite's JSON functions end a text at its first NUL.
    return text.replace("\0", "\ufffd")


def _alert(row: Row) -> StoredAlert:
    return StoredAlert(
        seq=row["seq"],
        alert=_decode_alert(row["alert"]),
        received_at=row["received_at"],
        updated_at=row["updated_at"],
        service=row["service"],
        disposition=None if row["disposition"] is None else Disposition(row["disposition"]),
        gate=row["gate"],
        text=row["text"],
        incident=row["incident"],
    )

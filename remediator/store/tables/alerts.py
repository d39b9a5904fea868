"""Alerts: taking them in by identity, settling what became of them, and reading them.

One statement writes many alerts and reads them from JSON, so SQLite works on all of them at once. With a statement for
each alert, Python's interpreter lock would change hands each time. An alert's identity is a text (a JSON array),
because only Python reads a float back exactly as it wrote it. `Store` says what each function promises.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from remediator.model.alert import NOT_REPEATED, Alert, Source
from remediator.model.incident import Disposition, Settlement, StoredAlert
from remediator.store.database import Database, Row
from remediator.store.interface import Accepted
from remediator.store.tables.columns import encode, few, many
from remediator.store.tables.journal import TOP

_TAKE_NUMBERS = "UPDATE counters SET value = value + ? WHERE name = 'alerts' RETURNING value"
_PUT = """
    INSERT INTO alerts (seq, key, firing, alert, fingerprint, received_at, updated_at, disposition, text)
    SELECT :first + CAST(key AS BIGINT), value ->> 0, CAST(value ->> 1 AS BIGINT), value ->> 2, value ->> 3,
        CAST(value ->> 4 AS DOUBLE PRECISION), CAST(value ->> 4 AS DOUBLE PRECISION),
        CASE WHEN CAST(value ->> 1 AS BIGINT) = 0 THEN 'resolved' END,
        CASE WHEN CAST(value ->> 1 AS BIGINT) = 0 THEN 'was over when it was first heard of' ELSE '' END
    FROM json_each(:alerts) WHERE true
    ON CONFLICT (key) DO UPDATE SET
        seq = CASE
            WHEN alerts.firing <> excluded.firing THEN excluded.seq
            WHEN alerts.firing = 0 AND (alerts.alert LIKE :unseen OR alerts.alert LIKE :unrepeated)
                AND NOT (excluded.alert LIKE :unseen OR excluded.alert LIKE :unrepeated) THEN excluded.seq
            ELSE alerts.seq END,
        received_at = CASE WHEN alerts.firing < excluded.firing THEN excluded.received_at ELSE alerts.received_at END,
        disposition = CASE WHEN alerts.firing < excluded.firing THEN NULL ELSE alerts.disposition END,
        gate = CASE WHEN alerts.firing < excluded.firing THEN '' ELSE alerts.gate END,
        text = CASE WHEN alerts.firing < excluded.firing THEN '' ELSE alerts.text END,
        incident = CASE WHEN alerts.firing < excluded.firing THEN NULL ELSE alerts.incident END,
        firing = excluded.firing,
        alert = excluded.alert,
        fingerprint = excluded.fingerprint,
        updated_at = excluded.updated_at
    RETURNING seq, firing
"""

_FIRING_OF = """
    SELECT alerts.alert FROM json_each(?) AS new CROSS JOIN alerts
    WHERE alerts.firing = 1 AND alerts.fingerprint = new.value ->> 0 AND alerts.key <> new.value ->> 1
"""

_FIRING_LIKE = """
    SELECT alerts.alert FROM json_each(?) AS new CROSS JOIN alerts
    WHERE alerts.firing = 1 AND alerts.fingerprint = new.value ->> 0
"""

_FIRING_IN = "SELECT alert FROM alerts WHERE firing = 1 AND incident = ?"

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

_ONE_FIRES = (Source.ALERTMANAGER, Source.THRESHOLD)
_UNTOLD = (Disposition.OPENED, Disposition.JOINED, Disposition.RESOLVED)
"""Dispositions without a journal entry of their own: the entry of the incident says it, or there is nothing to say."""

_SINCE = "SELECT * FROM alerts WHERE seq > ? ORDER BY seq LIMIT ?"
_FIRING = "SELECT * FROM alerts WHERE firing = 1 ORDER BY seq"
_UNDECIDED = "SELECT * FROM alerts WHERE disposition IS NULL ORDER BY seq LIMIT ?"
_NEWEST = "SELECT * FROM alerts WHERE seq < ? ORDER BY seq DESC LIMIT ?"
_NEWEST_OF_SERVICE = "SELECT * FROM alerts WHERE service = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
_NEWEST_FIRING = "SELECT * FROM alerts WHERE firing = 1 AND seq < ? ORDER BY seq DESC LIMIT ?"
_NEWEST_FIRING_OF_SERVICE = (
    "SELECT * FROM alerts WHERE firing = 1 AND service = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
)
_OF_FINGERPRINT = "SELECT * FROM alerts WHERE key > ? AND key < ?"

_decode_alert = msgspec.json.Decoder(Alert).decode


def put_many(db: Database, batches: Sequence[tuple[Sequence[Alert], float]]) -> list[Accepted]:
    """Put batches of alerts one after the other, each with the time it came.

    Batches that share no fingerprint are written together, so many small notifications cost little more than one large
    one.
    """
    done: list[Accepted] = []
    together: list[tuple[Sequence[Alert], float]] = []
    seen: set[str] = set()
    for batch in batches:
        fingerprints = {alert.fingerprint for alert in batch[0]}
        if not seen.isdisjoint(fingerprints):
            done += _put(db, together)
            together, seen = [], set()
        together.append(batch)
        seen |= fingerprints
    return done + _put(db, together)


def _put(db: Database, batches: Sequence[tuple[Sequence[Alert], float]]) -> list[Accepted]:
    alerts: list[tuple[str, Alert, float]] = []
    batch_of: list[int] = []
    fires = _firing_of_ended(db, batches)
    for number, (batch, now) in enumerate(batches):
        # If an alert comes twice, the last report counts.
        latest = {_key(alert.key): alert for alert in (_with_its_start(alert, fires) for alert in batch)}
        alerts += [(key, alert, now) for key, alert in latest.items()]
        batch_of += [number] * len(latest)
    new, resolved = [0] * len(batches), [0] * len(batches)
    begun = []
    for place, firing in _write(db, alerts):
        (new if firing else resolved)[batch_of[place]] += 1
        if firing:
            begun.append(alerts[place])
    _write(db, _begun_again(db, begun))
    return [
        Accepted(new=new[number], repeated=len(batch) - new[number] - resolved[number], resolved=resolved[number])
        for number, (batch, _) in enumerate(batches)
    ]


def _firing_of_ended(db: Database, batches: Sequence[tuple[Sequence[Alert], float]]) -> dict[str, list[Alert]]:
    """The firing alerts of Alertmanager with the fingerprints of those that have ended."""
    ended = {alert.fingerprint for batch, _ in batches for alert in batch if not alert.firing}
    found: dict[str, list[Alert]] = {}
    rows = db.execute(_FIRING_LIKE, (many([(_without_nul(one),) for one in ended]),)) if ended else ()
    for row in rows:
        alert = _decode_alert(row["alert"])
        if alert.source is Source.ALERTMANAGER:
            found.setdefault(alert.fingerprint, []).append(alert)
    return found


def _with_its_start(alert: Alert, fires: dict[str, list[Alert]]) -> Alert:
    """The end of an alert, with the start of the stored alert that it ends.

    Some senders report the end with another start. Grafana 12 reports its end as its start. Of two Prometheis, the one
    that did not report the beginning may report the end.
    """
    if alert.ends_at is None or alert.source is not Source.ALERTMANAGER:
        return alert
    same = fires.get(alert.fingerprint, [])
    if any(other.starts_at == alert.starts_at for other in same):
        return alert
    begun = [other.starts_at for other in same if other.starts_at <= alert.ends_at]
    return msgspec.structs.replace(alert, starts_at=max(begun)) if begun else alert


def _write(db: Database, alerts: Sequence[tuple[str, Alert, float]]) -> list[tuple[int, int]]:
    """Write alerts by key, each with its time. Returns the positions of those that changed, and whether they fire."""
    if not alerts:
        return []
    first: int = db.execute(_TAKE_NUMBERS, (len(alerts),)).fetchone()[0] - len(alerts) + 1
    rows = many(
        [(key, int(alert.firing), encode(alert), _without_nul(alert.fingerprint), now) for key, alert, now in alerts]
    )
    # An end of what was not seen is no recovery; what is said of it afterwards may be one.
    values = {
        "first": first,
        "alerts": rows,
        "unseen": '%"grafana_state_reason":%',
        "unrepeated": f'%"{NOT_REPEATED}":%',
    }
    written = db.execute(_PUT, values).fetchall()
    return sorted((row["seq"] - first, row["firing"]) for row in written if row["seq"] >= first)


def _begun_again(db: Database, begun: Sequence[tuple[str, Alert, float]]) -> list[tuple[str, Alert, float]]:
    """Alerts of Alertmanager or of thresholds that ended because they began again: only one alert of the same labels
    can fire.

    If an alert ends and begins again between two notifications, Alertmanager reports the new one and never the end. A
    dead leader may have reported a breach that the next leader sees begin later.
    """
    alike: dict[tuple[Source, str], dict[str, tuple[str, Alert, float]]] = {}
    for key, alert, now in begun:
        if alert.source in _ONE_FIRES:
            alike.setdefault((alert.source, alert.fingerprint), {})[key] = (key, alert, now)
    asked = [(_without_nul(fingerprint), key) for (_, fingerprint), same in alike.items() for key in same]
    for row in db.execute(_FIRING_OF, (many(asked),)) if asked else ():
        other = _decode_alert(row["alert"])
        if same := alike.get((other.source, other.fingerprint)):
            _, _, now = next(iter(same.values()))
            same[_key(other.key)] = (_key(other.key), other, now)
    over = []
    for same in alike.values():
        *earlier, (_, last, now) = sorted(same.values(), key=lambda one: one[1].starts_at)
        over += [(key, msgspec.structs.replace(alert, ends_at=last.starts_at), now) for key, alert, _ in earlier]
    return over


def end_requests(db: Database, incident: int, now: float) -> None:
    """Resolve the operators' requests that led to this incident."""
    firing = [_decode_alert(row["alert"]) for row in db.execute(_FIRING_IN, (incident,))]
    requests = [alert for alert in firing if alert.source is Source.OPERATOR]
    _write(db, [(_key(alert.key), msgspec.structs.replace(alert, ends_at=now), now) for alert in requests])


def settle_many(db: Database, batches: Sequence[tuple[Sequence[Settlement], float]]) -> list[None]:
    """Settle batches, each with its time, one after the other: at a stretch as long as they share the time and no alert."""
    together: list[Settlement] = []
    at, seen = 0.0, set[tuple[str, float]]()
    for settlements, now in batches:
        keys = {settlement.key for settlement in settlements}
        if together and (now != at or not seen.isdisjoint(keys)):
            settle(db, together, at)
            together, seen = [], set()
        together += settlements
        at = now
        seen |= keys
    settle(db, together, at)
    return [None] * len(batches)


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
    if few(rows):
        db.executemany(_SETTLE, rows)
    else:
        db.execute(_SETTLE_MANY, (many(rows),))


def since(db: Database, seq: int, limit: int) -> list[StoredAlert]:
    return [_alert(row) for row in db.execute(_SINCE, (seq, limit))]


def firing(db: Database) -> list[StoredAlert]:
    return [_alert(row) for row in db.execute(_FIRING)]


def undecided(db: Database, limit: int) -> list[StoredAlert]:
    return [_alert(row) for row in db.execute(_UNDECIDED, (limit,))]


def newest(db: Database, service: str, firing_only: bool, before: int | None, limit: int) -> list[StoredAlert]:
    below = TOP if before is None else before
    if service:
        query = _NEWEST_FIRING_OF_SERVICE if firing_only else _NEWEST_OF_SERVICE
        rows = db.execute(query, (service, below, limit))
    else:
        rows = db.execute(_NEWEST_FIRING if firing_only else _NEWEST, (below, limit))
    return [_alert(row) for row in rows]


def of_fingerprint(db: Database, fingerprint: str) -> list[StoredAlert]:
    # A key is `["FINGERPRINT",TIME]`. All keys of a fingerprint lie between this text and the same text with the next
    # character.
    begin = encode([fingerprint])[:-1]
    found = map(_alert, db.execute(_OF_FINGERPRINT, (f"{begin},", f"{begin}-")))
    return sorted(found, key=lambda stored: stored.alert.starts_at, reverse=True)


def _key(key: tuple[str, float]) -> str:
    return encode(key)


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

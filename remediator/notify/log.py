"""The log: one line for each journal entry, and how lines of any logger look (logfmt as Prometheus writes it, JSON)."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from remediator.model.clock import rfc3339
from remediator.model.incident import Entry, EntryKind, Verdict

_journal = logging.getLogger("remediator.journal")

_SHOWN = ("runbook", "action", "outcome", "verdict", "gate", "disposition", "author")
"""The facts of an entry that a line shows as fields of their own, for searching; its sentence holds the rest."""


_FEW = 8
"""How many alerts that were settled alike have a line each."""


class LogAnnouncer:
    """Writes what happens to the log. Of a storm of alerts that all end alike it writes one line for each read of the
    journal, which has each of them."""

    name = "log"
    durable = False

    async def tell_page(self, entries: Sequence[Entry]) -> None:
        """Write these entries, oldest first."""
        for alike, group in groupby(entries, _alike):
            several = list(group)
            if alike is None or len(several) <= _FEW:
                for entry in several:
                    await self.tell(entry)
            else:
                texts = {entry.text for entry in several}
                others = f", and {len(texts) - 1} other reasons" if len(texts) > 1 else ""
                fields = {"event": str(several[0].kind), "alerts": len(several), **_shown(several[0])}
                _journal.log(_level(several[0]), "%s", f"{several[0].text}{others}", extra={"fields": fields})

    async def tell(self, entry: Entry) -> None:
        """Write one line."""
        fields: dict[str, Any] = {"event": str(entry.kind)}
        if entry.service:
            fields["service"] = entry.service
        if entry.incident is not None:
            fields["incident"] = entry.incident
        if entry.run is not None:
            fields["run"] = entry.run
        fields |= _shown(entry)
        _journal.log(_level(entry), "%s", entry.text, extra={"fields": fields})


def _alike(entry: Entry) -> tuple[str, str] | None:
    """By what alerts that were settled one after the other are written together; None for any other entry."""
    if entry.kind is not EntryKind.ALERT_SETTLED:
        return None
    return str(entry.data["disposition"]), str(entry.data["gate"])


def _shown(entry: Entry) -> dict[str, Any]:
    return {name: entry.data[name] for name in _SHOWN if entry.data.get(name)}


def _level(entry: Entry) -> int:
    given_up = entry.kind is EntryKind.INCIDENT_CLOSED and entry.data.get("verdict") == Verdict.EXHAUSTED
    return logging.WARNING if given_up else logging.INFO


def set_up_logging(level: str, format: str) -> None:
    """Have every logger write to stderr: `level` is debug, info, warning or error; `format` is logfmt or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else LogfmtFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class LogfmtFormatter(logging.Formatter):
    """`ts=2026-01-02T03:04:05.678Z level=info component=engine msg="…" service=checkout`, always on one line.

    Fields come from `extra={"fields": {...}}`. Whatever is not plain text is quoted and escaped, so that no label value
    can forge a line or reach the terminal as a control sequence.
    """

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{name}={_logfmt(value)}" for name, value in _fields(self, record).items())


class JsonFormatter(logging.Formatter):
    """The same as one JSON object on a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(self, record), default=str)


_LEVELS = {"WARNING": "warn", "CRITICAL": "error"}


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "ts": rfc3339(record.created),
        "level": _LEVELS.get(record.levelname, record.levelname.lower()),
        "component": record.name.removeprefix("remediator.").partition(".")[0],
        "msg": record.getMessage(),
    }
    fields.update(getattr(record, "fields", {}))
    if record.exc_info:
        fields["err"] = formatter.formatException(record.exc_info)
    return fields


def _logfmt(value: object) -> str:
    text = str(value)
    if text and text.isprintable() and not any(char in text for char in ' ="\\'):
        return text
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    return {"\n": r"\n", "\t": r"\t", "\r": r"\r"}.get(char, f"\\u{ord(char):04x}")

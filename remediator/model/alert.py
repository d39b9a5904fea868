"""An alert as Alertmanager knows it. Its source is Alertmanager, a threshold or an operator."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

import msgspec


class Source(StrEnum):
    """The source of an alert."""

    ALERTMANAGER = "alertmanager"
    THRESHOLD = "threshold"
    OPERATOR = "operator"


class Alert(msgspec.Struct, frozen=True):
    """One alert. Its identity is `key`; `ends_at` is None while it fires. Times are seconds since the epoch, UTC."""

    fingerprint: str
    starts_at: float
    ends_at: float | None
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    source: Source = Source.ALERTMANAGER
    generator_url: str = ""
    sender: str = ""
    """Who posted it, where that is not Alertmanager: `grafana`. Of such an alert Alertmanager knows nothing."""

    @property
    def key(self) -> tuple[str, float]:
        """What work is keyed by: the same labels firing again later are another alert."""
        return (self.fingerprint, self.starts_at)

    @property
    def firing(self) -> bool:
        """Whether it still fires, as far as is known."""
        return self.ends_at is None

    @property
    def name(self) -> str:
        """Its alertname, or the empty string."""
        return self.labels.get("alertname", "")


def unseen_reason(alert: Alert) -> str:
    """Why its sender cannot see what the alert is about; the empty string when it can.

    Grafana's rules say so by the annotation `grafana_state_reason` (NoData, Error, Paused, RuleDeleted, MissingSeries and
    others), also when such an alert is resolved. It fires alerts named DatasourceError and DatasourceNoData of its own
    where a query fails or gives nothing (pkg/services/ngalert/state). Of an alert that ended because it was not repeated, the
    sender says nothing any more.
    """
    if not alert.firing and alert.annotations.get(NOT_REPEATED):
        return "NotRepeated"
    reason = alert.annotations.get("grafana_state_reason", "").strip()
    if reason:
        return reason[:_LONGEST_REASON]
    return alert.name if alert.firing and alert.name in _DATASOURCE_ALERTS else ""


def unseen_text(alert: Alert) -> str:
    """The sentence for an alert whose sender cannot see; the empty string when it can."""
    if not (reason := unseen_reason(alert)):
        return ""
    if reason == "NotRepeated":
        return f"alert {alert.name} {alert.annotations[NOT_REPEATED]} by its sender, which is no recovery"
    return f"the sender of alert {alert.name} cannot see: {reason}"


NOT_REPEATED = "remediator_not_repeated"
"""The annotation of an alert that ended because its sender did not repeat it: since when."""
_DATASOURCE_ALERTS = ("DatasourceError", "DatasourceNoData")
_LONGEST_REASON = 80


class Notification(msgspec.Struct, frozen=True):
    """One webhook POST: a group of alerts. `truncated` counts alerts the sender left out; `unreadable` says of each alert
    that was not taken why."""

    alerts: tuple[Alert, ...]
    receiver: str = ""
    group_key: str = ""
    truncated: int = 0
    unreadable: tuple[str, ...] = ()


@lru_cache(maxsize=1024)
def parse_time(text: str) -> datetime:
    """A time in RFC 3339, as exactly as Python knows times: what is finer is cut, as Alertmanager's API cuts it. ValueError
    when it is none. The year 0 is that of a time that is not set, which Go writes in an offset west of Greenwich."""
    if text.startswith("0000-"):
        return _NOT_SET
    # Python reads more: dates by weeks, times without seconds or without an offset.
    plain = (
        len(text) < _LONGEST_TIME
        and text[4:5] == "-"
        and text[5:6] != "W"
        and text[10:11] in ("T", "t", " ")
        and text[16:17] == ":"
    )
    try:
        at = datetime.fromisoformat(text.upper()) if plain else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(f"{text[:40]!r} is no time in RFC 3339")
    return at


_LONGEST_TIME = 64
_NOT_SET = datetime(1, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1024)
def parse_start(text: str) -> float:
    """A start in RFC 3339 as seconds since the epoch, in whole milliseconds. Of a storm many have the same."""
    return milliseconds(parse_time(text))


def milliseconds(at: datetime) -> float:
    """A time as seconds since the epoch, cut to whole milliseconds. Alertmanager's webhook tells more of an alert's start
    than its API does, and by both it has to be the same alert."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000).timestamp()


_FNV_OFFSET, _FNV_PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF


def fingerprint(labels: Mapping[str, str]) -> str:
    """The fingerprint Alertmanager gives a label set (prometheus/common `labelSetToFingerprint`: FNV-1a, 64 bits,
    names and values sorted by name, each followed by 0xff)."""
    value = _FNV_OFFSET
    for name in sorted(labels):
        for byte in (*name.encode(), 0xFF, *labels[name].encode(), 0xFF):
            value = ((value ^ byte) * _FNV_PRIME) & _MASK
    return f"{value:016x}"

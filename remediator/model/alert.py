"""An alert as Alertmanager knows it. Its source is Alertmanager, a threshold or an operator."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

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
    where a query fails or gives nothing (pkg/services/ngalert/state).
    """
    reason = alert.annotations.get("grafana_state_reason", "").strip()
    if reason:
        return reason[:_LONGEST_REASON]
    return alert.name if alert.firing and alert.name in _DATASOURCE_ALERTS else ""


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

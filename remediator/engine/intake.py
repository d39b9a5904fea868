"""Taking alerts in, from every source: committed first, then counted, then announced to the engine."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from remediator.engine.broadcast import Broadcast
from remediator.metrics import Metrics
from remediator.model.alert import NOT_REPEATED, Alert, Source, unseen_reason
from remediator.model.clock import Clock
from remediator.model.incident import Disposition
from remediator.model.paging import SENDER
from remediator.store.interface import Accepted, Store

REASONS = (
    "DatasourceError",
    "DatasourceNoData",
    "NoData",
    "Error",
    "Paused",
    "RuleDeleted",
    "MissingSeries",
    "Updated",
    "KeepLast",
    "NotRepeated",
)
"""The reasons that the metric tells by name; any other is `other`."""


class Intake:
    """Commits alerts and counts each of them. `alerts_stored` is notified when something is new."""

    def __init__(self, store: Store, clock: Clock, metrics: Metrics, alerts_stored: Broadcast) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._alerts_stored = alerts_stored

    async def __call__(self, alerts: Sequence[Alert]) -> Accepted:
        """Take these in. StoreError when they could not be committed: then it is as if they had never come.

        Pages of remediator's own, which come back where its receiver gets every alert, are left out.
        """
        now = self._clock.now()
        others = [self._ended_if_unseen(alert, now) for alert in alerts if alert.labels.get(SENDER[0]) != SENDER[1]]
        accepted = await self._store.put_alerts(others, now)
        accepted = msgspec.structs.replace(accepted, own=len(alerts) - len(others))
        self._metrics.accepted.inc(len(alerts))
        for disposition, count in (
            (Disposition.OWN, accepted.own),
            (Disposition.REPEATED, accepted.repeated),
            (Disposition.RESOLVED, accepted.resolved),
        ):
            if count:
                self._metrics.alerts.labels(disposition).inc(count)
        if accepted.changed:
            self._alerts_stored.notify()
        return accepted

    def _ended_if_unseen(self, alert: Alert, now: float) -> Alert:
        """An alert whose sender cannot see is no trouble, so it does not fire; the engine state keeps that it is no
        recovery either."""
        if alert.source is not Source.ALERTMANAGER or not (reason := unseen_reason(alert)):
            return alert
        known = reason if reason in REASONS else "other"
        self._metrics.unseen_alerts.labels(known).inc()
        if NOT_REPEATED in alert.annotations:
            return alert
        return msgspec.structs.replace(
            alert, ends_at=alert.ends_at or now, annotations={**alert.annotations, "grafana_state_reason": reason}
        )

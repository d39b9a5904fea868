"""Keeping in step with Alertmanager: the alerts it tells of by webhook are compared with those it holds, and its silences
are read.

Level, not edge: whatever notification was lost, in either direction, is made good for at the next comparison. Nothing is
concluded from an Alertmanager that does not answer, or that has started too lately to know what fires.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec

from remediator.clients.alertmanager import Alertmanagers, Snapshot
from remediator.engine.alertmanager_routes import DEFAULT_GROUP_WAIT, group_wait, longest_group_wait, read_routes
from remediator.errors import RemoteError, StoreError
from remediator.metrics import Metrics
from remediator.model.alert import Alert, Source
from remediator.model.clock import Clock
from remediator.model.incident import StoredAlert
from remediator.model.paging import AUTHOR, SENDER
from remediator.model.silence import Silence, Suppression
from remediator.store.interface import Store

log = logging.getLogger(__name__)

INTERVAL = 60.0
"""Seconds from one comparison of alerts to the next."""
SILENCES = 15.0
"""Seconds from one read of the silences to the next."""
YOUNG = 300.0
"""Seconds since an Alertmanager's start for which a missing alert says nothing. It keeps no alerts over a restart, and
has them again only when Prometheus sends them again: a minute later (`--rules.alert.resend-delay`), or at the next
evaluation where that is longer."""


class Reconciler:
    """Compares and hands on. `intake` takes alerts in. `on_silences` is called with the silences of others when they change,
    `on_compared` after each attempt to compare."""

    def __init__(
        self,
        alertmanagers: Alertmanagers,
        store: Store,
        *,
        clock: Clock,
        metrics: Metrics,
        intake: Callable[[Sequence[Alert]], Awaitable[object]],
        on_silences: Callable[[tuple[Silence, ...]], None],
        on_suppressed: Callable[[Mapping[str, Suppression]], None] = lambda _: None,
        on_compared: Callable[[], None] = lambda: None,
    ) -> None:
        self._alertmanagers = alertmanagers
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._intake = intake
        self._on_silences = on_silences
        self._on_suppressed = on_suppressed
        self._on_compared = on_compared
        self._asked = True
        self._compared_at = float("-inf")
        self._silences: tuple[Silence, ...] = ()
        self._suppressed: Mapping[str, Suppression] = {}
        self._seen: frozenset[tuple[str, float]] = frozenset()
        self._seen_since = 0.0
        self._woken = asyncio.Event()
        self._out_of_reach = False
        self.unpaged: tuple[str, ...] = ()
        """Names of the firing alerts that no receiver but remediator's gets."""

    def wake(self) -> None:
        """Alerts were left out of a notification: compare now."""
        self._asked = True
        self._woken.set()

    async def run(self) -> None:
        """Compare at once, every minute and when woken; read the silences more often. Until cancelled."""
        while True:
            self._woken.clear()
            await self.once()
            await self._clock.wait(self._woken, SILENCES)

    async def once(self) -> None:
        """Read the silences, and compare the alerts when that is due. `on_compared` is called even when Alertmanager could
        not be asked, so that nothing waits for it for ever."""
        try:
            await self._read_silences()
            if self._asked or self._clock.now() - self._compared_at >= INTERVAL:
                await self._compare()
                self._asked, self._compared_at = False, self._clock.now()
        except RemoteError as error:
            if not self._out_of_reach:
                log.warning("concludes nothing from Alertmanager until it answers: %s", error)
            self._out_of_reach = True
        except StoreError as error:
            log.error("cannot compare the alerts with Alertmanager's, tries again: %s", error)
        else:
            if self._out_of_reach:
                log.info("Alertmanager answers again")
            self._out_of_reach = False
        self._on_compared()

    async def _read_silences(self) -> None:
        others = (silence for silence in await self._alertmanagers.silences() if silence.author != AUTHOR)
        silences = tuple(sorted(others, key=lambda silence: silence.id))
        if silences != self._silences:
            self._silences = silences
            self._on_silences(silences)

    async def _compare(self) -> None:
        asked_at = self._clock.now()
        snapshot = await self._alertmanagers.alerts()
        self._report_unpaged(snapshot.unpaged)
        stored = {
            one.alert.key: one
            for one in await self._store.firing_alerts()
            if one.alert.source is Source.ALERTMANAGER and not one.alert.sender
        }
        now = self._clock.now()
        self._note_suppressed(snapshot)
        missed = [
            alert
            for alert in snapshot.alerts
            if alert.key not in stored and _foreign(alert) and alert.fingerprint not in snapshot.suppressed
        ]
        if missed:
            # Alertmanager lists an alert at once, and tells of it only after the group_wait of its route. A start in the
            # future, which it gives an alert that came without one, says nothing.
            wait_of = await self._group_wait()
            missed = [
                alert
                for alert in missed
                if not now - wait_of(alert) < alert.starts_at <= now and alert.fingerprint not in snapshot.unprocessed
            ]
        missed = [alert for alert in missed if not await self._ended_since(alert, asked_at)]
        over = _over(snapshot, stored.values(), asked_at, now, self._seen_before(snapshot))
        self._metrics.reconciled.labels("firing").inc(len(missed))
        self._metrics.reconciled.labels("resolved").inc(len(over))
        if missed or over:
            log.info(
                "takes in %d alerts that fire and %d that are over, of which it had not heard", len(missed), len(over)
            )
            await self._intake([*missed, *over])

    def _seen_before(self, snapshot: Snapshot) -> frozenset[tuple[str, float]]:
        """The alerts that this Alertmanager was seen to hold since its start: it has not lost them by starting."""
        before = self._seen if snapshot.up_since == self._seen_since else frozenset[tuple[str, float]]()
        self._seen_since = snapshot.up_since
        # Of what is gone the present call is the last one that asks.
        self._seen = frozenset(alert.key for alert in snapshot.alerts)
        return before

    def _note_suppressed(self, snapshot: Snapshot) -> None:
        """Hand on what others suppress: a silence of ours, which holds the page back while healing, is no reason to stop."""
        others = {silence.id for silence in self._silences}
        suppressed: dict[str, Suppression] = {}
        for fingerprint, one in snapshot.suppressed.items():
            kept = msgspec.structs.replace(one, silenced_by=tuple(id for id in one.silenced_by if id in others))
            if kept != Suppression():
                suppressed[fingerprint] = kept
        if suppressed != self._suppressed:
            self._suppressed = suppressed
            self._on_suppressed(suppressed)

    async def _group_wait(self) -> Callable[[Alert], float]:
        """The group_wait, in seconds, of an alert's own routes; the longest of any where the routes are not understood."""
        config = await self._alertmanagers.config()
        try:
            routes = read_routes(config)
        except ValueError as error:
            log.debug("takes the longest group_wait of any route: %s", error)
        else:
            return lambda alert: group_wait(routes, alert.labels, self._alertmanagers.receivers)
        try:
            longest = longest_group_wait(config)
        except ValueError as error:
            log.debug("takes the default group_wait: %s", error)
            longest = DEFAULT_GROUP_WAIT
        return lambda _: longest

    def _report_unpaged(self, alerts: Sequence[Alert]) -> None:
        """Log when there are other alerts than before that people are not sent. Their route is what has to change."""
        names = tuple(sorted({alert.labels.get("alertname", "") for alert in alerts}))
        self._metrics.unpaged_alerts.set(len(alerts))
        if set(names) - set(self.unpaged):
            log.warning(
                "no person is sent %s: by Alertmanager's route no receiver but remediator's gets %s"
                " (remediator check --alertmanager URL says more)",
                ", ".join(names),
                "it" if len(names) == 1 else "them",
            )
        self.unpaged = names

    async def _ended_since(self, alert: Alert, asked_at: float) -> bool:
        """Whether the end of an alert came in by webhook while Alertmanager was being asked."""
        known = await self._store.alerts_with(alert.fingerprint)
        return any(one.alert.key == alert.key and one.updated_at >= asked_at for one in known)


def _foreign(alert: Alert) -> bool:
    """Whether it is not a page of our own, which is nothing to heal."""
    return alert.labels.get(SENDER[0]) != SENDER[1]


def _over(
    snapshot: Snapshot,
    stored: Iterable[StoredAlert],
    asked_at: float,
    now: float,
    seen: frozenset[tuple[str, float]],
) -> list[Alert]:
    """The stored alerts that Alertmanager does not hold any more. What came in after it was asked may be newer than what
    it said."""
    young = now - snapshot.up_since < YOUNG
    firing = {alert.key for alert in snapshot.alerts}
    return [
        msgspec.structs.replace(one.alert, ends_at=now)
        for one in stored
        if one.alert.key not in firing and one.updated_at < asked_at and (not young or one.alert.key in seen)
    ]

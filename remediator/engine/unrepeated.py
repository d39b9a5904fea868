"""Alerts that nothing can be compared with: they end when their sender has not repeated them for a long time.

Of Grafana's alerts, and of any where the config names no Alertmanager, only notifications tell. One whose end is never
told, or was lost, would fire for ever. Such an end is no recovery: nothing was seen to be well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from remediator.errors import StoreError
from remediator.model.alert import NOT_REPEATED, Alert, Source
from remediator.model.clock import Clock
from remediator.model.durations import format_duration
from remediator.model.incident import StoredAlert
from remediator.store.interface import Store

log = logging.getLogger(__name__)

_INTERVAL = 60.0
_SHOWN = 10


class UnrepeatedAlerts:
    """Ends alerts that were not repeated for `within` seconds: those of every sender, or, where the others are `compared`,
    those of senders other than Alertmanager. `intake` takes the ends in."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        intake: Callable[[Sequence[Alert]], Awaitable[object]],
        within: float,
        compared: bool,
    ) -> None:
        self._store = store
        self._clock = clock
        self._intake = intake
        self._within = within
        self._compared = compared
        self._listens_since = clock.now()
        """What was sent while nobody listened here is not held against its sender."""

    async def run(self) -> None:
        """Look every minute, until cancelled."""
        while True:
            await self._clock.wait(asyncio.Event(), _INTERVAL)
            try:
                await self.once()
            except StoreError as error:
                log.error("cannot end the alerts that are not repeated, tries again: %s", error)

    async def once(self) -> None:
        """End those that are due."""
        now = self._clock.now()
        if now - self._listens_since < self._within:
            return
        overdue = [
            stored.alert
            for stored in await self._store.firing_alerts()
            if self._concerns(stored.alert) and now - stored.updated_at >= self._within
        ]
        # One that was repeated meanwhile is not.
        overdue = [
            alert
            for alert in overdue
            if not _repeated(await self._store.alerts_with(alert.fingerprint), alert, now - self._within)
        ]
        if not overdue:
            return
        text = f"was not repeated for {format_duration(self._within)}"
        names = [alert.name or alert.fingerprint for alert in overdue]
        log.warning(
            "takes %d alerts to be over, and nothing to be well: their sender has not repeated them for %s: %s%s",
            len(overdue),
            format_duration(self._within),
            ", ".join(names[:_SHOWN]),
            " …" if len(names) > _SHOWN else "",
        )
        await self._intake(
            [
                msgspec.structs.replace(alert, ends_at=now, annotations={**alert.annotations, NOT_REPEATED: text})
                for alert in overdue
            ]
        )

    def _concerns(self, alert: Alert) -> bool:
        return alert.source is Source.ALERTMANAGER and (bool(alert.sender) or not self._compared)


def _repeated(known: Sequence[StoredAlert], alert: Alert, since: float) -> bool:
    return any(one.alert.key == alert.key and (one.updated_at > since or not one.alert.firing) for one in known)

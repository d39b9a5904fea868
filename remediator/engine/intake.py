"""Taking alerts in, whoever brings them: committed first, then accounted for, then the engine is told to look."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from remediator.metrics import Metrics
from remediator.model.alert import Alert
from remediator.model.clock import Clock
from remediator.model.incident import Disposition
from remediator.model.paging import SENDER
from remediator.store.interface import Accepted, Store


class Intake:
    """Commits alerts and counts each of them. `wake` is called when something is new."""

    def __init__(self, store: Store, clock: Clock, metrics: Metrics, wake: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._wake = wake

    async def __call__(self, alerts: Sequence[Alert]) -> Accepted:
        """Take these in. StoreError when they could not be committed: then it is as if they had never come.

        Pages of remediator's own, which come back where its receiver gets every alert, are left out.
        """
        others = [alert for alert in alerts if alert.labels.get(SENDER[0]) != SENDER[1]]
        accepted = await self._store.put_alerts(others, self._clock.now())
        accepted = msgspec.structs.replace(accepted, own=len(alerts) - len(others))
        self._metrics.alerts_accepted(len(alerts))
        self._metrics.alerts_decided(Disposition.OWN, accepted.own)
        self._metrics.alerts_decided(Disposition.REPEATED, accepted.repeated)
        self._metrics.alerts_decided(Disposition.RESOLVED, accepted.resolved)
        if accepted.changed:
            self._wake()
        return accepted

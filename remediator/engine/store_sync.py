"""What the store has that the state has not yet: alerts, pauses, and what operators and other processes did."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from remediator.engine.apply import Applier, settlement
from remediator.engine.broadcast import Broadcast
from remediator.engine.evaluations import Evaluations
from remediator.engine.schedule import Schedule
from remediator.engine.state import EngineState
from remediator.errors import StoreError
from remediator.metrics import Metrics
from remediator.model.alert import Source, unseen_reason
from remediator.model.incident import Disposition, Settlement, StoredAlert
from remediator.store.interface import Store

log = logging.getLogger(__name__)

_PAGE = 500
_MEMORY = 8 * 86400.0
"""Seconds for which step runs are kept in mind; longer than any rate window worth writing."""
_FORGET_EVERY = 3600.0
_UNDECIDED_EVERY = 60.0
"""Seconds between two searches for alerts that were left undecided; the first search is with the first read. An alert that
is undecided for longer counts as left so."""


class StoreSync:
    """Reads the store into the state, and schedules the services concerned. `every` is the seconds between two reads when
    nothing is expected. Everything here raises StoreError when the store cannot be read; what was not read then is read
    the next time."""

    def __init__(
        self,
        store: Store,
        state: EngineState,
        schedule: Schedule,
        applier: Applier,
        evaluations: Evaluations,
        alerts_stored: Broadcast,
        committed: Broadcast,
        metrics: Metrics,
        every: float,
        *,
        leads: bool,
        shared: bool,
    ) -> None:
        self._store = store
        self._state = state
        self._schedule = schedule
        self._applier = applier
        self._evaluations = evaluations
        self._alerts_stored = alerts_stored
        self._committed = committed
        self._metrics = metrics
        self._every = every
        self._leads = leads
        self._shared = shared
        self._seq = 0
        self._read_at = self._reread_at = self._forgot_at = self._searched_at = float("-inf")
        self._expected = True
        self._read_count = 0
        """The count of `alerts_stored` at the last read."""
        self._operators_expected = False

    @property
    def due(self) -> float:
        """When it is to be read next though nothing is expected."""
        return self._read_at + self._every

    def expect(self, *, operators: bool = False) -> None:
        """There is something new; with `operators` of what people did, too."""
        self._expected = True
        self._operators_expected = self._operators_expected or operators

    async def load(self, now: float) -> None:
        """Take up all that the store remembers: open incidents, firing alerts, recent runs, how the last ones ended."""
        state = self._state
        if self._leads and (moved := await self._store.repair_clock(now)):
            log.warning("the clock was set back: %d things that have happened would be yet to come, and are now", moved)
        state.fleet.remember_panic(await self._store.last_panic())
        for run in await self._store.runs_since(now - _MEMORY):
            state.put_run(run)
        for closing in await self._store.incident_summaries(now - _MEMORY):
            state.put_closing(closing)
        for incident in await self._store.last_closed(now - _MEMORY):
            state.put_incident(incident)
            if incident.owed:
                self._schedule.put(incident.service, now)
        for incident in await self._store.open_incidents():
            state.put_incident(incident)
            for run in incident.runs:
                state.put_run(run)
            self._schedule.put(incident.service, now)
            if not state.rulebook.thresholds_for(incident.plan.service):
                # Only where alerts alone judge does it count what their senders cannot see.
                await self._load_unseen(incident.service)
        await self.take_in(await self._store.firing_alerts(), now)

    async def _load_unseen(self, service: str) -> None:
        """Take up what senders could not see of a service: the end of such an alert is no recovery after a restart either."""
        newest: dict[str, StoredAlert] = {}
        for stored in await self._store.alerts(service=service, limit=_PAGE):
            newest.setdefault(stored.alert.fingerprint, stored)
        for stored in newest.values():
            if not stored.alert.firing and unseen_reason(stored.alert):
                self._state.admit(stored)

    async def read(self, now: float) -> None:
        """Read pauses, operators' answers and alerts that were stored since the last time, if it is time for that or they
        are expected."""
        expected = self._expected or self._alerts_stored.count != self._read_count
        if not expected and 0 <= now - self._read_at < self._every:
            return
        self._expected, self._read_at, self._read_count = False, now, self._alerts_stored.count
        if now - self._forgot_at >= _FORGET_EVERY:
            self._forgot_at = now
            self._state.forget(now - _MEMORY)
        # What operators do here is announced; what they do at another process is found in time.
        if self._operators_expected or not 0 <= now - self._reread_at < self._every:
            asked = self._operators_expected or self._shared
            self._operators_expected = False
            try:
                await self._read_operators(now, asked)
            except StoreError:
                self._operators_expected = True
                raise
            self._reread_at = now
        if not 0 <= now - self._searched_at < _UNDECIDED_EVERY:
            await self._take_in_undecided(now)
        while True:
            page = await self._store.alerts_since(self._seq, _PAGE)
            await self.take_in(page, now)
            if len(page) < _PAGE:
                return

    async def _take_in_undecided(self, now: float) -> None:
        """Take in the alerts that nobody decided on: those that were over before this process read them, and those whose
        disposition could not be written. Only what the store holds says that they are decided on."""
        if not self._leads:
            return
        undecided = await self._store.undecided_alerts()
        self._searched_at = now
        self._state.undecided = sum(now - stored.received_at > _UNDECIDED_EVERY for stored in undecided)
        self._metrics.undecided.set(self._state.undecided)
        await self._take_in(undecided, now)

    async def _read_operators(self, now: float, answered: bool) -> None:
        """Read pauses, and with `answered` what became of open incidents."""
        if not self._leads:
            await self._mirror()
        elif answered:
            await self._reread(now)
        pauses = tuple(await self._store.pauses(now))
        if pauses != self._state.pauses:
            self._state.pauses = pauses
            for name in self._state.troubled:
                self._schedule.put(name, now)

    async def _reread(self, now: float) -> None:
        """Bring the open incidents in line with the store."""
        stored = {incident.service: incident for incident in await self._store.open_incidents()}
        for name, known in list(self._state.open.items()):
            incident = stored.get(name)
            if incident is None or incident.id != known.id:
                incident = await self._store.incident(known.id)
            if incident is not None and (incident.approval, incident.open) != (known.approval, known.open):
                self._state.put_incident(incident)
                self._schedule.put(name, now)

    async def _mirror(self) -> None:
        """Have the open incidents as the store has them."""
        stored = {incident.service: incident for incident in await self._store.open_incidents()}
        for name, known in list(self._state.open.items()):
            if name not in stored and (closed := await self._store.incident(known.id)) is not None:
                self._state.put_incident(closed)
        for name, incident in stored.items():
            if incident != self._state.open.get(name):
                self._state.put_incident(incident)

    async def take_in(self, page: Sequence[StoredAlert], now: float) -> None:
        """Put alerts into the state and schedule their services; settle those that lead to nothing. They count as read
        only when that is committed: what could not be settled is read again."""
        await self._take_in(page, now)
        self._seq = max([self._seq, *(stored.seq for stored in page)])

    async def _take_in(self, page: Sequence[StoredAlert], now: float) -> None:
        over: list[StoredAlert] = []
        settlements: list[Settlement] = []
        to_evaluate: set[str] = set()
        for stored in page:
            name = self._state.admit(stored)
            service = self._state.service(name) if name is not None else None
            heeded = service is None or self._state.heeds(service, stored)
            if name is not None:
                self._schedule.put(name, now)
                asks = heeded and stored.alert.firing and stored.alert.source is not Source.THRESHOLD
                if asks and service is not None and self._state.wants_evaluation(service, now):
                    to_evaluate.add(name)
            if stored.alert.firing and not heeded:
                settled = stored.disposition is Disposition.NOT_ACTIONABLE
                kind, text = Disposition.NOT_ACTIONABLE, self._state.policy.why_unheeded(stored.alert)
            elif stored.alert.firing:
                settled = name is not None or stored.disposition is Disposition.NO_SERVICE
                kind, text = Disposition.NO_SERVICE, "" if settled else self._state.why_unowned(stored.alert)
            else:
                settled = stored.disposition is not None
                kind, text = Disposition.RESOLVED, "was resolved before it was looked at"
            if not settled:
                over.append(stored)
                settlements.append(settlement(stored, kind, text, name or ""))
        if to_evaluate:
            self._evaluations.evaluate(to_evaluate)
        if settlements and self._leads:
            await self._applier.settle(settlements, over, now)
            self._committed.notify()

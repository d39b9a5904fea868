"""The store against a model of plain dictionaries, driven by hypothesis through any sequence of calls and restarts."""

from __future__ import annotations

import asyncio
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from store.conftest import OPENERS, Opener
from store.makers import T0, new_incident

from remediator.errors import ConflictError
from remediator.model.action import Outcome, Result
from remediator.model.alert import Alert
from remediator.model.health import Health
from remediator.model.incident import Approval, Disposition, Hold, Incident, Settlement, StepRun, Verdict
from remediator.store.interface import Accepted

TEXT = st.text(max_size=8)
SENTENCES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
"""What remediator itself says: it has no NUL, which PostgreSQL cannot hold and gets as U+FFFD."""
KEYS = st.tuples(st.sampled_from(["", "a", "a 1.0", "é\x00b"]), st.sampled_from([0.0, 0.1 + 0.2, 0.3, T0]))
SERVICES = st.sampled_from(["web", "db", "cart"])
ALERTS = st.builds(
    lambda key, over, labels: Alert(key[0], key[1], T0 if over else None, labels, labels),
    KEYS,
    st.booleans(),
    st.dictionaries(TEXT, TEXT, max_size=2),
)
SETTLEMENTS = st.builds(
    lambda key, disposition, service, gate, incident, text: Settlement(key, disposition, text, service, gate, incident),
    KEYS,
    st.sampled_from(Disposition),
    SERVICES,
    st.sampled_from(["", "paused", "rate"]),
    st.none() | st.integers(1, 3),
    SENTENCES,
)
IDS = st.integers(1, 6)
TOLD_BY_THEIR_INCIDENT = (Disposition.OPENED, Disposition.JOINED, Disposition.RESOLVED)


class AlertModel(msgspec.Struct):
    """What is known of one alert."""

    alert: Alert
    service: str = ""
    disposition: Disposition | None = None
    gate: str = ""
    text: str = ""
    incident: int | None = None


class StoreMachine(RuleBasedStateMachine):
    """Each rule calls the store and the model, and compares their answers; the invariants compare all they hold."""

    opener: Opener

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.open()
        # In the order in which they last changed.
        self.alerts: dict[tuple[str, float], AlertModel] = {}
        self.incidents: dict[int, Incident] = {}
        self.runs: dict[int, StepRun] = {}
        self.entries = 0
        self.now = T0

    def open(self) -> None:
        self.store = self.runner.run(self.opener(Path(self.folder.name)))

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()

    def call(self, allowed: bool, coroutine: Any) -> Any:
        """The answer of a call that the model allows, or None when it is refused as the model says."""
        self.now += 0.1
        if allowed:
            return self.runner.run(coroutine)
        with pytest.raises(ConflictError):
            self.runner.run(coroutine)
        return None

    def opened(self, id: int) -> bool:
        return id in self.incidents and self.incidents[id].open

    def change(self, id: int, **fields: Any) -> None:
        self.incidents[id] = msgspec.structs.replace(self.incidents[id], **fields)

    def with_its_start(self, alert: Alert) -> Alert:
        """An end ends what fires with the same fingerprint, if that began before it."""
        if alert.ends_at is None:
            return alert
        same = [
            known.alert.starts_at
            for known in self.alerts.values()
            if known.alert.fingerprint == alert.fingerprint and known.alert.firing
        ]
        begun = [starts_at for starts_at in same if starts_at <= alert.ends_at]
        if alert.starts_at in same or not begun:
            return alert
        return msgspec.structs.replace(alert, starts_at=max(begun))

    @rule(alerts=st.lists(ALERTS, max_size=6))
    def put_alerts(self, alerts: list[Alert]) -> None:
        latest = {alert.key: alert for alert in map(self.with_its_start, alerts)}
        new = resolved = 0
        begun: dict[str, None] = {}
        for key, alert in latest.items():
            known = self.alerts.get(key)
            if known is not None and known.alert.firing == alert.firing:
                known.alert = alert
                continue
            new += alert.firing
            resolved += not alert.firing
            if alert.firing:
                begun[alert.fingerprint] = None
            self.alerts.pop(key, None)
            if known is None or alert.firing:
                known = AlertModel(alert, service=known.service if known else "")
                if not alert.firing:
                    known.disposition, known.text = Disposition.RESOLVED, "was over when it was first heard of"
            known.alert = alert
            self.alerts[key] = known
        for fingerprint in begun:
            same = [known for known in self.alerts.values() if known.alert.fingerprint == fingerprint]
            firing = sorted(known.alert.starts_at for known in same if known.alert.firing)
            for starts_at in firing[:-1]:
                known = self.alerts.pop((fingerprint, starts_at))
                known.alert = msgspec.structs.replace(known.alert, ends_at=firing[-1])
                self.alerts[fingerprint, starts_at] = known
        accepted = self.call(True, self.store.put_alerts(alerts, self.now))
        assert accepted == Accepted(new=new, repeated=len(alerts) - new - resolved, resolved=resolved)
        # A database may count in other numbers, which equal these and cannot be added to them.
        assert {type(count) for count in msgspec.structs.astuple(accepted)} == {int}

    @rule(settlements=st.lists(SETTLEMENTS, max_size=12, unique_by=lambda settlement: settlement.key))
    def settle(self, settlements: list[Settlement]) -> None:
        for given in settlements:
            known = self.alerts.get(given.key)
            if known is None:
                continue
            if given.disposition not in TOLD_BY_THEIR_INCIDENT:
                self.entries += (known.disposition, known.gate) != (given.disposition, given.gate)
            if given.disposition is not Disposition.RESOLVED or given.incident is not None:
                known.incident = given.incident
            known.disposition, known.gate = given.disposition, given.gate
            known.service, known.text = given.service, given.text.replace("\0", "\ufffd")
        self.call(True, self.store.settle(settlements, self.now))

    @rule(service=SERVICES)
    def open_incident(self, service: str) -> None:
        allowed = not any(incident.open and incident.service == service for incident in self.incidents.values())
        incident = self.call(allowed, self.store.open_incident(new_incident(service, at=self.now)))
        if allowed:
            assert incident.id > max(self.incidents, default=0)
            self.incidents[incident.id] = incident
            self.entries += 1

    @rule(id=IDS, step=st.integers(-1, 2), attempt=st.integers(1, 2), text=TEXT)
    def begin_step(self, id: int, step: int, attempt: int, text: str) -> None:
        mine = [run for run in self.runs.values() if run.incident == id]
        fresh = all((run.step, run.attempt) != (step, attempt) and not run.running for run in mine)
        allowed = self.opened(id) and fresh
        run = self.call(
            allowed, self.store.begin_step(id, step, attempt, "restart", text, "call", self.now, self.now + 1)
        )
        if allowed:
            assert (run.text, run.running, run.service) == (text, True, self.incidents[id].service)
            assert run.id > max(self.runs, default=0)
            self.runs[run.id] = run
            self.change(id, hold=None)
            self.entries += 1

    @rule(id=IDS, outcome=st.sampled_from(Outcome), output=TEXT)
    def end_step(self, id: int, outcome: Outcome, output: str) -> None:
        allowed = id in self.runs and self.runs[id].running
        result = Result(outcome, "it ended", 1, output)
        ended = self.call(allowed, self.store.end_step(id, result, self.now))
        if allowed:
            self.runs[id] = msgspec.structs.replace(
                self.runs[id], ended_at=ended.ended_at, outcome=outcome, text="it ended", exit_code=1, output=output
            )
            assert ended == self.runs[id]
            self.entries += 1

    @rule(id=IDS, step=st.integers(0, 2))
    def pass_over(self, id: int, step: int) -> None:
        fresh = all((run.incident, run.step, run.attempt) != (id, step, 0) for run in self.runs.values())
        allowed = self.opened(id) and fresh
        run = self.call(allowed, self.store.pass_over(id, step, "restart", "if is false", self.now))
        if allowed:
            self.runs[run.id] = run
            self.entries += 1

    @rule(
        id=IDS,
        hold=st.none() | st.builds(Hold, st.sampled_from(["paused", "rate"]), TEXT, st.none() | st.floats(0, T0)),
    )
    def hold_incident(self, id: int, hold: Hold | None) -> None:
        allowed = self.opened(id)
        self.call(allowed, self.store.hold_incident(id, hold, self.now))
        if allowed:
            before = self.incidents[id].hold
            self.entries += (before and before.gate) != (hold and hold.gate)
            self.change(id, hold=hold)

    @rule(id=IDS, step=st.integers(0, 2))
    def offer_step(self, id: int, step: int) -> None:
        allowed = self.opened(id)
        self.call(allowed, self.store.offer_step(id, step))
        if allowed:
            self.change(id, offered=step)

    @rule(id=IDS, verdict=st.sampled_from(Verdict))
    def close_incident(self, id: int, verdict: Verdict) -> None:
        allowed = self.opened(id)
        if verdict is Verdict.DISMISSED:
            # People do not dismiss what runs.
            allowed &= not any(run.running for run in self.runs.values() if run.incident == id)
        closed = self.call(allowed, self.store.close_incident(id, verdict, "why", Health.HEALTHY, self.now))
        if allowed:
            self.change(id, closed_at=closed.closed_at, verdict=verdict, closing="why", hold=None)
            if verdict is Verdict.RECOVERED:
                for run in [run for run in self.runs.values() if run.incident == id]:
                    self.runs[run.id] = msgspec.structs.replace(run, redeemed=True)
            self.entries += 1

    @rule(id=IDS, approved=st.booleans())
    def answer(self, id: int, approved: bool) -> None:
        allowed = self.opened(id) and self.incidents[id].approval is None
        given = Approval(approved, "ada", "", self.now)
        self.call(allowed, self.store.answer(id, given))
        if allowed:
            self.change(id, approval=given)
            self.entries += 1

    @precondition(lambda self: self.incidents or self.alerts)
    @rule()
    def restart(self) -> None:
        self.runner.run(self.store.close())
        self.open()

    @invariant()
    def alerts_agree(self) -> None:
        stored = self.runner.run(self.store.alerts_since(0))
        assert [
            AlertModel(one.alert, one.service, one.disposition, one.gate, one.text, one.incident) for one in stored
        ] == list(self.alerts.values())
        firing = self.runner.run(self.store.firing_alerts())
        assert firing == [one for one in stored if one.alert.firing]

    @invariant()
    def incidents_agree(self) -> None:
        expected = [
            msgspec.structs.replace(incident, runs=tuple(run for run in self.runs.values() if run.incident == id))
            for id, incident in self.incidents.items()
        ]
        assert self.runner.run(self.store.incidents(limit=1000)) == expected[::-1]
        assert self.runner.run(self.store.open_incidents()) == [one for one in expected if one.open]

    @invariant()
    def every_change_is_in_the_journal_once(self) -> None:
        entries = self.runner.run(self.store.journal(limit=100_000))
        assert len(entries) == self.entries
        assert all(first.id < second.id for first, second in pairwise(entries))


@pytest.mark.parametrize("name", OPENERS)
def test_the_store_is_as_its_model(name: str) -> None:
    machine = type("Machine", (StoreMachine,), {"opener": staticmethod(OPENERS[name])})
    machine.TestCase.settings = settings(max_examples=30, stateful_step_count=30)
    machine.TestCase("runTest").runTest()

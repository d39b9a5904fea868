"""What is remembered: incidents, their step runs, holds, pauses and journal entries. Plain immutable data."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from remediator.model.action import Outcome
from remediator.model.alert import Alert, Source
from remediator.model.clock import SystemClock
from remediator.model.gate import Gate
from remediator.model.health import Health
from remediator.model.matcher import Labels, Matcher, matches_all
from remediator.model.rules import Plan


class Verdict(StrEnum):
    """How an incident closed."""

    RECOVERED = "recovered"
    """A step was run and the service was then seen healthy for long enough."""
    CLEARED = "cleared"
    """The trouble went away before anything was run."""
    EXHAUSTED = "exhausted"
    """No step is left and the service is not healthy: people are needed."""
    SUPERSEDED = "superseded"
    """The trouble became one for another runbook."""
    DISMISSED = "dismissed"
    """An operator closed it."""


class Disposition(StrEnum):
    """What became of an accepted alert."""

    OPENED = "opened"
    JOINED = "joined"
    HELD = "held"
    NOT_CORROBORATED = "not_corroborated"
    NOT_ACTIONABLE = "not_actionable"
    """Its severity asks for nothing to be done."""
    NO_SERVICE = "no_service"
    NO_RUNBOOK = "no_runbook"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    OWN = "own"
    """A page of remediator's own that came back by way of Alertmanager."""


class Hold(msgspec.Struct, frozen=True):
    """A gate's reason not to act now.

    `until` is when it will certainly look otherwise, or None. `way_out` is what would change it before, as a sentence.
    `since` is when this gate began to hold, once that is written down.
    """

    gate: Gate
    text: str
    until: float | None = None
    way_out: str = ""
    since: float = 0.0


UNWATCHED = 7.0
"""Seconds by which a command may outlive its deadline when its owner does not see to it: the watchdog's TERM to KILL, and
what may pass between the commit of its start and the start (`steps.LATE`)."""


class StepRun(msgspec.Struct, frozen=True):
    """One execution of one step. `step` is its index in the runbook; DIAGNOSE is the gathering of evidence, UNDO the
    taking back of what an earlier step did.

    While it runs `ended_at` and `outcome` are None. `deadline` is the time at which it is certainly over.
    """

    id: int
    incident: int
    service: str
    runbook: str
    step: int
    attempt: int
    action: str
    started_at: float
    deadline: float
    ended_at: float | None = None
    outcome: Outcome | None = None
    text: str = ""
    call: str = ""
    output: str = ""
    exit_code: int | None = None
    redeemed: bool = False
    """Whether its incident recovered, so that it no longer counts against the runbook's rate budget."""

    @property
    def running(self) -> bool:
        return self.ended_at is None

    @property
    def latest_end(self) -> float:
        """The latest time at which an orphaned run can still be at work. It is at most one whole run after it was given
        up, because the stored deadline may come from a clock that was set back later."""
        limit = self.deadline - self.started_at
        deadline = self.deadline if self.ended_at is None else min(self.deadline, self.ended_at + limit)
        return deadline + UNWATCHED + SystemClock.CATCHES_UP * limit

    def may_be_at_work(self, now: float) -> bool:
        """Whether it may still be at work though it was given up."""
        return self.outcome is Outcome.UNKNOWN and now < self.latest_end

    @property
    def title(self) -> str:
        """What it is called before people: `step 2, restart`, `evidence`, or `puts back, restore`."""
        if self.step >= 0:
            return f"step {self.step + 1}, {self.action}" + (f", attempt {self.attempt}" if self.attempt > 1 else "")
        return "evidence" if self.step == DIAGNOSE else f"puts back, {self.action}"


DIAGNOSE, UNDO = -1, -2


class Approval(msgspec.Struct, frozen=True):
    """An operator's answer to an incident that asked."""

    approved: bool
    author: str
    comment: str
    at: float


class Incident(msgspec.Struct, frozen=True):
    """One episode of one service being unhealthy. Open while `closed_at` is None.

    `labels` are the merged labels of the service and the alert that opened it; `thresholds` the names of those that
    were breached: each has to be seen healthy before it counts as recovered. `forced` says that an operator
    asked for it: cooldown and mode do not hold it. `relapse_of` is the incident whose recovery did not last; its steps
    then begin at `first_step`, with `first_attempt`. `owes` names the actions that take back what earlier incidents
    left behind.
    """

    id: int
    service: str
    runbook: str
    opened_at: float
    health: Health
    text: str
    plan: Plan
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    source: Source = Source.ALERTMANAGER
    thresholds: tuple[str, ...] = ()
    forced: bool = False
    relapse_of: int | None = None
    first_step: int = 0
    first_attempt: int = 1
    owes: tuple[str, ...] = ()
    offered: int = -1
    """The index of the last step whose `if` was true when it was decided."""
    hold: Hold | None = None
    approval: Approval | None = None
    closed_at: float | None = None
    verdict: Verdict | None = None
    closing: str = ""
    runs: tuple[StepRun, ...] = ()

    def left_over(self, now: float) -> StepRun | None:
        """What was given up and may still be at work: of several the one that is certainly over last."""
        return max((run for run in self.runs if run.may_be_at_work(now)), key=lambda run: run.latest_end, default=None)

    @property
    def open(self) -> bool:
        return self.closed_at is None

    @property
    def running(self) -> StepRun | None:
        """The step run under way; the store sees to it that there is at most one."""
        return next((run for run in self.runs if run.running), None)

    @property
    def last_run(self) -> StepRun | None:
        """The last execution of a step that really ran, evidence aside."""
        ran = (run for run in reversed(self.runs) if run.step != DIAGNOSE)
        return next((run for run in ran if run.outcome is None or run.outcome.ran), None)

    @property
    def idle_since(self) -> float:
        """Since when nothing has been done about it: the end of the last run, or its opening."""
        return max([self.opened_at, *(run.ended_at or run.deadline for run in self.runs if run.step != DIAGNOSE)])

    @property
    def owed(self) -> tuple[str, ...]:
        """The actions that still have to take back what was done, in the order in which it was done. A step whose end
        is not known, or that failed, may have done it all the same."""
        owed = dict.fromkeys(self.owes)
        for run in self.runs:
            if run.step == UNDO and run.outcome is Outcome.SUCCEEDED:
                owed.pop(run.action, None)
            elif 0 <= run.step < len(self.plan.runbook.steps) and (run.outcome is None or run.outcome.ran):
                step = self.plan.runbook.steps[run.step]
                spec = step.spec or self.plan.spec(step.action)
                if spec is not None and spec.undo:
                    owed[spec.undo] = None
        return tuple(owed)


class IncidentSummary(msgspec.Struct, frozen=True):
    """How an incident ended, as later ones look back on it."""

    id: int
    service: str
    closed_at: float
    verdict: Verdict
    relapse_of: int | None = None
    ran: bool = True
    """Whether a command of a step was started, or may have been."""


class StoredAlert(msgspec.Struct, frozen=True):
    """An alert with what became of it. `seq` grows with every change, so that readers can follow."""

    seq: int
    alert: Alert
    received_at: float
    updated_at: float
    service: str = ""
    disposition: Disposition | None = None
    gate: str = ""
    text: str = ""
    incident: int | None = None


class Settlement(msgspec.Struct, frozen=True):
    """What became of one alert, to be written down."""

    key: tuple[str, float]
    disposition: Disposition
    text: str
    service: str = ""
    gate: str = ""
    incident: int | None = None


class Pause(msgspec.Struct, frozen=True):
    """Like a silence, for healing. No matchers means every service. It ends by itself at `ends_at`."""

    id: int
    matchers: tuple[Matcher, ...]
    starts_at: float
    ends_at: float
    author: str
    comment: str

    def holds(self, labels: Labels, now: float) -> bool:
        """Whether it keeps a service with these labels from being healed at this time."""
        return self.starts_at <= now < self.ends_at and matches_all(self.matchers, labels)


class EntryKind(StrEnum):
    """What a journal entry tells."""

    INCIDENT_OPENED = "incident_opened"
    INCIDENT_CLOSED = "incident_closed"
    HELD = "held"
    RELEASED = "released"
    STEP_STARTED = "step_started"
    STEP_ENDED = "step_ended"
    PASSED_OVER = "passed_over"
    ANSWERED = "answered"
    ALERT_SETTLED = "alert_settled"
    """Written only for an alert that neither opened nor joined an incident."""
    ALERT_REFUSED = "alert_refused"
    """An alert of a notification could not be read; the others were taken."""
    PAUSED = "paused"
    RESUMED = "resumed"
    SERVICE_ADDED = "service_added"
    SERVICE_REMOVED = "service_removed"


class Entry(msgspec.Struct, frozen=True):
    """One line of the journal, in the order in which things were committed. `text` is the sentence people read."""

    id: int
    at: float
    kind: EntryKind
    text: str
    service: str = ""
    incident: int | None = None
    run: int | None = None
    data: dict[str, Any] = {}

"""When a service is decided on again though nothing happened to it, and what can change the decision before that."""

from __future__ import annotations

import enum
import math

import msgspec

from remediator.decision import decide as d
from remediator.decision.case import Case
from remediator.decision.gates import OWN, lasting

EVERY = 15.0
"""Maximum seconds until a hold or a wait is checked again."""


class WaitsOn(enum.Enum):
    """What can change a decision before the time of its recheck."""

    TIME = "time"
    """Time itself, and everything that is asked at each check."""
    SERVICE = "service"
    """Only what happens to the service itself."""
    FLEET = "fleet"
    """What happens to the service, or to other services."""


class Recheck(msgspec.Struct, frozen=True):
    """Decide again at `until`, and at least every `every` seconds."""

    until: float
    every: float = math.inf
    waits_on: WaitsOn = WaitsOn.TIME


def recheck(case: Case, decision: d.Decision) -> Recheck | None:
    """The recheck that a decision needs. None if carrying it out makes something happen, or if nothing is wrong."""
    match decision:
        case d.Held(hold):
            until = math.inf if hold.until is None else hold.until
            if not lasting(case, hold):
                return Recheck(until, EVERY)
            own = case.incident is None or hold.gate in OWN
            return Recheck(until, EVERY, WaitsOn.SERVICE if own else WaitsOn.FLEET)
        case d.Wait(_, until) if case.incident is None:
            return Recheck(until)
        case d.Wait(_, until):
            return Recheck(until, case.policy.look_every, WaitsOn.SERVICE)
        case d.Idle() if not case.alerts and case.previous is not None and case.previous.owed:
            return Recheck(math.inf, EVERY, WaitsOn.SERVICE)
    return None

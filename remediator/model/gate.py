"""The gates by name, each with what the rest of the program has to know of it.

The names are the values of metric labels, journal entries and stored holds. What a gate asks, and in which order gates are
asked, is in `decision.gates`.
"""

from __future__ import annotations

from enum import Enum, Flag, StrEnum, auto
from typing import Self


class Paging(Enum):
    """How people hear of a hold."""

    NEVER = auto()
    """Not at all: somebody has said that nothing is to be done."""
    OWN = auto()
    """At once, by a page of its own."""
    ROOT = auto()
    """By a page about the service that is waited for."""
    FLEET = auto()
    """By one page for all services."""
    BLOCKED = auto()
    """By RemediationBlocked, after `escalate.after`."""


class Trait(Flag):
    """What may be true of a gate."""

    OPENING = auto()
    """It is also asked before an incident is opened: without it there is no episode to speak of."""
    UNDOING = auto()
    """It is also asked before something is put back, which needs no permission but eyes and a free hand."""
    FLEET = auto()
    """Other services may cause or release its hold."""
    UNTIMED = auto()
    """Its hold may end at any time, and nothing wakes the service then."""
    BRIEF = auto()
    """It holds a heal up, but not for good: the page to people goes on being held back."""
    PAGES_ALERTS = auto()
    """Its hold is worth a page though there is no incident yet. Any other then says that all is as it should be."""
    TELLS_DEED = auto()
    """Its hold says what would be run, and is worth an annotation."""


class Gate(StrEnum):
    """Every reason not to act now. A member states its name, how people hear of it, and all its traits."""

    AUTO_HEAL = "auto_heal", Paging.NEVER, Trait.UNDOING | Trait.TELLS_DEED
    OBSERVE = "observe", Paging.NEVER, Trait.UNDOING | Trait.TELLS_DEED
    PAUSED = "paused", Paging.NEVER, Trait.UNDOING
    MAINTENANCE = "maintenance", Paging.NEVER, Trait.UNDOING
    SILENCED = "silenced", Paging.NEVER, Trait.OPENING
    INHIBITED = "inhibited", Paging.NEVER, Trait.OPENING
    MUTED = "muted", Paging.NEVER, Trait.OPENING
    SETTLING = "settling", Paging.BLOCKED, Trait.UNDOING | Trait.BRIEF
    BLIND = "blind", Paging.BLOCKED, Trait.OPENING | Trait.UNDOING | Trait.PAGES_ALERTS
    NOT_CORROBORATED = "not_corroborated", Paging.NEVER, Trait.OPENING
    TARGET_UNREACHABLE = "target_unreachable", Paging.BLOCKED, Trait(0)
    DEPENDENCY = "dependency", Paging.ROOT, Trait.FLEET | Trait.BRIEF
    PANIC = "panic", Paging.FLEET, Trait.FLEET | Trait.UNTIMED
    BREAKER = "breaker", Paging.OWN, Trait.OPENING | Trait.PAGES_ALERTS
    COOLDOWN = "cooldown", Paging.BLOCKED, Trait.OPENING
    RATE_BUDGET = "rate_budget", Paging.BLOCKED, Trait.FLEET
    BLAST_RADIUS = "blast_radius", Paging.BLOCKED, Trait.FLEET | Trait.BRIEF
    CONCURRENCY = "concurrency", Paging.BLOCKED, Trait.UNDOING | Trait.FLEET | Trait.UNTIMED | Trait.BRIEF
    GUARD = "guard", Paging.BLOCKED, Trait(0)
    APPROVAL = "approval", Paging.OWN, Trait(0)

    paging: Paging
    traits: Trait

    def __new__(cls, name: str, paging: Paging, traits: Trait) -> Self:
        """Make a member whose value is its name."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.paging, member.traits = paging, traits
        return member

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """A gate of a later version, read from a store that replicas of both versions share during an upgrade."""
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_, member._value_ = value.upper(), value
        member.paging, member.traits = Paging.BLOCKED, Trait(0)
        return member

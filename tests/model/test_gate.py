"""The gates' names and traits: every gate states them, and what is written with a name is read again."""

from __future__ import annotations

import msgspec
import pytest

from remediator.model.gate import Gate, Paging, Trait
from remediator.model.incident import Hold

TRAITS: dict[Gate, tuple[Paging, Trait]] = {
    Gate.AUTO_HEAL: (Paging.NEVER, Trait.UNDOING | Trait.TELLS_DEED),
    Gate.OBSERVE: (Paging.NEVER, Trait.UNDOING | Trait.TELLS_DEED),
    Gate.PAUSED: (Paging.NEVER, Trait.UNDOING),
    Gate.MAINTENANCE: (Paging.NEVER, Trait.UNDOING),
    Gate.SILENCED: (Paging.NEVER, Trait.OPENING),
    Gate.INHIBITED: (Paging.NEVER, Trait.OPENING),
    Gate.MUTED: (Paging.NEVER, Trait.OPENING),
    Gate.SETTLING: (Paging.BLOCKED, Trait.UNDOING | Trait.BRIEF),
    Gate.BLIND: (Paging.BLOCKED, Trait.OPENING | Trait.UNDOING | Trait.PAGES_ALERTS),
    Gate.NOT_CORROBORATED: (Paging.NEVER, Trait.OPENING),
    Gate.TARGET_UNREACHABLE: (Paging.BLOCKED, Trait(0)),
    Gate.DEPENDENCY: (Paging.ROOT, Trait.FLEET | Trait.BRIEF),
    Gate.PANIC: (Paging.FLEET, Trait.FLEET | Trait.UNTIMED),
    Gate.BREAKER: (Paging.OWN, Trait.OPENING | Trait.PAGES_ALERTS),
    Gate.COOLDOWN: (Paging.BLOCKED, Trait.OPENING),
    Gate.RATE_BUDGET: (Paging.BLOCKED, Trait.FLEET),
    Gate.BLAST_RADIUS: (Paging.BLOCKED, Trait.FLEET | Trait.BRIEF),
    Gate.CONCURRENCY: (Paging.BLOCKED, Trait.UNDOING | Trait.FLEET | Trait.UNTIMED | Trait.BRIEF),
    Gate.GUARD: (Paging.BLOCKED, Trait(0)),
    Gate.APPROVAL: (Paging.OWN, Trait(0)),
}
"""What is to be true of each gate. A new one is written down here too, after thinking about each trait."""


def test_every_gate_has_its_traits_stated() -> None:
    assert {gate: (gate.paging, gate.traits) for gate in Gate} == TRAITS


def test_a_gate_without_traits_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        Gate.__new_member__(Gate, "forgetful")  # type: ignore[attr-defined]


@pytest.mark.parametrize("gate", Gate)
def test_a_hold_is_read_as_it_was_written(gate: Gate) -> None:
    written = msgspec.json.encode(Hold(gate, "holds"))
    read = msgspec.json.decode(written, type=Hold)
    assert read.gate is gate
    assert f'"gate":"{gate}"'.encode() in written


def test_the_gate_of_a_later_version_is_still_a_gate() -> None:
    hold = msgspec.json.decode(b'{"gate":"not_yet_known","text":"holds"}', type=Hold)
    assert (hold.gate, hold.gate.paging, hold.gate.traits) == ("not_yet_known", Paging.BLOCKED, Trait(0))
    assert msgspec.json.decode(msgspec.json.encode(hold), type=Hold) == hold

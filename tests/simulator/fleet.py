"""Random fleets: services and what depends on what, runbooks with limits, and everything that happens to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml
from hypothesis import strategies as st

from remediator.config.policy import Policy
from remediator.model.rules import Rate, Share

MINUTES = 40
"""How long a story is."""

CURES = ("works", "nothing", "fails", "hangs", "harms", "flaps", "breaks the first")
"""What a restart does: cure the service, nothing, exit with 1, never end, cure it and break the next one, cure it for a
minute, or break the service that others depend on."""


@dataclass(frozen=True)
class Fleet:
    """What a story is told of. `depends_on` has the indexes of each service's dependencies, all smaller than its own."""

    depends_on: tuple[tuple[int, ...], ...]
    cures: tuple[str, ...]
    second: tuple[int, ...]
    """The services that the second runbook is for."""
    runbooks: tuple[dict[str, Any], ...]
    policy: Policy

    @property
    def names(self) -> list[str]:
        return [f"s{index}" for index in range(len(self.depends_on))]

    @property
    def rules(self) -> str:
        """The rule file."""
        services = [
            {
                "name": name,
                "labels": {"book": "second" if index in self.second else "first"},
                "depends_on": [f"s{other}" for other in self.depends_on[index]],
                "target": {
                    "command": {
                        "restart": ["ctl", "restart", name],
                        "rollback": ["ctl", "rollback", name],
                        "circuit_break": {"run": ["ctl", "out", name], "undo": "restore"},
                        "restore": ["ctl", "in", name],
                        "diagnose": ["ctl", "diagnose", name],
                    }
                },
            }
            for index, name in enumerate(self.names)
        ]
        thresholds = [
            # The last service is judged by its alerts alone.
            {"name": "errors", "expr": "errors", "failed": "> 0.1", "match": [f'service!="{self.names[-1]}"']}
        ]
        runbooks = [
            {"name": name, "match": [f'book="{name}"'], **runbook}
            for name, runbook in zip(("first", "second"), self.runbooks, strict=True)
        ]
        return yaml.safe_dump({"services": services, "thresholds": thresholds, "runbooks": runbooks})


def _seconds(*choices: int) -> st.SearchStrategy[str]:
    return st.sampled_from([f"{choice}s" for choice in choices])


RATES = st.lists(st.sampled_from(["1/5m", "2/10m", "3/1h", "5/1h"]), max_size=2, unique=True)
STEPS = st.lists(
    st.sampled_from(
        [
            "restart",
            "rollback",
            "circuit_break",
            {"restart": None, "attempts": 2, "timeout": "20s"},
            {"restart": None, "on_interrupt": "rerun", "timeout": "20s"},
            {"rollback": None, "on_interrupt": "escalate", "timeout": "20s"},
            {"restart": None, "unless": "rollout"},
            {"rollback": None, "if": "rollout"},
        ]
    ),
    min_size=1,
    max_size=3,
)
LIMITS = st.fixed_dictionaries(
    {"cooldown": _seconds(0, 60, 300), "relapse": _seconds(0, 120, 600)},
    optional={
        "rate": RATES,
        "blast_radius": st.sampled_from(["1", "2", "25%", "50%"]),
        "breaker": st.sampled_from(["1/10m", "2/20m"]),
    },
)
RUNBOOKS = st.fixed_dictionaries(
    {
        "steps": STEPS,
        "mode": st.sampled_from(["auto", "auto", "auto", "approve", "observe"]),
        "corroborate": st.booleans(),
        "verify": st.fixed_dictionaries({"healthy_for": _seconds(0, 10), "within": _seconds(15, 60)}),
        "limits": LIMITS,
        "approve_within": _seconds(120, 600),
    }
)
POLICIES = st.builds(
    Policy,
    auto_heal=st.sampled_from([True, True, True, False]),
    settle=st.sampled_from([0.0, 0.0, 10.0]),
    concurrent=st.integers(1, 3),
    rate=st.sampled_from([(Rate(30, 3600.0),), (Rate(2, 300.0), Rate(6, 1800.0))]),
    panic=st.sampled_from([Share(50.0, percent=True), Share(100.0, percent=True)]),
)


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """A fleet of three to seven services."""
    size = draw(st.integers(3, 7))
    depends_on = tuple(
        tuple(draw(st.lists(st.integers(0, index - 1), max_size=2, unique=True)) if index else ())
        for index in range(size)
    )
    cures = tuple(draw(st.lists(st.sampled_from(CURES), min_size=size, max_size=size)))
    second = tuple(draw(st.lists(st.integers(0, size - 1), max_size=size, unique=True)))
    runbooks = (draw(RUNBOOKS), draw(RUNBOOKS))
    return Fleet(depends_on, cures, second, runbooks, draw(POLICIES))


@dataclass(frozen=True)
class Act:
    """Something that happens `at` seconds into the story, to a service by its index."""

    at: int
    what: str
    who: int = 0
    how_long: int = 0
    turns: int = 0
    """How many turns of the event loop a crash lets pass: it may come at any await."""


ACTS = (
    "breaks",
    "breaks",
    "breaks",
    "mends",
    "fires",
    "fires falsely",
    "resolves",
    "sends again",
    "blackout",
    "pauses one",
    "pauses all",
    "silences",
    "approves",
    "denies",
    "asks",
    "forces",
    "crashes",
    "dies in the middle",
    "dies in the middle",
    "rollout",
    "all break",
)


def acts(size: int) -> st.SearchStrategy[list[Act]]:
    """What happens, in order."""
    one = st.builds(
        Act,
        at=st.integers(0, (MINUTES - 10) * 12).map(lambda n: n * 5),
        what=st.sampled_from(ACTS),
        who=st.integers(0, size - 1),
        how_long=st.sampled_from([20, 60, 300]),
        turns=st.integers(0, 80),
    )
    return st.lists(one, min_size=1, max_size=14).map(lambda found: sorted(found, key=lambda act: act.at))


STORIES = fleets().flatmap(lambda fleet: st.tuples(st.just(fleet), acts(len(fleet.depends_on))))

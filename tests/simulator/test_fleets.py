"""Thousands of random fleets in random trouble, on virtual time: no gate's promise is ever broken.

How many: SIMULATIONS in the environment, a few hundred otherwise.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from simulator.fleet import MINUTES, STORIES, Act, Fleet
from simulator.witness import Witness

from remediator.errors import ConflictError
from remediator.model.matcher import parse_matcher
from remediator.model.rulebook import Rulebook
from remediator.model.silence import Silence
from remediator.rules.loader import load_rules
from remediator.simulation.scenario import Scenario
from remediator.simulation.scripted import Effect
from remediator.simulation.virtual_loop import run_virtually

SIMULATIONS = int(os.environ.get("SIMULATIONS", "250"))


class Story:
    """One fleet and what happens to it."""

    def __init__(self, fleet: Fleet, scenario: Scenario, witness: Witness) -> None:
        self.fleet = fleet
        self.scenario = scenario
        self.witness = witness
        self.judged = fleet.names[:-1]

    def breaks(self, name: str) -> None:
        """A service turns bad."""
        if name in self.judged:
            self.scenario.set("errors", 0.5, service=name)
        self.witness.bad_since.setdefault(name, self.scenario.environment.now)

    def mends(self, name: str) -> None:
        """A service is well."""
        if name in self.judged:
            self.scenario.set("errors", 0.0, service=name)
        self.witness.bad_since.pop(name, None)

    def cured(self, name: str) -> None:
        """What a restart does to a service."""
        cure = self.fleet.cures[int(name[1:])]
        if cure in ("works", "harms", "flaps"):
            self.mends(name)
        if cure == "harms":
            self.breaks(self.fleet.names[(int(name[1:]) + 1) % len(self.fleet.names)])
        if cure == "flaps":
            self.scenario.at(self.scenario.now + 60, lambda: self.breaks(name))
        if cure == "breaks the first":
            self.breaks("s0")

    async def told(self, acts: list[Act]) -> None:
        """Everything that happens, and time to come to rest."""
        for name in self.fleet.names:
            cure = self.fleet.cures[int(name[1:])]
            effect = Effect(
                takes=3.0,
                exit_code=int(cure == "fails"),
                hangs=cure == "hangs",
                then=lambda name=name: self.cured(name),  # type: ignore[misc]
            )
            self.scenario.command(f"ctl restart {name}", effect)
            self.scenario.command(f"ctl rollback {name}", Effect(takes=5.0, then=lambda name=name: self.mends(name)))  # type: ignore[misc]
        for act in acts:
            await self.scenario.pass_until(max(self.scenario.now, act.at))
            await self.happens(act)
        await self.scenario.pass_until(MINUTES * 60)

    async def happens(self, act: Act) -> None:
        scenario, name = self.scenario, self.fleet.names[act.who]
        match act.what:
            case "breaks":
                self.breaks(name)
                if name not in self.judged:
                    await scenario.fire("Down", service=name, severity="critical")
            case "all break":
                for every in self.fleet.names:
                    self.breaks(every)
            case "mends":
                self.mends(name)
            case "fires" | "fires falsely":
                await scenario.fire("Errors", service=name, severity="critical")
            case "resolves":
                for stored in await scenario.alerts():
                    if stored.alert.firing and stored.alert.source == "alertmanager":
                        await scenario.resolve(stored.alert)
            case "sends again":
                assert scenario.process is not None
                for stored in await scenario.alerts():
                    if stored.alert.source == "alertmanager":
                        await scenario.process.intake([stored.alert] * 3)
            case "blackout":
                self.dark()
                scenario.at(scenario.now + act.how_long, self.light)
            case "pauses one":
                await scenario.pause(f'service="{name}"', for_=act.how_long)
            case "pauses all":
                await scenario.pause(for_=act.how_long)
            case "silences":
                assert scenario.process is not None
                now = scenario.environment.now
                matchers = (parse_matcher(f'service="{name}"'),)
                scenario.process.engine.on_silences((Silence("1", matchers, now, now + act.how_long, "ada"),))
            case "approves" | "denies":
                for incident in await scenario.open_incidents():
                    try:
                        await (scenario.approve if act.what == "approves" else scenario.deny)(incident.id)
                    except ConflictError:
                        continue
            case "asks" | "forces":
                await scenario.heal(name, "please", force=act.what == "forces")
            case "crashes":
                self.witness.counted()
                await scenario.crash()
                await asyncio.sleep(act.how_long)
                await scenario.boot()
            case "dies in the middle":
                self.breaks(name)
                await scenario.fire("Errors", service=name, severity="critical")
                for _ in range(act.turns):
                    await asyncio.sleep(0)
                self.witness.counted()
                await scenario.crash()
                await asyncio.sleep(act.how_long)
                await scenario.boot()
            case "rollout":
                scenario.set("rollout", 1)
                scenario.at(scenario.now + act.how_long, lambda: scenario.set("rollout", 0))

    def dark(self) -> None:
        self.scenario.prometheus_down()
        if self.witness.dark_since is None:
            self.witness.dark_since = self.scenario.environment.now

    def light(self) -> None:
        self.scenario.prometheus_up()
        self.witness.dark_since, self.witness.light_since = None, self.scenario.environment.now


async def simulated(fleet: Fleet, rulebook: Rulebook, acts: list[Act]) -> list[str]:
    """Tell the story; the promises that were not kept."""
    scenario = Scenario(rulebook, fleet.policy)
    witness = Witness(scenario, fleet)
    scenario.environment.run = witness.run  # type: ignore[method-assign]
    for name in fleet.names[:-1]:
        scenario.set("errors", 0.0, service=name)
    try:
        await scenario.boot()
        await Story(fleet, scenario, witness).told(acts)
        return await witness.at_the_end()
    finally:
        await scenario.close()


@settings(
    max_examples=SIMULATIONS,
    derandomize="SIMULATIONS" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(STORIES)
def test_no_promise_is_broken(story: tuple[Fleet, list[Act]]) -> None:
    fleet, acts = story
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(fleet.rules)
        file.flush()
        rulebook, _ = load_rules([Path(file.name)], service_label="service")
    broken = run_virtually(lambda: simulated(fleet, rulebook, acts))
    assert broken == []

"""How many simulated hours a second a rehearsal plays, beside the bare cost of its decisions. Prints a table.

    python tests/bench/rehearsal.py [--worlds 20] [--services 10]

Three kinds of worlds of so many services: calm, with some trouble (each service fails every few days and a restart
helps seven times out of ten), and with one service that fails for good, so that something is decided every 15 seconds.
The bare cost is that of deciding the same cases again, without anything around it. The last column is how much longer
the same worlds take when every look is made.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from remediator.decision import decide
from remediator.decision.case import Case
from remediator.model.rulebook import Rulebook
from remediator.rules.loader import load_rules
from remediator.simulation.scenario import Scenario, rehearse
from remediator.simulation.scripted import Effect

Story = Callable[[Scenario], Awaitable[None]]
HOUR = 3600.0


def rules(services: int, folder: Path) -> Rulebook:
    """Plain services with a restart and a rollback."""
    names = [f"service-{number}" for number in range(services)]
    own = "{command: {restart: [ctl, restart, '{{ service.name }}'], rollback: [ctl, rollback, '{{ service.name }}']}}"
    file = folder / "rules.yml"
    file.write_text(
        "services:\n"
        + "".join(f"  - {{name: {name}, target: {own}}}\n" for name in names)
        + "thresholds:\n"
        + "  - {name: error_ratio, expr: error_ratio, degraded: '>= 0.05', failed: '> 0.10', for: 15s, keep_for: 30s}\n"
        + "runbooks:\n"
        + "  - {name: web, steps: [restart, rollback], verify: {healthy_for: 30s, within: 2m}, limits: {cooldown: 5m}}\n"
    )
    return load_rules([file], service_label="service")[0]


def calm(scenario: Scenario) -> None:
    for name in scenario.rulebook.named:
        scenario.set("error_ratio", 0.0, service=name)


def story(kind: str, seed: int, hours: float) -> Story:
    dice = random.Random(seed)

    async def played(scenario: Scenario) -> None:
        calm(scenario)
        for name in scenario.rulebook.named:

            def heal(chance: float, name: str = name) -> None:
                scenario.set("error_ratio", 0.0 if dice.random() < chance else 0.2, service=name)

            scenario.command(f"ctl restart {name}", Effect(takes=3, then=lambda heal=heal: heal(0.7)))
            scenario.command(f"ctl rollback {name}", Effect(takes=9, then=lambda heal=heal: heal(1.0)))
        if kind == "some trouble":
            for name in scenario.rulebook.named:
                at = dice.expovariate(1 / (72 * HOUR))
                while at < hours * HOUR:
                    scenario.at(at, lambda name=name: scenario.set("error_ratio", 0.2, service=name))
                    at += dice.expovariate(1 / (72 * HOUR))
        if kind == "one fails for good":
            for command in ("restart", "rollback"):
                scenario.command(f"ctl {command} service-0", Effect())
            scenario.set("error_ratio", 0.2, service="service-0")
        await scenario.pass_until(hours * HOUR)

    return played


def measure(kind: str, worlds: int, rulebook: Rulebook) -> list[str]:
    hours = {"calm": 2000.0, "some trouble": 168.0, "one fails for good": 2.0}[kind]
    cases: list[Case] = []
    bare = decide.decide

    def noted(case: Case) -> decide.Decision:
        cases.append(case)
        return bare(case)

    looks = 0

    def played(*, leap: bool) -> float:
        nonlocal looks
        looks = 0
        started = time.perf_counter()
        for seed in range(worlds):
            told = story(kind, seed, hours)

            async def counted(scenario: Scenario, told: Story = told) -> None:
                nonlocal looks
                await told(scenario)
                looks += scenario.environment.asked

            rehearse(rulebook, counted, leap=leap)
        return time.perf_counter() - started

    played(leap=True)  # What is made once, such as compiled templates, is not counted.
    took = played(leap=True)
    seen = looks
    decide.decide = noted
    played(leap=True)
    decide.decide = bare
    started = time.perf_counter()
    for case in cases:
        bare(case)
    deciding = time.perf_counter() - started
    slow = played(leap=False) if kind != "calm" else float("nan")
    simulated = hours * worlds
    return [
        kind,
        f"{simulated:,.0f}",
        f"{took:.2f}",
        f"{simulated / took:,.0f}",
        f"{seen:,}",
        f"{len(cases):,}",
        f"{took / deciding:.1f}" if cases else "",
        "" if slow != slow else f"{slow / took:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--services", type=int, default=10)
    args = parser.parse_args()
    table = Table(title=f"{args.worlds} worlds of {args.services} services")
    for column in ("world", "hours", "seconds", "hours/s", "looks", "decisions", "× bare decide", "× without leaps"):
        table.add_column(column, justify="left" if column == "world" else "right")
    with tempfile.TemporaryDirectory() as folder:
        rulebook = rules(args.services, Path(folder))
        for kind in ("calm", "some trouble", "one fails for good"):
            table.add_row(*measure(kind, args.worlds, rulebook))
    Console(file=sys.stdout, width=120).print(table)


if __name__ == "__main__":
    main()

"""Steps under way: not started late, ended before the next one, and their end written down however long that takes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from world import World, world

from remediator.errors import StoreError
from remediator.model.action import Call, Outcome, Result
from remediator.model.incident import StepRun, Verdict


async def test_a_step_that_took_too_long_to_record_is_started_once_it_is_recorded_in_time(tmp_path: Path) -> None:
    """Late, it would be at work for longer than whoever finds it interrupted would wait for it. Nothing was done."""
    async with world(tmp_path) as w:
        begin, takes = w.store.begin_step, 3.0

        async def slowly(*args: Any) -> StepRun:
            run: StepRun = await begin(*args)
            await w.clock.wait(asyncio.Event(), takes)
            return run

        w.store.begin_step = slowly  # type: ignore[method-assign]
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(30)
        assert w.commands == []
        (incident,) = await w.incidents()
        assert incident.verdict is None
        assert {run.outcome for run in incident.runs} <= {Outcome.NOT_STARTED, None}
        assert len(incident.runs) < 6
        assert any("took too long to record" in entry.text for entry in await w.journal())
        takes = 0.0
        await w.pass_time(10)
        assert w.commands == ["ctl restart checkout"]


async def test_what_a_cycle_had_to_read_first_makes_no_step_late(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        read = w.engine._sync.read

        async def slowly(now: float) -> None:
            await read(now)
            await w.clock.wait(asyncio.Event(), 5.0)

        w.engine._sync.read = slowly  # type: ignore[method-assign]
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(40)
        assert w.commands == ["ctl restart checkout"]


async def test_what_is_left_of_an_interrupted_run_is_ended_before_the_next_step(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        under_way: set[str] = set()
        beside: list[set[str]] = []

        async def run(call: Call) -> Result:
            command = " ".join(call.argv)
            w.ran.append((w.clock.now() - w.start, command))
            beside.append(set(under_way))
            under_way.add(command)
            try:
                # It does not end at its timeout, as a command would that the runner had lost.
                await w.clock.wait(asyncio.Event(), 3.0 if "rollback" in command else 10_000.0)
            finally:
                under_way.discard(command)
            w.set("error_ratio", checkout=0.0)
            return Result(Outcome.SUCCEEDED, "exited with 0", 0)

        w.engine._step_tasks._run = run
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(600)
        assert w.commands == ["ctl restart checkout", "ctl rollback checkout"]
        assert beside == [set(), set()]
        (incident,) = await w.incidents()
        assert incident.verdict is Verdict.RECOVERED
        assert incident.runs[0].outcome is Outcome.UNKNOWN


async def test_the_end_of_a_run_is_written_down_once_the_store_is_there_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        end, tries = w.store.end_step, 0

        async def away(*args: Any) -> StepRun:
            nonlocal tries
            tries += 1
            if tries < 4:
                raise StoreError("cannot write: the disk is full")
            run: StepRun = await end(*args)
            return run

        w.store.end_step = away  # type: ignore[method-assign]
        w.heals("ctl restart checkout", checkout=0.0)
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(120)
        assert tries == 4
        (incident,) = await w.incidents()
        assert incident.verdict is Verdict.RECOVERED
        assert [run.outcome for run in incident.runs] == [Outcome.SUCCEEDED]
        assert w.commands == ["ctl restart checkout"]


async def test_what_one_service_cannot_be_decided_on_keeps_no_other_from_being_healed(
    tmp_path: Path, monkeypatch: Any
) -> None:
    from remediator.decision import decide as module

    decide = module.decide

    def breaks_for_search(case: Any) -> Any:
        if case.service.name == "search":
            raise ZeroDivisionError("an error of ours")
        return decide(case)

    async with world(tmp_path) as w:
        monkeypatch.setattr(module, "decide", breaks_for_search)
        w.heals("ctl restart checkout", checkout=0.0)
        w.set("error_ratio", checkout=0.2, search=0.2)
        await w.pass_time(90)
        assert w.commands == ["ctl restart checkout"]
        (incident,) = await w.incidents()
        assert incident.verdict is Verdict.RECOVERED
        monkeypatch.undo()
        await w.pass_time(90)
        assert "ctl restart search" in w.commands


def decided(w: World, disposition: str) -> float:
    """How many alerts are counted with this disposition."""
    return w.metrics.registry.get_sample_value("remediator_alerts_total", {"disposition": disposition}) or 0.0


async def test_an_alert_is_counted_with_its_first_disposition_and_never_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.fire(service="checkout", severity="critical")
        await w.pass_time(10)
        assert decided(w, "not_corroborated") == 1
        w.heals("ctl restart checkout", checkout=0.0)
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(120)
        (incident,) = await w.incidents()
        assert incident.verdict is Verdict.RECOVERED
        # It was settled three times: not corroborated, part of the incident, and not corroborated again. The threshold's
        # own alert is the other one; its end is counted as such.
        assert {name: decided(w, name) for name in ("not_corroborated", "opened", "joined", "held", "resolved")} == {
            "not_corroborated": 1,
            "opened": 0,
            "joined": 1,
            "held": 0,
            "resolved": 1,
        }


async def test_an_operators_request_that_could_not_be_carried_out_is_dropped_after_its_time(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.query_status = type(w.query_status).UNREACHABLE
        await w.pass_time(60)
        asked = asyncio.ensure_future(w.engine.heal("checkout", "ada", "please", False))
        await w.pass_time(330)
        answer = await asked
        assert answer is not None
        w.query_status = type(w.query_status).SEEN
        await w.pass_time(120)
        assert w.commands == []
        assert await w.incidents() == []

"""A command ends with its owner: killed, stopped, or gone between the spawn and the next line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from real.processes import alive, children
from real.prometheus import until

from remediator.actions.runner import Runner
from remediator.actions.supervisor import Supervisor
from remediator.model.action import Call, Outcome

OWNER = """
import asyncio, sys
from remediator.model.action import Call
from remediator.actions import supervisor as keeper
from remediator.actions.runner import Runner

keeper.GRACE = keeper.MARGIN = 0.3

async def main():
    runner = Runner()
    await runner(Call(("true",)))
    print("ready", flush=True)
    print(await runner(Call(("sh", "-c", sys.argv[1]), timeout=float(sys.argv[2]))), flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


@contextmanager
def owner(text: str, timeout: float = 1000.0) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs shell text through a runner of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, text, str(timeout)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def pids(file: Path, count: int) -> list[int]:
    """The ids that a command wrote down, once it has written all of them."""
    words = file.read_text().split() if file.exists() else []
    return [int(word) for word in words] if len(words) == count else []


TREE = "sleep 1000 & sh -c 'sleep 1000 & echo $$ $! >> {0}; wait' & echo $$ $! >> {0}; wait"
STUBBORN = "trap '' TERM; sleep 1000 & echo $$ $! > {0}; while :; do wait; sleep 1; done"
STUBBORN_CHILD = "(trap '' TERM; sleep 1000) & echo $$ $! > {0}; wait"


@pytest.mark.parametrize(("text", "count"), [(TREE, 4), (STUBBORN, 2), (STUBBORN_CHILD, 2)])
async def test_a_command_ends_when_its_owner_is_killed(tmp_path: Path, text: str, count: int) -> None:
    seen = tmp_path / "pids"
    with owner(text.format(seen)) as process:
        await until(lambda: bool(pids(seen, count)))
        process.send_signal(signal.SIGKILL)
        await until(lambda: not any(alive(pid) for pid in pids(seen, count)))


async def test_a_command_ends_at_its_limit_though_its_owner_is_stopped(tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    with owner(TREE.format(seen), timeout=5.0) as process:
        await until(lambda: bool(pids(seen, 4)))
        process.send_signal(signal.SIGSTOP)
        await until(lambda: not any(alive(pid) for pid in pids(seen, 4)))


async def test_what_a_finished_command_started_outlives_the_owner(tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    with owner(f"sleep 1000 & echo $! > {seen}") as process:
        assert process.stdout is not None
        assert "exited with 0" in process.stdout.readline()
        watchdogs = children(process.pid)
        process.send_signal(signal.SIGKILL)
        await until(lambda: not any(alive(pid) for pid in watchdogs))
    [pid] = pids(seen, 1)
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


async def test_a_command_spawned_in_the_moment_its_owner_died_is_found(tmp_path: Path) -> None:
    theirs, ours = os.pipe()
    supervisor = Supervisor()
    supervisor.begin(os.fstat(ours).st_ino, 1000.0)
    command = subprocess.Popen(["sleep", "1000"], stdout=ours, start_new_session=True)
    os.close(ours)
    await supervisor.close()
    os.close(theirs)
    try:
        assert command.wait(30) == -signal.SIGTERM
    finally:
        command.kill()


async def test_another_watchdog_takes_over_when_one_is_killed(tmp_path: Path, runner: Runner) -> None:
    before = children()
    assert (await runner(Call(("true",)))).outcome is Outcome.SUCCEEDED
    [watchdog] = children() - before
    os.kill(watchdog, signal.SIGKILL)
    await until(lambda: not alive(watchdog))
    assert (await runner(Call(("echo", "still here")))).output == "still here\n"
    [another] = children() - before
    assert alive(another)

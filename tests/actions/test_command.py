"""Commands that go well, commands that go badly, and commands that mean ill: each ends in a clear outcome."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from pathlib import Path

import pytest
from real.processes import alive
from real.prometheus import until

from remediator.actions import command
from remediator.actions.runner import Runner
from remediator.model.action import Call, Outcome, Result

SOON = 3.0
"""Seconds in which any machine starts a shell that writes a line."""


def sh(text: str, timeout: float = 300.0, **env: str) -> Call:
    return Call(("sh", "-c", text), timeout=timeout, env=env)


def pids(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()]


async def test_success_keeps_the_output_of_both_streams_in_order(runner: Runner) -> None:
    result = await runner(sh("echo one; echo two >&2; echo three"))
    assert result == Result(Outcome.SUCCEEDED, "exited with 0", 0, "one\ntwo\nthree\n")


async def test_an_exit_code_is_told(runner: Runner) -> None:
    assert await runner(sh("echo no >&2; exit 3")) == Result(Outcome.FAILED, "exited with 3", 3, "no\n")


async def test_a_deadly_signal_is_named(runner: Runner) -> None:
    assert await runner(sh("kill -SEGV $$")) == Result(Outcome.FAILED, "was killed by SIGSEGV")


async def test_what_cannot_be_run_fails_with_the_reason(runner: Runner, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    plain.chmod(0o644)
    orphan = tmp_path / "orphan"
    orphan.write_text("#!/no/such/interpreter\n")
    orphan.chmod(0o755)
    noise = tmp_path / "noise"
    noise.write_bytes(b"\x7fnoise")
    noise.chmod(0o755)
    reasons = {
        "no-such-command": "there is no such command",
        str(plain): "it is not executable",
        str(tmp_path): "it is not executable",
        str(orphan): "its interpreter does not exist",
        str(noise): "Exec format error",
        "/etc/passwd/x": "Not a directory",
        "a\0b": "embedded null byte",
    }
    for name, reason in reasons.items():
        assert await runner(Call((name,))) == Result(Outcome.FAILED, f"cannot run {name}: {reason}")


async def test_the_environment_is_minimal(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for commands")
    monkeypatch.setenv("LANG", "C.UTF-8")
    result = await runner(Call(("env",), env={"POD": "a b"}))
    given = dict(line.split("=", 1) for line in result.output.splitlines())
    assert given == {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LANG": "C.UTF-8", "POD": "a b"}


async def test_standard_input_is_empty(runner: Runner) -> None:
    assert (await runner(Call(("cat",)))).outcome is Outcome.SUCCEEDED


async def test_a_command_leads_a_session_of_its_own(runner: Runner) -> None:
    result = await runner(sh("cut -d' ' -f5,6 /proc/$$/stat; echo $$"))
    group, session, own = result.output.split()
    assert group == session == own != str(os.getpgrp())


async def test_a_hanging_command_is_ended_at_its_timeout(runner: Runner, tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    result = await runner(sh(f"echo begun; sleep 1000 & echo $$ $! > {seen}; wait", timeout=SOON))
    assert result == Result(Outcome.TIMED_OUT, "timed out after 3s and was ended", None, "begun\n")
    assert not any(alive(pid) for pid in pids(seen))


async def test_a_command_may_clean_up_on_term(runner: Runner) -> None:
    result = await runner(sh("trap 'echo cleaned up; exit 0' TERM; echo ready; sleep 1000 & wait", timeout=SOON))
    assert result.outcome is Outcome.TIMED_OUT
    assert "cleaned up" in result.output


async def test_a_command_that_ignores_term_is_killed_with_its_tree(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "GRACE", 0.3)
    seen = tmp_path / "pids"
    stubborn = f"trap '' TERM; sleep 1000 & echo $$ $! > {seen}; while :; do wait; sleep 1; done"
    result = await runner(sh(stubborn, timeout=SOON))
    assert result.text == "timed out after 3s and was killed, as it ignored TERM"
    await until(lambda: not any(alive(pid) for pid in pids(seen)))


async def test_a_grandchild_that_ignores_term_does_not_outlive_a_timeout(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "GRACE", 0.3)
    seen = tmp_path / "pids"
    result = await runner(sh(f"(trap '' TERM; echo > {seen}.ready; sleep 1000) & echo $! > {seen}; wait", timeout=SOON))
    assert result.outcome is Outcome.TIMED_OUT
    await until(lambda: not any(alive(pid) for pid in pids(seen)))


@pytest.mark.parametrize(
    "start", ["sleep 1000 &", "setsid sleep 1000 &", "(setsid sh -c 'sleep 1000 & sleep 1000' &) &"]
)
async def test_a_daemon_left_by_a_command_that_succeeded_is_left_alone(
    runner: Runner, tmp_path: Path, start: str
) -> None:
    result = await runner(sh(f"{start} echo started", timeout=600, REMEDIATOR_TEST=str(tmp_path)))
    assert result == Result(Outcome.SUCCEEDED, "exited with 0", 0, "started\n")
    left: set[int] = set()

    def kill_what_is_left() -> bool:
        mark = f"REMEDIATOR_TEST={tmp_path}".encode()
        found = {int(file.parent.name) for file in Path("/proc").glob("[0-9]*/environ") if mark in _read(file)}
        left.update(pid for pid in found if alive(pid))
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(left) and not found

    await until(kill_what_is_left)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


async def test_a_daemon_that_prints_without_end_holds_nobody_up(runner: Runner, tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    result = await runner(sh(f"yes & echo $! > {seen}; exit 0", timeout=600))
    assert result.outcome is Outcome.SUCCEEDED
    # Its output goes nowhere any more, and it ends of that.
    await until(lambda: not any(alive(pid) for pid in pids(seen)))


async def test_a_gigabyte_of_output_leaves_its_tail(runner: Runner) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = await runner(sh("yes 0123456789abcde | head -c 1000000000; echo the end", timeout=300))
    assert result.outcome is Outcome.SUCCEEDED
    assert len(result.output) == command.OUTPUT_LIMIT
    assert result.output.endswith("cde\nthe end\n")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


async def test_the_loop_goes_on_while_a_command_prints(runner: Runner) -> None:
    turns = 0
    task = asyncio.create_task(runner(sh("yes | head -c 200000000", timeout=300)))
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert (await task).outcome is Outcome.SUCCEEDED
    assert turns > 1000


async def test_output_that_is_no_text_is_kept_as_text(runner: Runner) -> None:
    result = await runner(sh(r"printf 'a\000b\377c'"))
    assert result.output == "a\ufffdb\ufffdc"


async def test_cancelling_ends_the_command_first(runner: Runner, tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    task = asyncio.create_task(runner(sh(f"sleep 1000 & echo $$ $! > {seen}; wait")))
    await until(lambda: seen.exists() and len(pids(seen)) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not any(alive(pid) for pid in pids(seen))


async def test_cancelling_twice_kills(runner: Runner, tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    task = asyncio.create_task(runner(sh(f"trap '' TERM; echo $$ > {seen}; while :; do sleep 1; done")))
    await until(lambda: seen.exists() and bool(pids(seen)))
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not any(alive(pid) for pid in pids(seen)))


async def test_many_at_once_leave_nothing(runner: Runner) -> None:
    calls = [sh("echo $$"), sh("exit 1"), Call(("no-such-command",)), sh("sleep 1000", timeout=0.2), Call(("true",))]
    results = await asyncio.gather(*(runner(call) for call in calls * 8))
    assert [result.outcome for result in results[:5]] == [
        Outcome.SUCCEEDED,
        Outcome.FAILED,
        Outcome.FAILED,
        Outcome.TIMED_OUT,
        Outcome.SUCCEEDED,
    ]

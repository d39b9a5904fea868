"""Runs one command to its end: its own process group, a limit, a minimal environment, and the tail of its output.

A command ends with its owner or at its own timeout, whichever is first (`supervisor`); TERM first, KILL after `GRACE`, both
for the whole group. What a command that ended by itself leaves running is left alone: restarting something may well
mean starting it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess

from remediator.actions.supervisor import GRACE, MARGIN, Supervisor
from remediator.actions.watchdog import group_lives
from remediator.model.action import Call, Outcome, Result
from remediator.model.durations import format_duration

OUTPUT_LIMIT = 8192
"""How many bytes are kept of what a command prints, from its end."""

_CHUNK = 65536
_LAST_READS = 16
_GROUP_POLL = 0.05


async def run_command(call: Call, supervisor: Supervisor) -> Result:
    """Run `call.argv` and tell what came of it; never raises for what the command does.

    Returns when the command itself has ended, even if a process it left behind holds its output open. When this is
    cancelled, the command is ended first.
    """
    try:
        child = _Child(call, supervisor)
    except (OSError, ValueError) as error:
        return Result(Outcome.FAILED, f"cannot run {call.argv[0]}: {_reason(call.argv[0], error)}")
    try:
        async with asyncio.timeout(call.timeout):
            await child.exited.wait()
    except TimeoutError:
        text = f"timed out after {format_duration(call.timeout)} and {await child.end()}"
        return Result(Outcome.TIMED_OUT, text, None, child.output)
    except asyncio.CancelledError:
        await child.end()
        raise
    finally:
        child.close()
    return result_of(child.returncode, child.output)


def environment(given: dict[str, str]) -> dict[str, str]:
    """The whole environment of a command: PATH, HOME and LANG of this process, and what it was given."""
    own = {"PATH": os.defpath, "HOME": "/", "LANG": "C.UTF-8"}
    return {name: os.environ.get(name, default) for name, default in own.items()} | given


class _Child:
    """One running command: its process, the pipe it prints to, and the events of the loop that follow both."""

    def __init__(self, call: Call, supervisor: Supervisor) -> None:
        self.exited = asyncio.Event()
        self._supervisor = supervisor
        self._tail = b""
        self._loop = asyncio.get_running_loop()
        self._output, theirs = os.pipe()
        self._key = os.fstat(theirs).st_ino
        try:
            supervisor.begin(self._key, call.timeout)
            # Not asyncio's own subprocesses: those watch for the end in one more thread per command, and split output
            # and errors, whose order is lost then.
            self._process = subprocess.Popen(
                call.argv,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                env=environment(call.env),
                start_new_session=True,
            )
            supervisor.group(self._key, self._process.pid)
            self._pidfd = self._watch()
        except (OSError, ValueError):
            supervisor.end(self._key)
            os.close(self._output)
            raise
        finally:
            os.close(theirs)
        os.set_blocking(self._output, False)
        self._loop.add_reader(self._output, self._on_output)
        self._loop.add_reader(self._pidfd, self._on_exit)

    @property
    def returncode(self) -> int:
        """The exit code, or minus the signal that ended it."""
        return self._process.wait()

    @property
    def output(self) -> str:
        # NUL bytes are no text: not every database takes them.
        return self._tail.decode(errors="replace").replace("\0", "\ufffd")

    async def end(self) -> str:
        """TERM the group, wait for it to go, KILL what is left. Tells how it ended."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(GRACE):
                await self.exited.wait()
                while group_lives(self._process.pid):
                    await asyncio.sleep(_GROUP_POLL)
        except TimeoutError:
            self._signal(signal.SIGKILL)
        else:
            return "was ended"
        try:
            async with asyncio.timeout(MARGIN):
                await self.exited.wait()
        except TimeoutError:
            return "cannot be killed, it hangs in the kernel"
        return "was killed, as it ignored TERM"

    def close(self) -> None:
        """Forget it; kills it when it still runs. The loop's events reap it then."""
        if not self.exited.is_set():
            self._signal(signal.SIGKILL)
        self._supervisor.end(self._key)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _watch(self) -> int:
        try:
            return os.pidfd_open(self._process.pid)
        except OSError:
            # Out of file descriptors: what cannot be followed must not run.
            self._signal(signal.SIGKILL)
            self._process.wait()
            raise

    def _on_output(self) -> None:
        if self._read() == 0:
            self._loop.remove_reader(self._output)

    def _read(self) -> int:
        """How many bytes were read: 0 at the end, -1 when there are none now."""
        try:
            chunk = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return -1
        self._tail = (self._tail + chunk)[-OUTPUT_LIMIT:]
        return len(chunk)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process.wait()
        # What it has printed is in the pipe; who else prints to it may do so for ever.
        for _ in range(_LAST_READS):
            if self._read() <= 0:
                break
        self._loop.remove_reader(self._output)
        os.close(self._output)
        self.exited.set()


def result_of(code: int, output: str) -> Result:
    """What came of a command that ended by itself; a negative code is the signal that ended it."""
    if code < 0:
        return Result(Outcome.FAILED, f"was killed by {_signal_name(-code)}", None, output)
    return Result(Outcome.SUCCEEDED if code == 0 else Outcome.FAILED, f"exited with {code}", code, output)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _reason(command: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "its interpreter does not exist" if os.path.exists(command) else "there is no such command"
    if isinstance(error, PermissionError):
        return "it is not executable"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

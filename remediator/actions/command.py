"""Runs one command to its end, with its own process group, a limit, a minimal environment, and the tail of its output.

A command ends with its owner or at its own timeout, whichever is first (see `supervisor`). Its whole group gets TERM,
and KILL after `GRACE`. Processes that outlive a command which ended by itself are left alone: a restart may start them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import subprocess

from remediator.actions.supervisor import GRACE, MARGIN, Supervisor
from remediator.actions.watchdog import group_lives
from remediator.model.action import Call, Outcome, Result
from remediator.model.durations import format_duration

log = logging.getLogger(__name__)

OUTPUT_LIMIT = 8192
"""How many bytes of a command's output are kept, from its end."""

_CHUNK = 65536
_LAST_READS = 16
_GROUP_POLL = 0.05
_SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS})
"""Errors that say that the machine, or this process, has nothing to spare."""
_PAUSE = 10.0
"""Seconds until a command that could not be started is decided on again."""
_LOG_EVERY = 60.0
_logged_at = -_LOG_EVERY


async def run_command(call: Call, supervisor: Supervisor) -> Result:
    """Run `call.argv`; failures of the command are results, not exceptions.

    Returns when the command itself has ended, even if a process that it left behind holds its output open. A
    cancellation ends the command first.
    """
    try:
        child = _Child(call, supervisor)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _SCARCE:
            return await _not_started(call, error)
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


async def _not_started(call: Call, error: OSError) -> Result:
    """The result of a command that there are no resources for, after a pause: it is decided on again at once."""
    global _logged_at
    text = f"cannot start {call.argv[0]} now: {error.strerror}"
    now = asyncio.get_running_loop().time()
    if now - _logged_at >= _LOG_EVERY:
        _logged_at = now
        log.error("%s; it is tried again", text)
    await asyncio.sleep(min(_PAUSE, call.timeout / 2))
    return Result(Outcome.NOT_STARTED, text)


def environment(given: dict[str, str]) -> dict[str, str]:
    """The environment of a command: PATH, HOME and LANG of this process, and the given variables."""
    own = {"PATH": os.defpath, "HOME": "/", "LANG": "C.UTF-8"}
    return {name: os.environ.get(name, default) for name, default in own.items()} | given


class _Child:
    """One running command: its process, its output pipe, and the event loop's watchers of both."""

    def __init__(self, call: Call, supervisor: Supervisor) -> None:
        self.exited = asyncio.Event()
        self._supervisor = supervisor
        self._tail = b""
        self._loop = asyncio.get_running_loop()
        self._output, theirs = os.pipe()
        self._key = os.fstat(theirs).st_ino
        spare = -1
        try:
            # Keeps a descriptor free for following the command: one that cannot be followed must not be started.
            spare = os.dup(theirs)
            supervisor.begin(self._key, call.timeout)
            # asyncio's subprocesses need a thread per command, and lose the order of output and errors.
            self._process = subprocess.Popen(
                call.argv,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                env=environment(call.env),
                start_new_session=True,
            )
            supervisor.group(self._key, self._process.pid)
            os.close(spare)
            spare = -1
            self._pidfd = self._watch()
        except (OSError, ValueError):
            supervisor.end(self._key)
            os.close(self._output)
            raise
        finally:
            if spare >= 0:
                os.close(spare)
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
        # PostgreSQL stores no NUL bytes.
        return self._tail.decode(errors="replace").replace("\0", "\ufffd")

    async def end(self) -> str:
        """Send TERM to the group, wait, and send KILL to what is left. Returns how it ended, for a sentence."""
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
        """Stop following the command, and kill it if it still runs. The event loop then reaps it."""
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
            # Without a descriptor the command cannot be followed, so it must not run.
            self._signal(signal.SIGKILL)
            self._process.wait()
            raise

    def _on_output(self) -> None:
        if self._read() == 0:
            self._loop.remove_reader(self._output)

    def _read(self) -> int:
        """How many bytes were read; 0 at the end of the output, -1 when there are none yet."""
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
        # Its own output is in the pipe by now. Another process may write to the pipe for ever.
        for _ in range(_LAST_READS):
            if self._read() <= 0:
                break
        self._loop.remove_reader(self._output)
        os.close(self._output)
        self.exited.set()


def result_of(code: int, output: str) -> Result:
    """The result of a command that ended by itself. A negative code is the signal that killed it."""
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

"""A small process beside the daemon that ends commands when the daemon has died or hangs.

Run as `python -I -S watchdog.py GRACE` with a pipe from the daemon as standard input. It imports nothing of the package,
so that it starts fast and stays small. Lines on the pipe: `begin KEY LIMIT` before a command is spawned, `group KEY
PGID` after it, `end KEY` when it is over. KEY is the inode of the command's output pipe: it finds a command whose
`group` line was never sent. At the end of the pipe every command gets TERM and, GRACE seconds later, KILL. A command
gets KILL when it exceeds its limit, in seconds since `begin`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

_POLL = 0.05


def main() -> None:
    """Read lines until the daemon is gone, then end the commands that it left."""
    # A signal to the whole process tree must not stop this process before it has ended the commands.
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    limits: dict[str, float] = {}
    groups: dict[str, int] = {}
    buffer = b""
    while True:
        wait = min(limits.values()) - time.monotonic() if limits else None
        if select.select([0], [], [], None if wait is None else max(wait, 0.0))[0]:
            received = os.read(0, 65536)
            if not received:
                break
            *lines, buffer = (buffer + received).split(b"\n")
            for line in lines:
                _obey(line.decode().split(), limits, groups)
        now = time.monotonic()
        for key in [key for key, limit in limits.items() if limit <= now]:
            _signal(groups.get(key) or _find(key), signal.SIGKILL)
            del limits[key]
    _end({key: groups.get(key) for key in limits}, float(sys.argv[1]))


def _obey(words: list[str], limits: dict[str, float], groups: dict[str, int]) -> None:
    match words:
        case ["begin", key, limit]:
            limits[key] = time.monotonic() + float(limit)
        case ["group", key, group]:
            groups[key] = int(group)
        case ["end", key]:
            limits.pop(key, None)
            groups.pop(key, None)


def _end(left: dict[str, int | None], grace: float) -> None:
    """Send TERM, and KILL to what still runs `grace` seconds later."""
    for group in left.values():
        _signal(group, signal.SIGTERM)
    until = time.monotonic() + grace
    while left and time.monotonic() < until:
        for key, group in list(left.items()):
            if group is None:
                # The daemon died around the spawn: the command appears soon or never.
                left[key] = found = _find(key)
                _signal(found, signal.SIGTERM)
            elif not group_lives(group):
                del left[key]
        time.sleep(_POLL)
    for group in left.values():
        _signal(group, signal.SIGKILL)


def _signal(group: int | None, number: int) -> bool:
    """Whether the group exists and may be signalled."""
    try:
        if group is not None:
            os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return group is not None


def group_lives(group: int) -> bool:
    """Whether a process of this group runs. Zombies do not count, although they can be signalled."""
    return _signal(group, 0) and any(
        state != "Z" and int(of) == group for state, _, of, *_ in map(_stat, filter(str.isdigit, os.listdir("/proc")))
    )


def _stat(pid: str) -> list[str]:
    """State, parent and group of a process, from /proc. A process that is gone counts as a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[:3]
    except OSError:
        return ["Z", "0", "0"]


def _find(key: str) -> int | None:
    """The process group that writes to the pipe with this inode."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/fd/1") == f"pipe:[{key}]":
                return os.getpgid(int(name))
        except OSError:
            # The process is gone, or belongs to another user.
            continue
    return None


if __name__ == "__main__":
    main()

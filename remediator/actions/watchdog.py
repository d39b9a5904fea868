"""A small process beside the daemon that ends commands when the daemon no longer can: because it died, or hangs.

Run as `python -I -S watchdog.py GRACE` with a pipe from its owner as standard input; it imports nothing of the package,
so that it starts at once and stays small. Lines on the pipe: `begin KEY LIMIT` before a command is spawned, `group KEY
PGID` after it, `end KEY` when it is over; the key is the inode of the pipe that the command prints to, by which a command
is found that was spawned but not told of any more. At the end of the pipe every command still kept is sent TERM and,
GRACE seconds later, KILL. A command that is over its limit, in seconds since `begin`, is sent KILL.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

_POLL = 0.05


def main() -> None:
    """Read lines until the owner is gone, then end what it left."""
    # Whoever stops a whole process tree wants the commands ended too, and this has to see to it.
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
    """TERM, and KILL for what is still there `grace` seconds later."""
    for group in left.values():
        _signal(group, signal.SIGTERM)
    until = time.monotonic() + grace
    while left and time.monotonic() < until:
        for key, group in list(left.items()):
            if group is None:
                # Spawned in the very moment the owner died, or never: it shows up soon or not at all.
                left[key] = found = _find(key)
                _signal(found, signal.SIGTERM)
            elif not group_lives(group):
                del left[key]
        time.sleep(_POLL)
    for group in left.values():
        _signal(group, signal.SIGKILL)


def _signal(group: int | None, number: int) -> bool:
    """Whether there is such a group, and it may be signalled."""
    try:
        if group is not None:
            os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return group is not None


def group_lives(group: int) -> bool:
    """Whether a process of this group runs; those that only wait to be reaped, for which signals still work, do not."""
    return _signal(group, 0) and any(
        state != "Z" and int(of) == group for state, _, of, *_ in map(_stat, filter(str.isdigit, os.listdir("/proc")))
    )


def _stat(pid: str) -> list[str]:
    """State, parent and group of a process, as /proc has them; those of a zombie when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[:3]
    except OSError:
        return ["Z", "0", "0"]


def _find(key: str) -> int | None:
    """The process group that prints to the pipe with this inode."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/fd/1") == f"pipe:[{key}]":
                return os.getpgid(int(name))
        except OSError:
            # Gone in the meantime, or another user's.
            continue
    return None


if __name__ == "__main__":
    main()

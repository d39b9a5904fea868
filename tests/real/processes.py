"""Looks at real processes: whether they live, whose children they are, what this one has open."""

from __future__ import annotations

import os
from pathlib import Path


def state(pid: int) -> str:
    """What the kernel says of a process: R, S, D, T (stopped), Z (ended, not reaped); Z as well when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    return state(pid) != "Z"


def children(parent: int | None = None) -> set[int]:
    """The children of a process, this one by default; zombies among them."""
    parent = os.getpid() if parent is None else parent
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.add(int(name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def descriptors() -> set[str]:
    """The open file descriptors of this process, with what they lead to."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue
    return found

"""The lease on a database file, between real processes."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import msgspec
import pytest

from remediator.errors import LeaseError
from remediator.store.interface import Lease
from remediator.store.leadership import FileLease, SharedLease
from remediator.store.sql_store import SharedStore

HOLDER = """
import sys
from remediator.store.leadership import FileLease
lease = FileLease(sys.argv[1])
lease.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process_that_leads(database: str) -> Iterator[subprocess.Popen[str]]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "remediator.db")


def test_a_lease_is_taken_once_and_given_back(database: str) -> None:
    first, second = FileLease(database, now=lambda: 1_763_942_400.5), FileLease(database)
    first.acquire()
    first.acquire()
    holder = f"process {os.getpid()} on {socket.gethostname()} holds {database}.lock since 2025-11-24T00:00:00.500Z"
    assert Path(first.path).read_text() == holder
    with pytest.raises(LeaseError) as refused:
        second.acquire()
    assert str(refused.value) == f"cannot lead: {holder}"
    first.release()
    first.release()
    second.acquire()
    second.release()
    assert Path(second.path).read_text() == ""


def test_a_lease_of_another_process_names_it(database: str) -> None:
    with another_process_that_leads(database) as holder, pytest.raises(LeaseError, match=f"process {holder.pid} on "):
        FileLease(database).acquire()


def test_a_killed_holder_holds_no_more(database: str) -> None:
    lease = FileLease(database)
    with another_process_that_leads(database) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        lease.acquire()
    lease.release()


def test_commands_started_by_the_holder_do_not_keep_it(database: str) -> None:
    lease = FileLease(database)
    lease.acquire()
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, close_fds=False
    ):
        lease.release()
        again = FileLease(database)
        again.acquire()
        again.release()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LeaseError, match=r"cannot open .*nowhere.*No such file"):
        FileLease(str(tmp_path / "nowhere" / "remediator.db")).acquire()


class SlowStore:
    """A shared store in the place of a database: each answer takes `takes` seconds of `steady`."""

    def __init__(self) -> None:
        self.steady, self.takes = 1000.0, 0.0
        self.fence = type("Fence", (), {"epoch": None})()
        self.held = Lease("", "", 0, 0.0, 0.0, self.steady)

    async def lease(self) -> Lease:
        return self.held

    async def claim_lease(self, name: str, url: str, ttl: float) -> tuple[Lease, bool]:
        began = self.steady
        self.steady += self.takes
        self.held = Lease(name, url, self.held.epoch + 1, began, began + ttl, self.steady)
        return self.held, True


async def test_a_lease_is_counted_from_when_it_was_asked_for() -> None:
    """The database began to count before its answer came: who counted from the answer would lead beside another."""
    store = SlowStore()
    store.takes = 4.0
    lease = SharedLease(cast(SharedStore, store), "one", "", 15.0, steady=lambda: store.steady)
    assert await lease.attempt()
    asked = 1000.0
    store.steady = asked + 14.9
    assert lease.holds()
    store.steady = asked + 15.0
    assert not lease.holds()


async def test_who_waits_tries_just_when_the_lease_of_another_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking every half second only, another would lead up to that much later than the time of the lease."""
    store = SlowStore()
    store.held = Lease("other", "", 3, 900.0, 1001.3, store.steady)
    lease = SharedLease(cast(SharedStore, store), "one", "", 2.0, steady=lambda: store.steady)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        store.steady += seconds
        store.held = msgspec.structs.replace(store.held, clock=store.steady)

    monkeypatch.setattr("remediator.store.leadership.asyncio.sleep", sleep)
    await lease.acquire()
    assert lease.leads
    assert 1001.3 <= store.steady <= 1001.32
    assert max(slept) <= 0.5


def test_a_full_disk_keeps_nobody_from_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    lease = FileLease(str(tmp_path / "remediator.db"))
    lease.acquire()
    assert "cannot write who leads to" in caplog.text
    assert "No space left on device" in caplog.text
    with pytest.raises(LeaseError, match="another process holds"):
        FileLease(str(tmp_path / "remediator.db")).acquire()
    lease.release()

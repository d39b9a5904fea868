"""What the service manager is told, and when its watchdog is fed."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from remediator.clients.service_manager import ServiceManager


def listening(address: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(address)
    server.settimeout(30)
    return server


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_states_are_sent(abstract: bool, tmp_path: Path) -> None:
    name = f"@remediator-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with listening(name.replace("@", "\0", 1) if abstract else name) as server:
        ServiceManager({"NOTIFY_SOCKET": name}).notify("READY=1", "STATUS=leads")
        assert server.recv(100) == b"READY=1\nSTATUS=leads"


def test_a_manager_that_is_away_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ServiceManager({}).notify("READY=1")
    assert caplog.text == ""
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nowhere")}).notify("READY=1")
    assert "cannot tell the service manager" in caplog.text


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_is_that_of_this_process(environment: dict[str, str], seconds: float) -> None:
    assert ServiceManager(environment).watchdog == seconds


async def test_a_loop_that_stands_still_is_not_fed_for(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with listening(address) as server:
        server.setblocking(False)
        manager = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "40000"})
        asked: list[float] = []
        answers = [True, True, False, False]

        def alive(within: float) -> bool:
            asked.append(within)
            return answers[len(asked) - 1] if len(asked) <= len(answers) else False

        feeding = asyncio.ensure_future(manager.feed_watchdog(alive))
        while len(asked) < 5:
            await asyncio.sleep(0.001)
        feeding.cancel()
        assert asked[0] == 0.02
        assert [server.recv(100), server.recv(100)] == [b"WATCHDOG=1"] * 2
        with pytest.raises(BlockingIOError):
            server.recv(100)

"""Where the daemon listens: at several addresses, on sockets that systemd passes, and under a path."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from real.prometheus import HANGS, free_port, part, until
from real.remediator import RealRemediator

RULES = "services: [{name: shop}]"
NOBODY = "http://127.0.0.1:9"


def daemon(folder: Path, *flags: str, program: tuple[str, ...] = ()) -> RealRemediator:
    given = {"program": program} if program else {}
    return RealRemediator(folder, prometheus=NOBODY, rules=RULES, flags=flags, **given)  # type: ignore[arg-type]


async def test_it_listens_at_every_address_it_is_given(tmp_path: Path) -> None:
    port = free_port()
    async with daemon(tmp_path, f"--web.listen-address=[::1]:{port}") as remediator:
        assert f"127.0.0.1:{remediator.port}, [::1]:{port}" in remediator.log
        first = remediator.url
        remediator.url = f"http://[::1]:{port}"
        assert "healthy" in await asyncio.to_thread(remediator.text, "/-/healthy")
        remediator.url = first


async def test_an_address_for_strangers_is_refused_among_others(tmp_path: Path) -> None:
    remediator = daemon(tmp_path, f"--web.listen-address=0.0.0.0:{free_port()}")
    remediator.start(ready=False)
    assert remediator.process is not None
    assert await asyncio.to_thread(remediator.process.wait, HANGS) == 2
    assert "cannot listen on 0.0.0.0:" in remediator.log


async def test_an_address_that_is_taken_is_said(tmp_path: Path) -> None:
    async with daemon(tmp_path / "first") as first:
        second = daemon(tmp_path / "second", f"--web.listen-address=127.0.0.1:{first.port}")
        second.start(ready=False)
        assert second.process is not None
        assert await asyncio.to_thread(second.process.wait, HANGS) == 2
        assert f"cannot listen on 127.0.0.1:{first.port}: " in second.log


async def test_it_is_activated_by_sockets_of_systemd(tmp_path: Path) -> None:
    activate = part("systemd-socket-activate", "systemd")
    port, path = free_port(), tmp_path / "heal.sock"
    program = (activate, "-l", f"127.0.0.1:{port}", "-l", str(path), sys.executable, "-m", "remediator")
    remediator = daemon(tmp_path, "--web.systemd-socket", program=program)
    remediator.url = f"http://127.0.0.1:{port}"
    async with remediator:
        assert f"serves on 127.0.0.1:{port}, unix:{path}" in remediator.log
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in await reader.read()
        writer.close()


async def test_without_sockets_of_systemd_it_says_so(tmp_path: Path) -> None:
    remediator = daemon(tmp_path, "--web.systemd-socket")
    remediator.start(ready=False)
    assert remediator.process is not None
    assert await asyncio.to_thread(remediator.process.wait, HANGS) == 2
    assert "cannot listen on the service manager's sockets: it passed none" in remediator.log


async def test_the_command_line_asks_under_a_path(tmp_path: Path) -> None:
    remediator = daemon(tmp_path, "--web.external-url=https://ops.example/heal/")
    server = remediator.url
    remediator.url = f"{server}/heal"
    async with remediator:
        for words in (("services",), ("page",)):
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "remediator", *words, f"--url={server}/heal/"],
                capture_output=True,
                text=True,
                timeout=HANGS,
                check=False,
                env={"PATH": os.environ["PATH"]},
            )
            assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{server}/heal/sign-in?code=")
        await until(lambda: "serves on" in remediator.log)

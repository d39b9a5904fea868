"""Starting in bad times: a database that is away, signals that come early."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from real.postgresql import RealPostgresql
from real.prometheus import until
from real.remediator import RealRemediator

RULES = "services: [{name: shop}]"
NOBODY = "http://127.0.0.1:9"


def remediator_on(server: RealPostgresql, folder: Path, *flags: str) -> RealRemediator:
    url = f"postgresql://remediator@127.0.0.1:{server.port}/postgres"
    return RealRemediator(folder, prometheus=NOBODY, rules=RULES, config={"storage": {"url": url}}, flags=flags)


@contextlib.asynccontextmanager
async def waiting_for_its_database(folder: Path) -> AsyncIterator[tuple[RealRemediator, RealPostgresql]]:
    """A remediator that has begun to wait for its database, which is not there."""
    with RealPostgresql() as server:
        server.kill()
        remediator = remediator_on(server, folder)
        remediator.start(ready=False)
        try:
            await until(lambda: "cannot start yet, tries again" in remediator.log)
            yield remediator, server
        finally:
            remediator.kill()


async def test_it_waits_for_a_database_that_is_away_and_reloads_once_it_has_started(tmp_path: Path) -> None:
    async with waiting_for_its_database(tmp_path) as (remediator, server):
        assert remediator.process is not None
        remediator.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(server.start)
        await until(lambda: "reloaded" in remediator.log)
        assert "remediator is ready" in await asyncio.to_thread(remediator.text, "/-/ready")
        assert await asyncio.to_thread(remediator.stop) == 0


async def test_it_waits_no_longer_than_it_is_told_to(tmp_path: Path) -> None:
    with RealPostgresql() as server:
        server.kill()
        remediator = remediator_on(server, tmp_path, "--storage.wait=1s")
        remediator.start(ready=False)
        assert remediator.process is not None
        assert await asyncio.to_thread(remediator.process.wait, 60) == 2
        assert "cannot open the database" in remediator.log


async def test_what_waiting_does_not_mend_ends_it_at_once(tmp_path: Path) -> None:
    (tmp_path / "remediator.db").write_text("a diary")
    remediator = RealRemediator(tmp_path, prometheus=NOBODY, rules=RULES)
    remediator.start(ready=False)
    assert remediator.process is not None
    assert await asyncio.to_thread(remediator.process.wait, 60) == 2
    assert "it is not an SQLite database" in remediator.log


async def test_told_to_end_while_it_waits_for_its_database_it_ends_at_once(tmp_path: Path) -> None:
    async with waiting_for_its_database(tmp_path) as (remediator, _):
        assert await asyncio.to_thread(remediator.stop) == 0
        assert "ends before it had started" in remediator.log


async def test_told_to_end_as_soon_as_it_answers_it_ends_as_at_any_time(tmp_path: Path) -> None:
    """It answers before its start is over."""
    for _ in range(5):
        remediator = RealRemediator(tmp_path, prometheus=NOBODY, rules=RULES)
        await asyncio.to_thread(remediator.start)
        assert await asyncio.to_thread(remediator.stop) == 0

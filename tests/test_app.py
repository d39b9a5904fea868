"""What the assembled daemon joins: the service manager's watchdog, and who may start a command."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from remediator import app
from remediator.app import Options, _decides, serve
from remediator.model.action import Call, Outcome
from remediator.store.leadership import SoleLeadership


def test_a_loop_that_decides_no_more_is_seen() -> None:
    def system(ago: float) -> Any:
        return SimpleNamespace(replica=SimpleNamespace(turned_at=time.monotonic() - ago))

    assert _decides(system(1), within=30)
    assert not _decides(system(31), within=30)
    # The loop turns every 5 s: a watchdog that waits less than three turns is fed all the same.
    assert _decides(system(6), within=2)
    assert not _decides(system(16), within=2)


class _Enough(Exception):
    """Ends the start where the test has seen what it wanted."""


async def test_a_daemon_whose_lease_went_after_the_commit_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "remediator.yml"
    # Nothing listens there, and nothing is asked.
    prometheus = "prometheus: {url: 'http://127.0.0.1:9'}"
    config.write_text(f"{prometheus}\nstorage: {{url: 'sqlite:///{tmp_path}/remediator.db'}}\n")
    seen: list[Outcome] = []
    holds = True
    monkeypatch.setattr(SoleLeadership, "holds", lambda _: holds)

    class Started:
        def __init__(self, config_file: Path, loaded: Any, resources: Any, *others: Any) -> None:
            self.resources = resources

        async def begin_term(self, *, leads: bool) -> None:
            nonlocal holds
            assert leads
            for holds in (True, False):
                result = await self.resources.run(Call(("touch", str(tmp_path / f"leads-{holds}"))))
                seen.append(result.outcome)
            raise _Enough

    monkeypatch.setattr(app, "Runtime", Started)
    with pytest.raises(_Enough):
        await serve(Options(config, ("127.0.0.1:0",)))
    assert seen == [Outcome.SUCCEEDED, Outcome.UNKNOWN]
    assert sorted(path.name for path in tmp_path.glob("leads-*")) == ["leads-True"]

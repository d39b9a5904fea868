"""What the service manager's watchdog is fed by."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from remediator.app import _decides


def test_a_loop_that_decides_no_more_is_seen() -> None:
    def system(ago: float) -> Any:
        return SimpleNamespace(replica=SimpleNamespace(turned_at=time.monotonic() - ago))

    assert _decides(system(1), within=30)
    assert not _decides(system(31), within=30)
    # The loop turns every 5 s: a watchdog that waits less than three turns is fed all the same.
    assert _decides(system(6), within=2)
    assert not _decides(system(16), within=2)

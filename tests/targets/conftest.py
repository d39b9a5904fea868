"""Doing what a target can do, by its real commands, here and over a real ssh."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from real.sshd import RealSshd

from remediator.actions.render import diagnose, perform
from remediator.actions.runner import Runner
from remediator.clients.prometheus.client import Answer
from remediator.model.action import ActionSpec, Call, Result
from remediator.model.health import QueryStatus
from remediator.model.rules import Plan, Runbook, Service, Step, TargetRef
from remediator.rules.loader import shipped_targets
from remediator.template.compile import LabelView

Do = Callable[..., Awaitable[Result]]


async def no_query(expr: str) -> Answer:
    return Answer(0.0, QueryStatus.UNREACHABLE, error="there is no Prometheus")


@pytest.fixture
async def do() -> AsyncIterator[Do]:
    """Does one action of a target for the service `web`; `enter` goes in front of its commands, `actions` are the service's own."""
    runner = Runner()

    async def act(
        target: str,
        action: str,
        args: dict[str, Any] | None = None,
        enter: tuple[str, ...] = (),
        actions: dict[str, ActionSpec] | None = None,
        **params: str,
    ) -> Result:
        async def run(call: Call) -> Result:
            return await runner(msgspec.structs.replace(call, argv=(*enter, *call.argv)))

        labels = {"service": "web"}
        step = Step(action, action, args=args or {})
        plan = Plan(
            Service("web", labels, target=TargetRef(target, params, actions or {})),
            Runbook("test", (step,)),
            shipped_targets()[target],
        )
        context = {"labels": LabelView(labels), "service": {"name": "web", "labels": LabelView(labels)}}
        result, _ = await (
            diagnose(plan, context, run) if action == "diagnose" else perform(plan, step, context, run, no_query)
        )
        return result

    yield act
    await runner.close()


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealSshd]:
    """A real ssh server on loopback; `ssh` on the PATH knows its keys."""
    with RealSshd(tmp_path / "ssh") as running:
        monkeypatch.setenv("PATH", f"{running.bin}{os.pathsep}{os.environ['PATH']}")
        yield running

"""`remediator check --alertmanager` against a real Alertmanager."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from real.prometheus import RealAlertmanager, free_port

from remediator.cli import main
from remediator.model.clock import rfc3339

RULES = "services: [{name: checkout}]\n"
WEBHOOK = {"webhook_configs": [{"url": "http://127.0.0.1:9797/webhook"}]}
STEALS = {"receiver": "team", "routes": [{"receiver": "remediator", "continue": True}]}
SHARES = {"receiver": "team", "routes": [{"receiver": "remediator", "continue": True}, {"receiver": "team"}]}


async def checked(folder: Path, *arguments: str) -> int:
    return await asyncio.to_thread(main, ["check", *arguments])


def configured(folder: Path, url: str, receiver: str = "remediator") -> str:
    (folder / "rules.yml").write_text(RULES)
    named = f", receiver: {receiver}" if receiver else ""
    text = f"prometheus: {{url: 'http://localhost:1'}}\nalertmanagers: [{{url: '{url}'{named}}}]\nrule_files: [rules.yml]\n"
    (folder / "remediator.yml").write_text(text)
    return str(folder / "remediator.yml")


def fire(server: RealAlertmanager, *names: str) -> None:
    server.post(*({"labels": {"alertname": name}, "endsAt": rfc3339(time.time() + 600)} for name in names))


@pytest.mark.parametrize("receiver", ["remediator", ""])
async def test_alerts_that_reach_nobody_else_are_named(
    receiver: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receivers: list[dict[str, Any]] = [{"name": "team"}, {"name": "remediator", **WEBHOOK}]
    async with RealAlertmanager(tmp_path, route=STEALS, receivers=receivers) as server:
        fire(server, "InstanceDown", "HighErrorRate")
        config = configured(tmp_path, server.url, receiver)
        assert await checked(tmp_path, "--config.file", config, "--alertmanager", server.url) == 0
        shown = capsys.readouterr().out
        for name in ("InstanceDown", "HighErrorRate"):
            assert f"remediator.yml:2:1: warning: alert {name} fires and reaches no receiver but remediator: no person is sent it [unpaged-alert]" in shown  # fmt: skip
        assert await checked(tmp_path, str(tmp_path / "rules.yml"), "--alertmanager", server.url) == 0
        assert "alert InstanceDown fires and reaches no receiver but remediator" in capsys.readouterr().err


async def test_a_route_that_shares_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receivers: list[dict[str, Any]] = [{"name": "team"}, {"name": "remediator", **WEBHOOK}]
    async with RealAlertmanager(tmp_path, route=SHARES, receivers=receivers) as server:
        fire(server, "InstanceDown")
        config = configured(tmp_path, server.url)
        assert await checked(tmp_path, "--config.file", config, "--alertmanager", server.url) == 0
        assert capsys.readouterr().out.startswith("SUCCESS")


async def test_a_receiver_that_is_missing_and_an_alertmanager_that_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with RealAlertmanager(tmp_path, route={"receiver": "team"}, receivers=[{"name": "team"}]) as server:
        config = configured(tmp_path, server.url, "")
        assert await checked(tmp_path, "--config.file", config, "--alertmanager", server.url, "--output", "json") == 0
        (problem,) = json.loads(capsys.readouterr().out)["problems"]
        assert problem["check"] == "no-receiver"
    nowhere = f"http://127.0.0.1:{free_port()}"
    config = configured(tmp_path, nowhere)
    assert await checked(tmp_path, "--config.file", config, "--alertmanager", nowhere) == 2
    assert f"cannot read the receivers at {nowhere}" in capsys.readouterr().err

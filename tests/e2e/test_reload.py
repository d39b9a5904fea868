"""Reloading while it runs: when files change, by HTTP and by SIGHUP; and files that cannot be loaded."""

from __future__ import annotations

import asyncio
import signal
import urllib.error
from pathlib import Path

import pytest
from real.prometheus import in_thread, until
from real.remediator import RealRemediator

NOBODY = "http://127.0.0.1:9"
SUCCESS = "remediator_config_last_reload_successful"


def names(remediator: RealRemediator) -> set[str]:
    return {service["name"] for service in remediator.request("/api/v1/rules")["services"]}


async def test_changed_files_are_loaded_and_bad_ones_said(tmp_path: Path) -> None:
    remediator = RealRemediator(
        tmp_path, prometheus=NOBODY, rules="services: [{name: shop}]", flags=["--config.auto-reload-interval=1s"]
    )
    async with remediator:
        remediator.rule_file.write_text("extends: base.yml\nservices: [{name: shop}]")
        await until(lambda: "there is no such file beside this one" in remediator.log)
        (tmp_path / "base.yml").write_text("services: [{name: cart}]")
        await until(in_thread(lambda: names(remediator) == {"shop", "cart"}))
        assert f"{SUCCESS} 1.0" in await asyncio.to_thread(remediator.text, "/metrics")

        (tmp_path / "base.yml").write_text("services: [{nam: cart}]")
        await until(in_thread(lambda: f"{SUCCESS} 0.0" in remediator.text("/metrics")))
        assert "cannot reload, goes on with what it has" in remediator.log
        assert "base.yml:1:" in await asyncio.to_thread(remediator.text, "/")
        (warning,) = (await asyncio.to_thread(remediator.request, "/api/v1/health"))["warnings"]
        assert "cannot reload, goes on with what it has: " in warning
        assert await asyncio.to_thread(names, remediator) == {"shop", "cart"}
        # What is added meanwhile does not make the files good.
        body = {"name": "mail"}
        await asyncio.to_thread(remediator.request, "/api/v1/services?author=ada", body)
        assert f"{SUCCESS} 0.0" in await asyncio.to_thread(remediator.text, "/metrics")

        (tmp_path / "base.yml").write_text("services: [{name: cart}]")
        await until(in_thread(lambda: f"{SUCCESS} 1.0" in remediator.text("/metrics")))
        assert (await asyncio.to_thread(remediator.request, "/api/v1/health"))["warnings"] == []


async def test_nothing_is_watched_unless_asked_for_and_every_failed_reload_is_logged(tmp_path: Path) -> None:
    remediator = RealRemediator(tmp_path, prometheus=NOBODY, rules="services: [{name: shop}]")
    async with remediator:
        remediator.rule_file.write_text("services: [{nam: shop}]")
        with pytest.raises(urllib.error.HTTPError) as caught:
            await asyncio.to_thread(remediator.request, "/-/reload", {})
        assert caught.value.code == 500
        caught.value.close()
        assert remediator.log.count("cannot reload, goes on with what it has") == 1
        assert remediator.process is not None
        remediator.process.send_signal(signal.SIGHUP)
        await until(lambda: remediator.log.count("cannot reload, goes on with what it has") == 2)


async def test_alerts_left_out_are_said_once_where_nobody_can_be_asked(tmp_path: Path) -> None:
    remediator = RealRemediator(tmp_path, prometheus=NOBODY, rules="services: [{name: shop}]")
    sentence = "left alerts out (truncatedAlerts), and without alertmanagers: in the config nobody can be asked"
    async with remediator:
        for receiver in ("heal", "heal", "other"):
            body = {
                "version": "4",
                "status": "firing",
                "groupKey": "{}",
                "receiver": receiver,
                "truncatedAlerts": 3,
                "alerts": [],
            }
            await asyncio.to_thread(remediator.request, "/webhook", body)
        assert remediator.log.count(sentence) == 2
        warnings = (await asyncio.to_thread(remediator.request, "/api/v1/health"))["warnings"]
        assert [sentence in warning for warning in warnings] == [True, True]
        assert (await asyncio.to_thread(remediator.text, "/")).count(sentence) == 2

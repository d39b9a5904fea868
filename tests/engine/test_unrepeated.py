"""Alerts of senders that cannot be compared with anything end when they are not repeated, which is no recovery."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest
from world import RULES, World, world

from remediator.engine.unrepeated import UnrepeatedAlerts
from remediator.model.alert import Alert, Source, fingerprint

ALERTS_ALONE = RULES[: RULES.index("thresholds:")] + RULES[RULES.index("runbooks:") :]
WITHIN = 60.0


def alert(w: World, name: str = "Slow", *, sender: str = "", source: Source = Source.ALERTMANAGER) -> Alert:
    labels = {"alertname": name, "service": "checkout", "severity": "critical"}
    return Alert(fingerprint(labels), w.clock.now(), None, labels, sender=sender, source=source)


def watch(w: World, *, compared: bool = False) -> UnrepeatedAlerts:
    return UnrepeatedAlerts(w.store, clock=w.clock, intake=w.intake, within=WITHIN, compared=compared)


def text(w: World) -> str:
    view = w.observer.view("checkout", w.clock.now())
    assert view is not None
    return view.judgement.text


async def test_an_alert_that_is_not_repeated_ends_and_that_is_no_recovery(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path, ALERTS_ALONE) as w:
        unrepeated, fires = watch(w), alert(w)
        await w.intake([fires])
        await w.pass_time(20)
        assert w.commands == ["ctl restart checkout"]
        await w.pass_time(WITHIN - 25)
        await unrepeated.once()
        assert len(await w.store.firing_alerts()) == 1
        await w.pass_time(5)
        with caplog.at_level(logging.WARNING):
            await unrepeated.once()
        assert (
            "takes 1 alerts to be over, and nothing to be well: their sender has not repeated them for 1m"
            in caplog.text
        )
        assert await w.store.firing_alerts() == []
        await w.pass_time(600)
        (incident,) = await w.incidents()
        assert incident.open
        assert incident.verdict is None
        assert text(w).endswith("alert Slow was not repeated for 1m by its sender, which is no recovery")
        sample = w.metrics.registry.get_sample_value("remediator_unseen_alerts_total", {"reason": "NotRepeated"})
        assert sample == 1
        # Repeated after all, it goes on.
        await w.intake([fires])
        assert len(await w.store.firing_alerts()) == 1
        await w.pass_time(5)
        assert "alert Slow fires" in text(w)


async def test_its_end_told_later_is_a_recovery(tmp_path: Path) -> None:
    async with world(tmp_path, ALERTS_ALONE) as w:
        unrepeated, fires = watch(w), alert(w)
        await w.intake([fires])
        await w.pass_time(20)
        await w.pass_time(WITHIN)
        await unrepeated.once()
        await w.pass_time(5)
        await w.intake([msgspec.structs.replace(fires, ends_at=w.clock.now())])
        await w.pass_time(600)
        (incident,) = await w.incidents()
        assert not incident.open


async def test_one_that_is_repeated_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path, ALERTS_ALONE) as w:
        unrepeated, fires = watch(w), alert(w)
        for _ in range(6):
            await w.intake([fires])
            await unrepeated.once()
            await w.pass_time(WITHIN / 2)
        assert len(await w.store.firing_alerts()) == 1


async def test_where_alertmanager_can_be_asked_only_others_end(tmp_path: Path) -> None:
    async with world(tmp_path, ALERTS_ALONE) as w:
        unrepeated = watch(w, compared=True)
        await w.intake(
            [alert(w, "Asked"), alert(w, "Grafanas", sender="grafana"), alert(w, "Own", source=Source.THRESHOLD)]
        )
        await w.pass_time(WITHIN)
        await unrepeated.once()
        assert {one.alert.name for one in await w.store.firing_alerts()} == {"Asked", "Own"}


async def test_what_was_sent_while_nobody_listened_does_not_count(tmp_path: Path) -> None:
    async with world(tmp_path, ALERTS_ALONE) as w:
        await w.intake([alert(w)])
        await w.pass_time(10 * WITHIN)
        unrepeated = watch(w)
        await unrepeated.once()
        await w.pass_time(WITHIN - 1)
        await unrepeated.once()
        assert len(await w.store.firing_alerts()) == 1
        await w.pass_time(1)
        await unrepeated.once()
        assert await w.store.firing_alerts() == []

"""What the sender of an alert cannot see is no trouble, and no recovery."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from world import RULES, World, world

from remediator.model.alert import Alert, fingerprint
from remediator.model.incident import Verdict

ALERTS_ALONE = RULES[: RULES.index("thresholds:")] + RULES[RULES.index("runbooks:") :]
REASONS = ["NoData", "Error", "Paused", "RuleDeleted", "MissingSeries", "Updated", "NoData, KeepLast"]


def grafana(w: World, name: str, reason: str = "", *, over: bool = False) -> Alert:
    """An alert of Grafana's, with the reason for its state where it gives one."""
    labels = {"alertname": name, "service": "checkout", "severity": "critical", "grafana_folder": "shop"}
    annotations = {"grafana_state_reason": reason} if reason else {}
    now = w.clock.now()
    return Alert(fingerprint(labels), now, now if over else None, labels, annotations, sender="grafana")


def counted(w: World, reason: str) -> float:
    return w.metrics.registry.get_sample_value("remediator_unseen_alerts_total", {"reason": reason}) or 0.0


@pytest.mark.parametrize("name", ["DatasourceError", "DatasourceNoData"])
async def test_a_query_that_fails_in_grafana_heals_nothing(tmp_path: Path, name: str) -> None:
    async with world(tmp_path, ALERTS_ALONE) as w:
        await w.intake([grafana(w, name)])
        await w.pass_time(120)
        assert w.commands == []
        assert await w.incidents() == []
        assert counted(w, name) == 1
        view = w.observer.view("checkout", w.clock.now())
        assert view is not None
        assert view.judgement.text == f"no threshold judges it, and the sender of alert {name} cannot see: {name}"
        # It is over when Grafana says that its query works again.
        await w.intake([grafana(w, name, over=True)])
        await w.pass_time(5)
        view = w.observer.view("checkout", w.clock.now())
        assert view is not None
        assert view.health == "healthy"


@pytest.mark.parametrize("reason", REASONS)
async def test_an_alert_that_fires_because_nothing_is_seen_heals_nothing(tmp_path: Path, reason: str) -> None:
    async with world(tmp_path, ALERTS_ALONE) as w:
        await w.intake([grafana(w, "Slow", reason)])
        await w.pass_time(120)
        assert w.commands == []
        assert await w.incidents() == []
        known = reason if "," not in reason else "other"
        assert counted(w, known) == 1


@pytest.mark.parametrize("reason", REASONS)
async def test_an_end_because_nothing_is_seen_is_no_recovery(tmp_path: Path, reason: str) -> None:
    async with world(tmp_path, ALERTS_ALONE) as w:
        fires = grafana(w, "Slow")
        await w.intake([fires])
        await w.pass_time(20)
        assert w.commands == ["ctl restart checkout"]
        over = msgspec.structs.replace(
            fires, starts_at=w.clock.now(), ends_at=w.clock.now(), annotations={"grafana_state_reason": reason}
        )
        await w.intake([over])
        await w.pass_time(600)
        (incident,) = await w.incidents()
        assert incident.open
        assert w.commands == ["ctl restart checkout"]
        # After a restart it is no recovery either.
        await w.crashed()
        await w.opened()
        await w.pass_time(600)
        (incident,) = await w.incidents()
        assert incident.open
        # Once Grafana sees again, and sees it well, it is one.
        await w.intake([msgspec.structs.replace(over, ends_at=w.clock.now(), annotations={})])
        await w.pass_time(120)
        (incident,) = await w.incidents()
        assert incident.verdict is Verdict.RECOVERED


async def test_thresholds_that_see_are_believed_whatever_grafana_cannot_see(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.intake([grafana(w, "DatasourceError")])
        w.heals("ctl restart checkout", checkout=0.0)
        w.set("error_ratio", checkout=0.2)
        await w.pass_time(120)
        (incident,) = await w.incidents()
        assert incident.verdict is Verdict.RECOVERED


async def test_an_alert_that_fires_and_then_cannot_be_seen_stops_being_trouble(tmp_path: Path) -> None:
    async with world(tmp_path, ALERTS_ALONE) as w:
        fires = grafana(w, "Slow")
        await w.intake([fires])
        await w.pass_time(20)
        await w.intake([msgspec.structs.replace(fires, annotations={"grafana_state_reason": "NoData"})])
        await w.pass_time(600)
        assert w.commands == ["ctl restart checkout"]
        await w.intake([fires])
        await w.pass_time(120)
        assert w.commands == ["ctl restart checkout", "ctl rollback checkout"]


async def test_an_end_that_is_told_after_one_of_what_was_not_seen_is_a_recovery(tmp_path: Path) -> None:
    async with world(tmp_path, ALERTS_ALONE) as w:
        fires = grafana(w, "Slow")
        await w.intake([fires])
        await w.pass_time(20)
        over = msgspec.structs.replace(fires, ends_at=w.clock.now(), annotations={"grafana_state_reason": "NoData"})
        await w.intake([over])
        await w.pass_time(30)
        await w.intake([msgspec.structs.replace(fires, ends_at=w.clock.now())])
        await w.pass_time(600)
        (incident,) = await w.incidents()
        assert not incident.open

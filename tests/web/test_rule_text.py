"""Rules as they are shown: in the notation they were written in, and without secrets."""

from __future__ import annotations

import typing

import msgspec

from remediator.model.action import ActionSpec, HttpSpec
from remediator.model.field_types import field_types
from remediator.model.health import parse_comparison
from remediator.model.matcher import parse_matcher
from remediator.model.rules import Escalate, Limits, Rate, Runbook, Share, Step, Threshold, Verify
from remediator.web.api.rule_text import rule_text


def test_thresholds() -> None:
    threshold = Threshold(
        "errors", "rate(x[1m])", (parse_matcher('tier="web"'),), failed=parse_comparison("> 0.10"), for_=90.0
    )
    assert rule_text(threshold) == {
        "name": "errors",
        "expr": "rate(x[1m])",
        "match": ['tier="web"'],
        "failed": "> 0.1",
        "for": "1m30s",
        "keep_for": "0s",
    }


def test_runbooks() -> None:
    http = HttpSpec("https://bot:hunter2@hooks.example/x", headers={"Authorization": "Bearer hunter2"})
    step = Step("page", "page", ActionSpec(http=http, env={"TOKEN": "hunter2"}, timeout=60.0))
    runbook = Runbook("web", (step,), limits=Limits(600.0, (Rate(3, 3600.0), Rate(7, 7 * 86400.0))))
    shown = rule_text(runbook)
    assert shown["limits"] == {"cooldown": "10m", "rate": ["3/1h", "7/7d"], "relapse": "10m"}
    (spec,) = (step["spec"] for step in shown["steps"])
    assert spec["http"]["url"] == "https://bot:<secret>@hooks.example/x"
    assert spec["http"]["headers"] == {"Authorization": "<secret>"}
    assert spec["env"] == {"TOKEN": "<secret>"}
    assert spec["timeout"] == "1m"
    assert "hunter2" not in str(shown)


def test_durations_and_shares_are_shown_as_they_are_written() -> None:
    runbook = Runbook(
        "web", (), approve_within=1800.0, limits=Limits(blast_radius=Share(30.0, percent=True)), verify=Verify(45.0)
    )
    assert rule_text((runbook,)) == [
        {
            "name": "web",
            "when": ["degraded", "failed"],
            "approve_within": "30m",
            "verify": {"healthy_for": "45s", "within": "5m"},
            "limits": {"cooldown": "5m", "blast_radius": "30%", "relapse": "10m"},
            "silence": "0s",
            "escalate": {"after": "15m"},
        }
    ]


def test_every_field_of_a_rule_that_is_a_time_is_a_duration() -> None:
    """A plain float in a rule would be shown as a number of seconds."""
    for cls in (Threshold, Step, Verify, Rate, Limits, Escalate, Runbook, ActionSpec):
        plain = {field.name for field in msgspec.structs.fields(cls)} - field_types(cls).keys()
        assert not [name for name in plain if "float" in str(typing.get_type_hints(cls)[name])]

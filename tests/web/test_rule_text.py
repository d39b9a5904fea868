"""Rules as they are shown: in the notation they were written in, and without secrets."""

from __future__ import annotations

import msgspec

from remediator.model.action import ActionSpec, HttpSpec
from remediator.model.health import parse_comparison
from remediator.model.matcher import parse_matcher
from remediator.model.rulebook import Limits, Rate, Runbook, Step, Threshold
from remediator.web.api.rule_text import rule_text


def test_thresholds() -> None:
    threshold = Threshold(
        "errors", "rate(x[1m])", (parse_matcher('tier="web"'),), failed=parse_comparison("> 0.10"), for_=90.0
    )
    assert rule_text(msgspec.to_builtins(threshold)) == {
        "name": "errors",
        "expr": "rate(x[1m])",
        "match": ['tier="web"'],
        "failed": "> 0.1",
        "for": "1m30s",
    }


def test_runbooks() -> None:
    http = HttpSpec("https://bot:hunter2@hooks.example/x", headers={"Authorization": "Bearer hunter2"})
    step = Step("page", "page", ActionSpec(http=http, env={"TOKEN": "hunter2"}, timeout=60.0))
    runbook = Runbook("web", (step,), limits=Limits(600.0, (Rate(3, 3600.0), Rate(7, 7 * 86400.0))))
    shown = rule_text(msgspec.to_builtins(runbook))
    assert shown["limits"] == {"cooldown": "10m", "rate": ["3/1h", "7/7d"]}
    (spec,) = (step["spec"] for step in shown["steps"])
    assert spec["http"]["url"] == "https://bot:<secret>@hooks.example/x"
    assert spec["http"]["headers"] == {"Authorization": "<secret>"}
    assert spec["env"] == {"TOKEN": "<secret>"}
    assert spec["timeout"] == "1m"
    assert "hunter2" not in str(shown)

"""Every shipped target: from a step to the exact commands, as tests/targets/argv/*.yml lists them.

A case has the service's `params`, `labels` and own `actions`, a `step`, what the commands before the last one `print`, and the commands
expected as `argv` lists; `env` is what they get beside the facts, `text` and `outcome` the result when it is not a plain
success. Without a service name it is `web`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from remediator.actions.render import describe, diagnose, perform
from remediator.clients.prometheus.client import Answer
from remediator.model.action import ActionSpec, Call, Outcome, Result
from remediator.model.health import QueryStatus
from remediator.model.rules import Plan, Runbook, Service, Step, TargetRef
from remediator.rules.loader import shipped_targets
from remediator.template.compile import LabelView

CASES = [
    pytest.param(file.stem, case, id=f"{file.stem}: {case['case']}")
    for file in sorted(Path(__file__).parent.glob("argv/*.yml"))
    for case in yaml.safe_load(file.read_text())
]


async def no_query(expr: str) -> Answer:
    return Answer(0.0, QueryStatus.UNREACHABLE, error="there is no Prometheus")


@pytest.mark.parametrize(("target", "case"), CASES)
async def test_exact_argv(target: str, case: dict[str, Any]) -> None:
    calls: list[Call] = []
    prints = list(case.get("print", []))

    async def run(call: Call) -> Result:
        calls.append(call)
        return Result(Outcome.SUCCEEDED, "exited with 0", 0, prints.pop(0) if prints else "")

    name = case.get("service", "web")
    labels = {"service": name, **case.get("labels", {})}
    actions = msgspec.convert(case.get("actions", {}), dict[str, ActionSpec])
    service = Service(name, labels, target=TargetRef(target, case.get("params", {}), actions))
    action, args = case["step"] if isinstance(case["step"], list) else (case["step"], {})
    step = Step(action, action, args=args)
    plan = Plan(service, Runbook("test", (step,)), shipped_targets()[target])
    context = {
        "labels": LabelView(labels),
        "service": {"name": name, "labels": LabelView(labels)},
        "incident": {"id": 7},
        "alert": {"name": "Down"},
        "health": "failed",
    }
    if action == "diagnose":
        result, text = await diagnose(plan, context, run)
    else:
        result, text = await perform(plan, step, context, run, no_query)

    assert [list(call.argv) for call in calls] == case.get("argv", [])
    assert result.outcome == case.get("outcome", "succeeded")
    assert result.text == case.get("text", "exited with 0")
    facts = {
        "REMEDIATOR_SERVICE": name,
        "REMEDIATOR_INCIDENT": "7",
        "REMEDIATOR_RUNBOOK": "test",
        "REMEDIATOR_HEALTH": "failed",
        "REMEDIATOR_ALERT": "Down",
    }
    for call in calls:
        own = {"REMEDIATOR_STEP": call.env["REMEDIATOR_STEP"]}
        assert call.env == {**facts, **own, **case.get("env", {})}
    if calls and result.outcome is Outcome.SUCCEEDED:
        assert text == str(calls[-1])
        assert calls[-1].env["REMEDIATOR_STEP"] == action
    if action not in ("scale", "diagnose"):
        assert describe(plan, step, context) == text


def test_every_action_of_every_target_has_a_case() -> None:
    covered = set()
    for file in Path(__file__).parent.glob("argv/*.yml"):
        for case in yaml.safe_load(file.read_text()):
            covered.add((file.stem, case["step"][0] if isinstance(case["step"], list) else case["step"]))
            # Reading the count is part of scaling.
            covered.add((file.stem, "replicas" if case.get("print") else "restart"))
    offered = {(name, action) for name, target in shipped_targets().items() for action in target.actions}
    assert offered - covered == set()

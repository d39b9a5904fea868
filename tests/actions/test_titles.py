"""What is done, in words."""

from __future__ import annotations

import pytest
from cases import incident, plan, run, runbook, service, step

from remediator.actions.titles import plain_title, run_title, step_title
from remediator.model.action import ActionSpec, Call, HttpSpec
from remediator.model.incident import DIAGNOSE, UNDO
from remediator.model.rules import Plan, Target, TargetRef
from remediator.rules.loader import load_rules

SUPERVISOR = Target(
    "supervisor",
    {"program": "{{ service.name }}", "host": ""},
    {
        "restart": ActionSpec(shell="restart {{ program }}", title="restart {{ program }} (supervisor)"),
        "poke": ActionSpec(run=("poke",)),
        "diagnose": ActionSpec(run=("status",)),
        "restore": ActionSpec(run=("restore",), title="put {{ program }} back"),
    },
    ssh="{{ host }}",
)


def reached(**params: str) -> Plan:
    reference = TargetRef("supervisor", params)
    return Plan(service("api", target=reference), runbook(step(), step("poke")), SUPERVISOR)


def title(the_plan: Plan, index: int = 0) -> str:
    return run_title(incident(the_plan), run(index=index, action=the_plan.runbook.steps[index].action))


def test_a_target_says_what_its_action_does_and_where() -> None:
    assert title(reached()) == "restart api (supervisor)"
    assert title(reached(host="web1", program="shop")) == "restart shop (supervisor) on web1"
    assert title(reached(), 1) == "poke api"


def test_evidence_and_what_is_put_back_have_titles_too() -> None:
    opened = incident(reached())
    assert run_title(opened, run(index=DIAGNOSE, action="diagnose")) == "gather evidence about api"
    assert run_title(opened, run(index=UNDO, action="restore")) == "put api back"


@pytest.mark.parametrize(
    ("name", "spec", "words"),
    [
        ("flush the cache", ActionSpec(run=("redis-cli", "FLUSHALL")), "flush the cache for checkout"),
        ("run", ActionSpec(run=("/usr/bin/systemctl", "restart", "x")), "run systemctl for checkout"),
        ("run", ActionSpec(run=("{{ labels.program }}",)), "run a command for checkout"),
        ("shell", ActionSpec(shell="a && b"), "run a shell command for checkout"),
        ("http", ActionSpec(http=HttpSpec("http://x/")), "send a POST request for checkout"),
    ],
)
def test_steps_written_by_hand_have_a_title(name: str, spec: ActionSpec, words: str) -> None:
    the_plan = plan(step(name, action="run", spec=spec))
    assert title(the_plan) == words


def test_what_cannot_be_rendered_has_the_title_that_needs_no_template() -> None:
    broken = Target("supervisor", {"program": None}, {"restart": ActionSpec(run=("x",), title="{{ labels.gone }}")})
    the_plan = Plan(service("api", target=TargetRef("supervisor", {})), runbook(), broken)
    assert step_title(the_plan, the_plan.runbook.steps[0], {}) == "restart api"
    assert plain_title(the_plan, the_plan.runbook.steps[0]) == "restart api"


def test_what_labels_say_is_one_line_and_not_endless() -> None:
    assert title(reached(program="a\nb\x1b")).startswith("restart a b")
    assert len(title(reached(program="x" * 4000))) < 400


def test_every_action_of_a_shipped_target_has_a_title() -> None:
    rules, _ = load_rules([], service_label="service")
    without = {
        f"{target.name}.{name}"
        for target in rules.targets.values()
        for name, spec in target.actions.items()
        if not spec.title
    }
    assert rules.targets
    assert without == set()


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (Call(("systemctl", "restart", "a b")), "systemctl restart 'a b'"),
        (Call(("sh", "-c", "set -- -c '/etc/x'\nexec y \"$@\"\n")), "set -- -c '/etc/x'\nexec y \"$@\""),
        (
            Call(("ssh", "-o", "BatchMode=yes", "--", "web1", "timeout 9 echo 'a b'")),
            "ssh -o BatchMode=yes -- web1 timeout 9 echo 'a b'",
        ),
    ],
)
def test_a_call_is_shown_as_it_is_typed(call: Call, shown: str) -> None:
    assert str(call) == shown

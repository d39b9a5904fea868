"""From a step to its result: hostile labels, scaling, parameters, and what commands are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remediator.actions.render import TIMEOUT, describe, diagnose, diagnose_timeout, perform, step_timeout
from remediator.actions.runner import Runner
from remediator.actions.supervisor import GRACE, MARGIN
from remediator.clients.prometheus.client import Answer, Series
from remediator.model.action import ActionSpec, Call, HttpSpec, Outcome, Result
from remediator.model.health import QueryStatus
from remediator.model.rules import Plan, Runbook, Service, Step, Target, TargetRef
from remediator.template.compile import LabelView


def plan(target: Target | None = None, labels: dict[str, str] | None = None, **params: str) -> Plan:
    reference = TargetRef(target.name, params) if target else None
    return Plan(Service("web", labels or {}, target=reference), Runbook("mend", ()), target)


def context(**labels: str) -> dict[str, object]:
    return {
        "labels": LabelView(labels),
        "service": {"name": "web", "labels": LabelView({})},
        "incident": {"id": 3},
        "alert": {"name": labels.get("alertname", "")},
        "health": "failed",
    }


def step(spec: ActionSpec, **fields: Any) -> Step:
    return Step("try", "run", spec, **fields)


async def no_query(expr: str) -> Answer:
    raise AssertionError("nothing was to be asked")


class Recorder:
    """A Run that remembers its calls and answers each with the next of `prints`, or with `failing`."""

    def __init__(self, *prints: str, failing: Result | None = None) -> None:
        self.calls: list[Call] = []
        self._prints = list(prints)
        self._failing = failing

    async def __call__(self, call: Call) -> Result:
        self.calls.append(call)
        if self._failing:
            return self._failing
        return Result(Outcome.SUCCEEDED, "exited with 0", 0, self._prints.pop(0) if self._prints else "")


# Labels that mean ill, through a real shell and real commands. A witness file shows if any was run.


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    return tmp_path / "witness"


HOSTILE: dict[str, Callable[[Path], str]] = {
    "substitution": lambda file: f"$(touch {file})",
    "backquotes": lambda file: f"`touch {file}`",
    "semicolon": lambda file: f"x; touch {file}",
    "single quote": lambda file: f"'; touch {file}; '",
    "double quote": lambda file: f'"; touch {file}; "',
    "newline": lambda file: f"x\ntouch {file}\n",
    "background": lambda file: f"x & touch {file}",
    "pipe": lambda file: f"x | touch {file}",
    "redirection": lambda file: f"x > {file}",
    "glob": lambda file: f"{file.parent}/*",
    "variable": lambda file: "$HOME ${HOME}",
    "backslash": lambda file: f"\\'; touch {file}; \\",
    "template": lambda file: "{{ labels.pod }} {% raw %}",
    "unicode": lambda file: "ünï\u2028\u202e\U0001f4a3",
}


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_a_hostile_label_is_only_ever_data(runner: Runner, witness: Path, hostile: str) -> None:
    value = HOSTILE[hostile](witness)
    specs = [
        ActionSpec(run=("printf", "%s", "{{ labels.pod }}")),
        ActionSpec(shell="printf %s {{ labels.pod }}"),
        ActionSpec(shell='printf %s "$(printf %s. {{ labels.pod }})" | sed "s/\\.$//"'),
        ActionSpec(shell='printf %s "$POD"', env={"POD": "{{ labels.pod }}"}),
    ]
    for spec in specs:
        result, _ = await perform(plan(), step(spec), context(pod=value), runner, no_query)
        assert result.output == value
        assert result.outcome is Outcome.SUCCEEDED
    assert not witness.exists()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("-rf", "its value '-rf' would be taken for an option"),
        ("--exec=touch x", "its value '--exec=touch x' would be taken for an option"),
        ("a\0b", "its value contains a NUL byte"),
        ("x" * 5120, "its value has 5120 bytes, more than 4096"),
    ],
)
async def test_a_label_that_cannot_be_an_argument_is_refused(value: str, reason: str) -> None:
    run = Recorder()
    for spec in (ActionSpec(run=("rm", "{{ labels.pod }}")), ActionSpec(shell="rm {{ labels.pod }}")):
        result, text = await perform(plan(), step(spec), context(pod=value), run, no_query)
        assert result == Result(Outcome.REFUSED, f"cannot render {{{{ labels.pod }}}}: {reason}")
        assert text == describe(plan(), step(spec), context(pod=value)) == ""
    assert run.calls == []


async def test_a_label_never_becomes_an_option_by_way_of_a_parameter() -> None:
    target = Target("box", {"name": "{{ labels.pod }}"}, {"stop": ActionSpec(run=("stop", "{{ name }}"))})
    result, _ = await perform(plan(target), Step("stop", "stop"), context(pod="-rf"), Recorder(), no_query)
    assert result.outcome is Outcome.REFUSED


async def test_a_hostile_label_in_a_request() -> None:
    run = Recorder()
    body = json.dumps({"pod": "PLACE"}).replace('"PLACE"', "{{ labels.pod | tojson }}")
    spec = ActionSpec(http=HttpSpec("http://api/v1/{{ labels.pod }}?pod={{ labels.pod }}", body=body))
    evil = '../admin?x=1&y="#'
    result, text = await perform(plan(), step(spec), context(pod=evil), run, no_query)
    assert result.outcome is Outcome.SUCCEEDED
    [call] = run.calls
    assert call.http is not None
    encoded = "..%2Fadmin%3Fx%3D1%26y%3D%22%23"
    assert call.http.url == f"http://api/v1/{encoded}?pod={encoded}"
    assert json.loads(call.http.body) == {"pod": evil}
    assert text == f"POST http://api/v1/{encoded}?pod=<secret>"


# What a call is made of.


async def test_what_a_command_is_told() -> None:
    run = Recorder()
    spec = ActionSpec(run=("x",), env={"POD": "{{ labels.pod }}", "REMEDIATOR_HEALTH": "mine"}, timeout=7.0)
    await perform(plan(), step(spec), context(pod="a b", alertname="Down"), run, no_query)
    told = {
        "REMEDIATOR_SERVICE": "web",
        "REMEDIATOR_INCIDENT": "3",
        "REMEDIATOR_RUNBOOK": "mend",
        "REMEDIATOR_STEP": "try",
        "REMEDIATOR_HEALTH": "mine",
        "REMEDIATOR_ALERT": "Down",
        "POD": "a b",
    }
    assert run.calls == [Call(("x",), env=told, timeout=7.0)]


async def test_a_parameter_hides_a_variable_from_the_targets_actions_only() -> None:
    target = Target(
        "stack", {"service": "unit-of-{{ service.name }}"}, {"restart": ActionSpec(run=("restart", "{{ service }}"))}
    )
    run = Recorder()
    await perform(plan(target), Step("restart", "restart"), context(), run, no_query)
    await perform(plan(target), step(ActionSpec(run=("tell", "{{ service.name }}"))), context(), run, no_query)
    assert [call.argv for call in run.calls] == [("restart", "unit-of-web"), ("tell", "web")]
    assert {call.env["REMEDIATOR_SERVICE"] for call in run.calls} == {"web"}


async def test_parameters_given_come_before_defaults_that_rest_on_them() -> None:
    target = Target(
        "box", {"path": "/srv/{{ name }}", "name": None}, {"restart": ActionSpec(run=("restart", "{{ path }}"))}
    )
    run = Recorder()
    await perform(plan(target, name="shop"), Step("restart", "restart"), context(), run, no_query)
    assert run.calls[0].argv == ("restart", "/srv/shop")
    result, _ = await perform(plan(target), Step("restart", "restart"), context(), run, no_query)
    assert result == Result(Outcome.REFUSED, "cannot reach web: its target box needs name")


async def test_over_ssh_goes_what_the_step_says_itself_too() -> None:
    run = Recorder()
    await perform(plan(Target("box"), ssh="web1"), step(ActionSpec(run=("x",), timeout=1.5)), context(), run, no_query)
    assert run.calls[0].argv[-2:] == ("web1", "timeout -k 5 2 x")


async def test_a_newline_over_ssh_is_not_for_csh() -> None:
    run = Recorder()
    target = Target("box", {}, {"x": ActionSpec(run=("x", "{{ labels.pod }}"))}, "web1")
    await perform(plan(target), Step("x", "x"), context(pod="a\ntouch x"), run, no_query)
    assert run.calls[0].argv[-1] == """test -z "$shell" || exec false\ntimeout -k 5 60 x 'a\ntouch x'"""


async def test_over_ssh_the_environment_goes_along() -> None:
    target = Target(
        "box", {"host": "web1"}, {"x": ActionSpec(run=("x", "a b"), env={"A": "{{ labels.pod }}"})}, "{{ host }}"
    )
    run = Recorder()
    await perform(plan(target), Step("x", "x"), context(pod="it's"), run, no_query)
    assert run.calls[0].argv[-2:] == ("web1", r"timeout -k 5 60 env 'A=it'\''s' x 'a b'")
    assert "A" not in run.calls[0].env


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "a;b", "a@-x", "$(x)", "a\nb", "ssh://-x", "a'b"])
async def test_a_host_that_is_none_is_refused(host: str) -> None:
    target = Target("box", {"host": "{{ labels.instance }}"}, {"x": ActionSpec(run=("x",))}, "{{ host }}")
    run = Recorder()
    result, _ = await perform(plan(target), Step("x", "x"), context(instance=host), run, no_query)
    assert result == Result(Outcome.REFUSED, f"cannot reach {host!r} by ssh: that is no host")
    assert run.calls == []


@pytest.mark.parametrize("host", ["web1", "root@web1.example.org", "ssh://root@web1:2222", "10.0.0.1", "::1", "[::1]"])
async def test_a_host_is_taken(host: str) -> None:
    target = Target("box", {}, {"x": ActionSpec(run=("x",))}, host)
    run = Recorder()
    await perform(plan(target), Step("x", "x"), context(), run, no_query)
    assert run.calls[0].argv == (
        "ssh",
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=10",
        "--",
        host,
        "timeout -k 5 60 x",
    )


async def test_without_a_target_there_is_no_action() -> None:
    result, _ = await perform(plan(), Step("restart", "restart"), context(), Recorder(), no_query)
    assert result == Result(Outcome.REFUSED, "cannot restart web: it has no target")


async def test_evidence() -> None:
    run = Recorder("the last lines")
    assert (await diagnose(plan(), context(), run))[0].outcome is Outcome.SKIPPED
    target = Target("box", {}, {"diagnose": ActionSpec(run=("logs", "{{ labels.pod }}"))})
    assert await diagnose(plan(target), context(pod="a"), run) == (
        Result(Outcome.SUCCEEDED, "exited with 0", 0, "the last lines"),
        "logs a",
    )
    assert (await diagnose(plan(target), context(), run))[0].outcome is Outcome.REFUSED


# Scaling.

SCALE = ActionSpec(run=("scale", "{{ replicas }}"))
COUNTED = Target("fleet", {}, {"scale": SCALE, "replicas": ActionSpec(run=("count",))})
UNCOUNTED = Target("fleet", {}, {"scale": SCALE})


@pytest.mark.parametrize(
    ("args", "present", "count", "text"),
    [
        ({"by": 1}, 3, 4, "scale from 3 to 4: exited with 0"),
        ({"by": 3, "max": 5}, 3, 5, "scale from 3 to 5: exited with 0"),
        ({"by": 1, "max": 6}, 6, None, "already at max 6"),
        ({"by": 1, "max": 6}, 8, None, "already at 8, max is 6"),
        ({"by": 1, "min": 4}, 1, 4, "scale from 1 to 4: exited with 0"),
        ({"by": -1}, 2, 1, "scale from 2 to 1: exited with 0"),
        ({"by": -1}, 1, None, "already at min 1"),
        ({"by": -1}, 0, None, "already at 0, min is 1"),
        ({"by": -5, "min": 0}, 3, 0, "scale from 3 to 0: exited with 0"),
        ({"by": -1, "min": -3}, 0, None, "already at min 0"),
        ({"to": 5}, 3, 5, "scale from 3 to 5: exited with 0"),
        ({"to": 9, "max": 6}, 3, 6, "scale from 3 to 6: exited with 0"),
        ({"to": 1, "min": 2}, 3, 2, "scale from 3 to 2: exited with 0"),
        ({"to": 0}, 3, 0, "scale from 3 to 0: exited with 0"),
        ({"to": 3}, 3, None, "already at 3"),
        ({}, 3, 4, "scale from 3 to 4: exited with 0"),
    ],
)
async def test_scale(args: dict[str, Any], present: int, count: int | None, text: str) -> None:
    run = Recorder(f"warning: 99 bottles\n{present}\n")
    result, call = await perform(plan(COUNTED), Step("scale", "scale", args=args), context(), run, no_query)
    expected = [("count",)] if count is None else [("count",), ("scale", str(count))]
    assert [call.argv for call in run.calls] == expected
    assert result.text == text
    assert result.outcome is (Outcome.SKIPPED if count is None else Outcome.SUCCEEDED)
    assert call == ("" if count is None else f"scale {count}")


@pytest.mark.parametrize(
    ("answer", "count", "text"),
    [
        (Answer(0.0, QueryStatus.SEEN, [Series({}, 3.0)]), 4, "scale from 3 to 4: exited with 0"),
        (Answer(0.0, QueryStatus.SEEN, []), None, "the query for the present count gives 0 series instead of one"),
        (
            Answer(0.0, QueryStatus.SEEN, [Series({}, 1.0), Series({}, 2.0)]),
            None,
            "the query for the present count gives 2 series instead of one",
        ),
        (
            Answer(0.0, QueryStatus.SEEN, [Series({}, float("nan"))]),
            None,
            "the query for the present count gives nan, which is no count",
        ),
        (
            Answer(0.0, QueryStatus.SEEN, [Series({}, float("inf"))]),
            None,
            "the query for the present count gives inf, which is no count",
        ),
        (
            Answer(0.0, QueryStatus.SEEN, [Series({}, 2.5)]),
            None,
            "the query for the present count gives 2.5, which is no count",
        ),
        (
            Answer(0.0, QueryStatus.SEEN, [Series({}, -1.0)]),
            None,
            "the query for the present count gives -1, which is no count",
        ),
        (
            Answer(0.0, QueryStatus.UNREACHABLE, error="connection refused"),
            None,
            "cannot read the present count: connection refused",
        ),
    ],
)
async def test_scale_by_a_count_of_prometheus(answer: Answer, count: int | None, text: str) -> None:
    asked: list[str] = []

    async def query(expr: str) -> Answer:
        asked.append(expr)
        return answer

    run = Recorder()
    args = {"by": 1, "replicas": 'replicas{pod="{{ labels.pod }}"}'}
    result, _ = await perform(plan(UNCOUNTED), Step("scale", "scale", args=args), context(pod='a"b'), run, query)
    assert asked == ['replicas{pod="a\\"b"}']
    if count is None:
        assert result == Result(Outcome.FAILED, f"cannot scale web: {text}")
        assert run.calls == []
    else:
        assert result.text == text
        assert run.calls[0].argv == ("scale", str(count))


@pytest.mark.parametrize("printed", ["", "none\n", "v1.2\n", "1.5\n"])
async def test_nothing_is_scaled_without_a_count(printed: str) -> None:
    run = Recorder(printed)
    result, _ = await perform(plan(COUNTED), Step("scale", "scale", args={"by": 1}), context(), run, no_query)
    text = "cannot scale web: the command for the present count printed no number"
    assert result == Result(Outcome.FAILED, text, output=printed)
    assert len(run.calls) == 1


async def test_nothing_is_scaled_when_counting_fails() -> None:
    run = Recorder(failing=Result(Outcome.FAILED, "exited with 1", 1, "no such thing"))
    result, _ = await perform(plan(COUNTED), Step("scale", "scale", args={"to": 2}), context(), run, no_query)
    text = "cannot scale web: the command for the present count exited with 1"
    assert result == Result(Outcome.FAILED, text, output="no such thing")
    assert len(run.calls) == 1


async def test_a_count_to_scale_to_needs_no_present_one() -> None:
    run = Recorder()
    result, _ = await perform(plan(UNCOUNTED), Step("scale", "scale", args={"to": 2}), context(), run, no_query)
    assert result.text == "scale to 2: exited with 0"
    refused, _ = await perform(plan(UNCOUNTED), Step("scale", "scale", args={"by": 2}), context(), run, no_query)
    assert refused.outcome is Outcome.REFUSED
    assert len(run.calls) == 1


async def test_a_scale_without_whole_numbers_is_refused() -> None:
    for args in ({"by": 1.5}, {"to": "many"}, {"by": True}, {"max": None}):
        result, _ = await perform(plan(COUNTED), Step("scale", "scale", args=args), context(), Recorder(), no_query)
        assert result.outcome is Outcome.REFUSED


def test_how_long_a_step_can_take() -> None:
    end = GRACE + MARGIN
    assert step_timeout(plan(), step(ActionSpec(run=("x",)))) == TIMEOUT + end
    assert step_timeout(plan(), step(ActionSpec(run=("x",), timeout=5.0))) == 5 + end
    assert step_timeout(plan(), step(ActionSpec(run=("x",), timeout=5.0), timeout=9.0)) == 9 + end
    assert step_timeout(plan(COUNTED), Step("scale", "scale", timeout=9.0)) == 9 + end + 15 + end
    over_ssh = end + 10
    assert step_timeout(plan(COUNTED, ssh="web1"), Step("scale", "scale", timeout=9.0)) == 9 + over_ssh + 15 + over_ssh
    assert step_timeout(plan(Target("box", ssh="web1")), step(ActionSpec(run=("x",)))) == TIMEOUT + over_ssh
    assert step_timeout(plan(Target("box", ssh="web1"), ssh=""), step(ActionSpec(run=("x",)))) == TIMEOUT + end


def test_how_long_the_gathering_of_evidence_can_take() -> None:
    end = GRACE + MARGIN
    plain = Target("box", actions={"diagnose": ActionSpec(run=("x",))})
    limited = Target("box", actions={"diagnose": ActionSpec(run=("x",), timeout=5.0)}, ssh="web1")
    assert diagnose_timeout(plan(plain)) == 30 + end
    assert diagnose_timeout(plan(limited)) == 5 + end + 10

"""Every action of every target over ssh is there, word for word, what it is here, whatever its parameters are.

sshd hands the last argument of ssh to the login shell as `SHELL -c TEXT`; so does this, with a `timeout` that only tells
its arguments.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real.prometheus import part

from remediator.actions.render import diagnose, perform
from remediator.clients.prometheus.client import Answer
from remediator.model.action import ActionSpec, Call, Outcome, Result
from remediator.model.health import QueryStatus
from remediator.model.rules import Plan, Runbook, Service, Step, TargetRef
from remediator.rules.loader import shipped_targets
from remediator.template.compile import LabelView

OWN = {"deploy": ActionSpec(run=("/srv/deploy", "{{ labels.evil }}"), env={"ZONE": "{{ labels.evil }}"})}
ACTIONS = [
    (name, action)
    for name, target in shipped_targets().items()
    for action in (*(target.actions.keys() - {"replicas"}), *(OWN if target.open else ()))
]
NASTY = [
    "'",
    "\\",
    "\\'",
    '"',
    "$(touch x)",
    "`touch x`",
    "\n",
    ";",
    "-",
    "!",
    "*",
    "~",
    "#",
    " ",
    "\t",
    "{a,b}",
    "é",
    "%",
    "=",
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `timeout` that tells each of its arguments, with a NUL behind it."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "timeout").write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    (folder / "timeout").chmod(0o755)
    return folder


async def calls(target: str, action: str, evil: str, ssh: str) -> list[Call]:
    """What the action runs for a service all of whose parameters are `evil`; [] when it is refused."""
    made: list[Call] = []

    async def run(call: Call) -> Result:
        made.append(call)
        return Result(Outcome.SUCCEEDED, "exited with 0", 0, "2")

    async def no_query(expr: str) -> Answer:
        return Answer(0.0, QueryStatus.UNREACHABLE, error="there is no Prometheus")

    kind = shipped_targets()[target]
    params = dict.fromkeys(kind.params, "{{ labels.evil }}")
    service = Service("web", {}, target=TargetRef(target, {**params, "ssh": ssh}, OWN if kind.open else {}))
    step = Step(action, action, args={"by": 1} if action == "scale" else {})
    plan = Plan(service, Runbook("test", (step,)), kind)
    context = {"labels": LabelView({"evil": evil}), "service": {"name": "web", "labels": LabelView({})}}
    if action == "diagnose":
        await diagnose(plan, context, run)
    else:
        await perform(plan, step, context, run, no_query)
    return made


@pytest.mark.parametrize("shell", ["sh", "bash"])
@given(evil=st.lists(st.sampled_from(NASTY) | st.text(max_size=3), max_size=6).map("".join))
@settings(max_examples=15)
async def test_the_words_there_are_the_words_here(path: Path, shell: str, evil: str) -> None:
    for target, action in ACTIONS:
        here = await calls(target, action, evil, "")
        there = await calls(target, action, evil, "web1")
        assert len(here) == len(there)
        for call, sent in zip(here, there, strict=True):
            assert sent.argv[:-1] == ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--", "web1")
            env = {"PATH": f"{path}:/usr/bin:/bin"}
            done = subprocess.run([shell, "-c", sent.argv[-1]], env=env, capture_output=True, check=True)
            own = {name: value for name, value in call.env.items() if not name.startswith("REMEDIATOR_")}
            assignments = ["env", *(f"{name}={value}" for name, value in own.items())] if own else []
            words = ["-k", "5", f"{call.timeout:g}", *assignments, *call.argv]
            assert done.stdout.decode().split("\0")[:-1] == words


async def test_csh_gets_nothing_that_it_would_read_otherwise(path: Path) -> None:
    """To csh a newline ends a quote, and `!#` is the line so far, also inside of quotes."""
    csh = part("tcsh", "tcsh")
    # `!` at a line's end and before a blank, = or ( is itself.
    for evil in ("a!#b", "a!!b", "x\ntouch witness", "!"):
        (call,) = await calls("command", "deploy", evil, "web1")
        env = {"PATH": f"{path}:/usr/bin:/bin", "HOME": str(path)}
        done = subprocess.run([csh, "-c", call.argv[-1]], env=env, capture_output=True, check=False, cwd=path)
        assert done.returncode != 0
        assert done.stdout == b""
    (call,) = await calls("command", "deploy", "a $b `c` 'd' \\e", "web1")
    done = subprocess.run([csh, "-c", call.argv[-1]], env=env, capture_output=True, check=True, cwd=path)
    assert done.stdout.decode().split("\0")[-2] == "a $b `c` 'd' \\e"
    assert not (path / "witness").exists()


def test_every_target_can_be_reached() -> None:
    assert {target for target, _ in ACTIONS} == shipped_targets().keys()

"""Jobs of Nomad, in a real shell, with a `nomad` that knows one job and only tells what it was asked to do."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from remediator.model.action import Outcome, Result

NOMAD = r"""#!/bin/sh
case "$1 $2 $4" in
  'job inspect {{.ID}}') cat "$STATE/id"; exit ;;
  'job inspect {{.ID}}{{range .TaskGroups}}{{"\n"}}{{.Count}} {{.Name}}{{end}}') cat "$STATE/id" "$STATE/groups"; exit ;;
  'job history {{range .}}{{.Version}} {{.Stable}}{{"\n"}}{{end}}') cat "$STATE/history"; exit ;;
esac
for word; do printf '[%s]' "$word"; done >> "$STATE/ran"
echo "${NOMAD_TOKEN:+ with $NOMAD_TOKEN}" >> "$STATE/ran"
[ ! -e "$STATE/fails" ]
"""

Do = Callable[..., Awaitable[Result]]
Heal = Callable[..., Awaitable[tuple[Result, list[str]]]]


@pytest.fixture
def heal(do: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Heal:
    """Does one action for the job `web` of two versions and one group of 3: the result, and what nomad was to do."""
    (tmp_path / "nomad").write_text(NOMAD.replace("$STATE", str(tmp_path)))
    (tmp_path / "nomad").chmod(0o755)
    (tmp_path / "id").write_text("web\n")
    (tmp_path / "groups").write_text("3 front end\n")
    (tmp_path / "history").write_text("1 false\n0 false\n\n")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    async def act(action: str, args: dict[str, Any] | None = None, **params: str) -> tuple[Result, list[str]]:
        (tmp_path / "ran").write_text("")
        result = await do("nomad", action, args, **params)
        return result, (tmp_path / "ran").read_text().splitlines()

    return act


async def test_a_restart_places_anew_what_has_failed(heal: Heal, tmp_path: Path) -> None:
    result, ran = await heal("restart")
    assert result.outcome is Outcome.SUCCEEDED, result
    assert ran == ["[job][restart][-yes][-on-error=fail][web]", "[job][eval][-detach][-force-reschedule][web]"]
    _, ran = await heal("restart", group="front end")
    assert ran[0] == "[job][restart][-yes][-on-error=fail][-group=front end][web]"
    (tmp_path / "fails").touch()
    result, ran = await heal("restart")
    assert (result.outcome, len(ran)) == (Outcome.FAILED, 1)


@pytest.mark.parametrize("action", ["restart", "rollback", "scale"])
async def test_a_job_whose_name_only_begins_so_is_another(heal: Heal, tmp_path: Path, action: str) -> None:
    (tmp_path / "id").write_text("webshop\n")
    result, ran = await heal(action)
    assert result.outcome is Outcome.FAILED
    assert result.output == "there is no such job, nomad would take webshop for it\n"
    assert ran == []


async def test_a_group_is_scaled(heal: Heal, tmp_path: Path) -> None:
    result, ran = await heal("scale", {"by": 1})
    assert result.text == "scale from 3 to 4: exited with 0"
    assert ran == ["[job][scale][web][4]"]

    (tmp_path / "groups").write_text("3 front end\n5 back\n")
    result, ran = await heal("scale", {"by": 1}, group="front end")
    assert ran == ["[job][scale][web][front end][4]"]
    result, ran = await heal("scale", {"by": -1}, group="back")
    assert ran == ["[job][scale][web][back][4]"]

    result, ran = await heal("scale", {"by": 1})
    assert (result.outcome, ran) == (Outcome.FAILED, [])
    assert result.output == "the job has several groups: name one as group\n"
    result, ran = await heal("scale", {"by": 1}, group="end")
    assert (result.outcome, ran) == (Outcome.FAILED, [])
    assert result.output == "the job has no such group\n"


@pytest.mark.parametrize(
    ("history", "version"),
    [
        ("1 false\n0 false\n", 0),
        ("12 false\n11 false\n10 true\n9 true\n", 10),
        ("3 true\n2 true\n1 false\n", 2),
        ("10 false\n9 false\n8 false\n", 9),
        ("2 false\n1 false\n0 true\n", 0),
        ("8 true\n9 true\n10 false\n", 9),
    ],
)
async def test_a_rollback_goes_to_the_last_stable_version(
    heal: Heal, tmp_path: Path, history: str, version: int
) -> None:
    (tmp_path / "history").write_text(history)
    result, ran = await heal("rollback")
    assert result.outcome is Outcome.SUCCEEDED, result
    assert ran == [f"[job][revert][web][{version}]"]


async def test_without_an_earlier_version_there_is_no_rollback(heal: Heal, tmp_path: Path) -> None:
    (tmp_path / "history").write_text("0 true\n")
    result, ran = await heal("rollback")
    assert (result.outcome, result.output, ran) == (
        Outcome.FAILED,
        "there is no version before the present one\n",
        [],
    )


async def test_the_token_is_read_from_its_file(heal: Heal, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    _, ran = await heal("scale", {"to": 1}, token_file=str(tmp_path / "token"))
    assert ran == ["[job][scale][web][1] with s3cret"]
    result, ran = await heal("restart", token_file=str(tmp_path / "none"))
    assert (result.outcome, ran) == (Outcome.FAILED, [])
    assert "No such file" in result.output


async def test_evidence(heal: Heal) -> None:
    _, ran = await heal("diagnose")
    assert ran == [
        "[job][status][web]",
        "[alloc][logs][-stderr][-tail][-n][40][-job][web]",
        "[alloc][logs][-tail][-n][40][-job][web]",
    ]

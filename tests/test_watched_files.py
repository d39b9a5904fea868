"""Which files are watched, and when they are loaded again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from remediator.errors import ConfigError, UnavailableError
from remediator.simulation.virtual_loop import run_virtually
from remediator.watched_files import Contents, WatchedFiles, reload_when_changed

CONFIG = "prometheus: {url: 'http://127.0.0.1:9'}\nrule_files: ['rules/*.yml', named.yml]\n"


@pytest.fixture
def files(tmp_path: Path) -> WatchedFiles:
    (tmp_path / "rules").mkdir()
    (tmp_path / "remediator.yml").write_text(CONFIG)
    (tmp_path / "rules" / "a.yml").write_text("extends: [../base.yml]\nservices: [{name: a}]")
    (tmp_path / "base.yml").write_text("extends: far.yml\nservices: [{name: b}]")
    (tmp_path / "far.yml").write_text("services: [{name: c}]")
    (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: web.crt, key_file: web.key}")
    (tmp_path / "web.crt").write_text("certificate")
    return WatchedFiles(tmp_path / "remediator.yml", tmp_path / "web.yml")


def names(contents: Contents) -> set[str]:
    return {path.name for path in contents}


def test_what_is_watched(files: WatchedFiles) -> None:
    everything = {"remediator.yml", "a.yml", "named.yml", "base.yml", "far.yml", "web.yml", "web.crt", "web.key"}
    assert names(files.contents()) == everything


@pytest.mark.parametrize(
    "file", ["remediator.yml", "rules/a.yml", "rules/new.yml", "named.yml", "base.yml", "far.yml", "web.yml", "web.key"]
)
def test_a_change_of_any_is_seen(files: WatchedFiles, tmp_path: Path, file: str) -> None:
    before = files.contents()
    assert files.contents() == before
    (tmp_path / file).write_text("services: []\n# another")
    assert files.contents() != before


@pytest.mark.parametrize("file", ["remediator.yml", "rules/a.yml", "base.yml", "web.yml"])
def test_what_a_broken_file_named_is_watched(files: WatchedFiles, tmp_path: Path, file: str) -> None:
    watched = names(files.contents())
    (tmp_path / file).write_text("{")
    broken = files.contents()
    assert names(broken) == watched
    for other in ("far.yml", "web.crt"):
        (tmp_path / other).write_text("services: [{name: mended}]")
        assert files.contents() != broken
        broken = files.contents()


def test_what_is_only_touched_has_not_changed(files: WatchedFiles, tmp_path: Path) -> None:
    before = files.contents()
    (tmp_path / "far.yml").touch()
    assert files.contents() == before


def test_the_swap_of_a_folder_by_a_symlink_is_seen(tmp_path: Path) -> None:
    """As a kubelet does it: ..data leads to the folder of the moment."""
    for number in (1, 2):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "remediator.yml").write_text(CONFIG.replace("named", f"named{number}"))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "remediator.yml").symlink_to("..data/remediator.yml")
    files = WatchedFiles(tmp_path / "remediator.yml", None)
    before = files.contents()
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert files.contents() != before
    assert names(files.contents()) == {"remediator.yml", "named2.yml"}


class Scripted(WatchedFiles):
    """What the files contain at each look."""

    def __init__(self, *looks: str) -> None:
        self.looks = list(looks)

    def contents(self) -> Contents:
        text = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return {Path("rules.yml"): text}


def reloads(files: Scripted, *results: Exception | None) -> int:
    """How often it reloads, with these results."""
    calls, left = 0, list(results)

    async def reload() -> None:
        nonlocal calls
        calls += 1
        error = left.pop(0) if left else None
        if error is not None:
            raise error

    async def watch() -> None:
        watching = reload_when_changed(files, {Path("rules.yml"): "a"}, 30.0, reload)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watching, 3600.0)

    run_virtually(watch)
    return calls


def test_it_reloads_once_for_a_change() -> None:
    assert reloads(Scripted("a", "a", "b", "b", "b")) == 1
    assert reloads(Scripted("a")) == 0


def test_it_waits_for_files_that_are_being_written() -> None:
    assert reloads(Scripted("b", "bc", "bc", "bcd", "bcd")) == 1
    assert reloads(Scripted("b", "a", "a")) == 0


def test_a_bad_file_is_tried_once_and_a_store_that_is_away_again() -> None:
    assert reloads(Scripted("b"), ConfigError([])) == 1
    assert reloads(Scripted("b", "b", "b", "a", "a"), ConfigError([])) == 2
    assert reloads(Scripted("b"), UnavailableError("cannot reach it"), UnavailableError("cannot reach it")) == 3

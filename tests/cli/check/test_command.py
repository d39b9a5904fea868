"""`remediator check` and `remediator schema` as they are called."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from remediator.cli import main

HERE = Path(__file__).parents[2] / "rules"
GOOD = HERE / "good"
CONFIG = "prometheus: {url: 'http://localhost:9090'}\nrule_files: ['*.rules.yml']\n"


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_files_the_config_and_its_rules_are_checked(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_folder / "remediator.yml").write_text(CONFIG)
    (in_folder / "a.rules.yml").write_text((GOOD / "library.yml").read_text())
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "SUCCESS: 4 services, 2 thresholds, 2 runbooks, 1 target\n"
    (in_folder / "b.rules.yml").write_text("services: [{name: checkout}]")
    assert main(["check"]) == 1
    assert "b.rules.yml:1:19: error: there is another service of the name checkout" in capsys.readouterr().out


def test_warnings_do_not_fail(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (in_folder / "other.yml").write_text(CONFIG)
    assert main(["check", "--config.file", "other.yml"]) == 0
    assert capsys.readouterr().out == (
        "other.yml:2:14: warning: no file fits this pattern [empty-pattern]\n"
        "    rule_files: ['*.rules.yml']\n"
        "                 ^\n\n"
        "SUCCESS: 0 services, 0 thresholds, 0 runbooks (1 warning)\n"
    )
    assert main(["check", str(GOOD / "shop.yml"), str(GOOD / "units.yml")]) == 0
    assert "SUCCESS: 2 services, 1 threshold, 1 runbook, 1 target (1 warning)" in capsys.readouterr().out


def test_configs_and_rule_files_are_told_apart(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (in_folder / "x.yml").write_text(CONFIG + "global: {service_label: app}\n")
    (in_folder / "y.yml").write_text("services: [{name: a, labels: {app: b}}]\n")
    assert main(["check", "y.yml"]) == 0
    capsys.readouterr()
    # The config's service label is the rule file's, in whatever order they are given.
    assert main(["check", "y.yml", "x.yml"]) == 1
    assert "the label app always holds the service's name" in capsys.readouterr().out


def test_files_that_cannot_be_read(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert "cannot read remediator.yml: No such file or directory" in capsys.readouterr().out
    (in_folder / "remediator.yml").write_text("prometheus: {url: 'http://p'}\nrule_files: [gone.yml]\n")
    assert main(["check"]) == 2
    assert "cannot read gone.yml" in capsys.readouterr().out
    (in_folder / "bad.yml").write_text("x: 1")
    assert main(["check", "gone.yml", "bad.yml"]) == 2
    assert "unknown key 'x'" in capsys.readouterr().out


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", "--output", "xml"])
    assert ended.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_json(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (in_folder / "x.yml").write_text("services:\n  - nme: a\n")
    assert main(["check", "--output", "json", "x.yml"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {"services": 0, "thresholds": 0, "runbooks": 0, "targets": 0}
    assert told["problems"][1] == {
        "file": "x.yml",
        "line": 2,
        "column": 5,
        "source": "  - nme: a",
        "severity": "error",
        "check": "unknown-key",
        "message": "unknown key 'nme'",
        "remedy": "did you mean name?",
    }


@pytest.mark.slow
def test_colour_on_a_terminal_alone(in_folder: Path) -> None:
    (in_folder / "x.yml").write_text("services: [{nme: '[red]a'}]\n")
    command = [sys.executable, "-m", "remediator", "check", "x.yml"]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (plain.returncode, "\x1b" in plain.stdout) == (1, False)
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=theirs, env={**os.environ, "TERM": "xterm-256color"}) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # what Linux gives at the end of a terminal
                break
            shown += part
        assert process.wait() == 1
    os.close(ours)
    text = shown.decode().replace("\r\n", "\n")
    assert "\x1b[1;31m" in text
    assert re.sub(r"\x1b\[[0-9;]*m", "", text) == plain.stdout


# JSON Schema.


def schema(file: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["schema", file]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def faults(value: Any, schema: dict[str, Any], parts: dict[str, Any], path: str = "$") -> list[str]:
    """Why a value does not fit a schema, for the keywords that ours use; any other keyword fails the test."""
    found = []
    for keyword, rule in schema.items():
        match keyword:
            case "$ref":
                found += faults(value, parts[rule.removeprefix("#/$defs/")], parts, path)
            case "type":
                if not any(_is(value, name) for name in ([rule] if isinstance(rule, str) else rule)):
                    found.append(f"{path} is no {rule}")
            case "enum":
                found += [] if value in rule else [f"{path} is none of {rule}"]
            case "pattern":
                found += [f"{path} is not like {rule}"] if isinstance(value, str) and not re.search(rule, value) else []
            case "minimum":
                found += [f"{path} is less than {rule}"] if isinstance(value, int) and value < rule else []
            case "items":
                for index, item in enumerate(value if isinstance(value, list) else ()):
                    found += faults(item, rule, parts, f"{path}[{index}]")
            case "properties":
                for key, inner in rule.items():
                    if isinstance(value, dict) and key in value:
                        found += faults(value[key], inner, parts, f"{path}.{key}")
            case "additionalProperties":
                known = schema.get("properties", {})
                for key in value if isinstance(value, dict) else ():
                    if key not in known:
                        found += (
                            [f"{path}.{key} is unknown"] if rule is False else faults(value[key], rule, parts, path)
                        )
            case "required":
                found += [f"{path}.{key} is missing" for key in rule if isinstance(value, dict) and key not in value]
            case "anyOf":
                if all(faults(value, option, parts, path) for option in rule):
                    found.append(f"{path} fits no alternative")
            case "$schema" | "title" | "description" | "$defs":
                pass
            case _:
                pytest.fail(f"the keyword {keyword} is not known here")
    return found


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    kinds = {"string": str, "number": (int, float), "integer": int, "array": list, "object": dict}
    return value is None if name == "null" else name != "boolean" and isinstance(value, kinds[name])


ROOT = HERE.parents[1]
SHIPPED = {
    "rules": [
        *GOOD.glob("*.yml"),
        *(ROOT / "rules").glob("*.yml"),
        *(ROOT / "examples/rules").glob("*.yml"),
        *(ROOT / "remediator/targets").glob("*.yml"),
        ROOT / "remediator/cli/demo/files/rules.yml",
    ],
    "tests": [*(ROOT / "rules/tests").glob("*.yml"), *(ROOT / "examples/rules/tests").glob("*.yml")],
    "config": [
        HERE.parent / "config/config.yml",
        ROOT / "examples/remediator.yml",
        ROOT / "examples/compose/remediator.yml",
    ],
}


@pytest.mark.parametrize(
    ("kind", "file"),
    [(kind, file) for kind, files in SHIPPED.items() for file in sorted(files)],
    ids=lambda part: part if isinstance(part, str) else part.stem,
)
def test_shipped_files_fit_their_schema(kind: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = schema(kind, capsys)
    assert faults(yaml.safe_load(file.read_text()), told, told["$defs"]) == []


@pytest.mark.parametrize("name", ["unknown-key", "missing-key", "wrong-type", "several"])
def test_bad_rule_files_do_not(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = schema("rules", capsys)
    assert faults(yaml.safe_load((HERE / "bad" / f"{name}.yml").read_text()), told, told["$defs"])


def test_nor_do_bad_configs_and_tests(capsys: pytest.CaptureFixture[str]) -> None:
    told = schema("config", capsys)
    assert faults({"alertmanagers": [{}], "prometheus": {"url": "http://p"}, "x": 1}, told, told["$defs"]) == [
        "$.alertmanagers[0].url is missing",
        "$.x is unknown",
    ]
    told = schema("tests", capsys)
    story = {"name": "a", "expect": [{"at": "soon", "healthy": True}], "acts": [{"at": "1m", "do": "wait"}]}
    found = faults({"rule_files": "a.yml", "tests": [story]}, told, told["$defs"])
    assert [fault.partition(" ")[0] for fault in found] == [
        "$.tests[0].expect[0].at",
        "$.tests[0].expect[0].healthy",
        "$.tests[0].acts[0].do",
    ]


@pytest.mark.parametrize("kind", SHIPPED)
def test_every_key_says_what_it_is_for(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, part in schema(kind, capsys)["$defs"].items():
        assert part["description"], name
        for key, field in part["properties"].items():
            assert field.get("description"), f"{name}.{key}"

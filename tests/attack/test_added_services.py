"""Services that are added at run time, or lie in a store, and bring commands: none of them is ever run."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest
from real.remediator import RealRemediator

from remediator.errors import ConfigError
from remediator.model.action import ActionSpec
from remediator.model.health import Health
from remediator.model.incident import Verdict
from remediator.model.matcher import Matcher
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Plan, Runbook, Service, Step, TargetRef
from remediator.rules.added_services import refusal
from remediator.rules.loader import load_rules, service_from_document, shipped_targets
from remediator.store.interface import NewIncident
from remediator.store.sqlite import open_sqlite

RULES = """
services:
  - {name: web, target: {compose: {file: /srv/shop/compose.yml}}}
  - {name: nginx, target: systemd}
runbooks:
  - {name: any, steps: [restart]}
targets:
  - name: tool
    params: {program: /usr/bin/true, name: '{{ service.name }}', script: '', flags: '', runner: '{{ program }}', base: ''}
    actions:
      restart: {run: ['{{ runner }}', '{{ name }}']}
      start: {run: [sh, -c, '{{ script }}']}
      stop: {shell: 'x=1; $RUN {{ name }}', env: {RUN: 'env {{ flags }}'}}
      call: {http: {url: '{{ base }}/{{ name }}'}}
"""


def rules(folder: Path) -> Rulebook:
    path = folder / "rules.yml"
    path.write_text(RULES)
    rulebook, _ = load_rules([path], service_label="service")
    return rulebook


@pytest.mark.parametrize(
    "target",
    [
        {"command": {"restart": "touch /tmp/owned"}},
        {"command": {"restart": ["touch", "/tmp/owned"]}},
        {"command": {"diagnose": {"shell": "touch /tmp/owned"}}},
        {"command": {"replicas": {"run": ["touch", "/tmp/owned"]}}},
        {"command": {"restart": {"http": {"url": "http://metadata/"}}}},
        {"docker": {"command": "/tmp/mine"}},
        {"compose": {"command": "sh -c 'touch /tmp/owned' --"}},
        {"compose": {"file": "/tmp/mine.yml"}},
        {"ansible": {"playbook": "/tmp/mine.yml"}},
        {"ansible": {"playbook": "site.yml", "inventory": "/tmp/executable"}},
        {"supervisor": {"config": "/tmp/mine.conf"}},
        {"runit": {"dir": "/tmp/mine"}},
        {"supervisor": {"server": "http://stranger:1"}},
        {"nomad": {"address": "http://stranger:1"}},
        {"nomad": {"token_file": "/etc/shadow"}},
        {"haproxy": {"backend": "b", "socket": "/run/other.sock"}},
        {"tool": {"program": "/tmp/mine"}},
        {"tool": {"runner": "/tmp/mine"}},
        {"tool": {"script": "touch /tmp/owned"}},
        {"tool": {"flags": "touch /tmp/owned"}},
        {"tool": {"base": "http://stranger"}},
        {"tool": {"restart": "touch /tmp/owned"}},
        {"systemd": {"restart": {"shell": "touch /tmp/owned"}}},
        {"systemd": {"shell": "touch /tmp/owned", "run": "x"}},
    ],
)
def test_no_service_added_at_run_time_brings_a_command(tmp_path: Path, target: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        service_from_document({"name": "x", "target": target}, rules(tmp_path))


@pytest.mark.parametrize(
    "target",
    [
        "systemd",
        {"systemd": {"unit": "x.service"}},
        {"docker": {"container": "x"}},
        {"compose": {"file": "/srv/shop/compose.yml", "service": "x"}},
        {"tool": {"name": "x"}},
        {"kubernetes": {"namespace": "shop", "deployment": "x"}},
    ],
)
def test_names_of_objects_and_values_of_the_rule_files_are_taken(tmp_path: Path, target: Any) -> None:
    rulebook = rules(tmp_path)
    assert refusal(service_from_document({"name": "x", "target": target}, rulebook), rulebook) == ""


@pytest.mark.parametrize(
    "action",
    [
        {"run": ["bash", "-ec", "{{ x }}"]},
        {"run": ["bash", "{{ x }}"]},
        {"run": ["/usr/bin/env", "A=1", "{{ x }}", "y"]},
        {"run": ["timeout", "5", "{{ x }}", "restart"]},
        {"run": ["sudo", "{{ x }}"]},
        {"run": ["nice", "-n", "5", "python3", "{{ x }}"]},
        {"run": ["ssh", "host1", "{{ x }}"]},
        {"run": ["make", "-f", "{{ x }}", "restart"]},
        {"run": ["ctl", "restart"], "env": {"LD_PRELOAD": "{{ x }}"}},
        {"run": ["ctl", "restart"], "env": {"PATH": "{{ x }}:/bin"}},
        {"shell": "timeout 5 {{ x }}"},
        {"shell": "bash {{ x }}"},
        {"shell": ". {{ x }}"},
        {"shell": "cd {{ x }} && ./run"},
        {"shell": "true; sudo -n -- {{ x }} | cat"},
    ],
)
def test_what_a_program_runs_for_another_is_no_parameter_either(tmp_path: Path, action: dict[str, Any]) -> None:
    target = {"name": "own", "params": {"x": "a", "name": "b"}, "actions": {"restart": action}}
    document = {"services": [{"name": "web", "target": {"own": {"x": "from-the-file"}}}], "targets": [target]}
    (tmp_path / "rules.yml").write_text(json.dumps(document))
    rulebook, _ = load_rules([tmp_path / "rules.yml"], service_label="service")
    with pytest.raises(ConfigError, match="says what is run"):
        service_from_document({"name": "x", "target": {"own": {"x": "/tmp/mine"}}}, rulebook)
    taken = service_from_document({"name": "x", "target": {"own": {"x": "from-the-file", "name": "c"}}}, rulebook)
    assert refusal(taken, rulebook) == ""


def test_every_reserved_parameter_is_one_of_a_shipped_target() -> None:
    from remediator.rules.added_services import _RESERVED

    for name, params in _RESERVED.items():
        assert params <= shipped_targets()[name].params.keys(), name


async def test_a_stored_service_with_a_command_is_refused_and_not_run(tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    touch = ActionSpec(shell=f"touch {owned}")
    service = Service(
        "evil",
        {"service": "evil"},
        (Matcher("service", "=", "evil"),),
        TargetRef("command", actions={"restart": touch, "diagnose": touch}),
    )
    store = await open_sqlite(str(tmp_path / "remediator.db"))
    plan = Plan(service, Runbook("any", (Step("restart", "restart"),)), shipped_targets()["command"])
    await store.add_service(service, "mallory", time.time())
    await store.open_incident(
        NewIncident("evil", "any", time.time(), Health.FAILED, "asked for", plan, {"service": "evil"}, forced=True)
    )
    await store.close()
    text = "runbooks: [{name: any, when: [degraded, failed], steps: [restart]}]"
    async with RealRemediator(tmp_path, prometheus="http://127.0.0.1:1", rules=text) as remediator:
        assert "cannot use the service evil, which was added at run time" in remediator.log
        with pytest.raises(urllib.error.HTTPError) as wrong:
            await asyncio.to_thread(
                remediator.request, "/api/v1/services/evil/heal", {"author": "m", "comment": "c", "force": True}
            )
        assert wrong.value.code == 404
        wrong.value.close()
        (incident,) = await asyncio.to_thread(remediator.incidents)
        assert incident["verdict"] == Verdict.SUPERSEDED
        assert "commands come from rule files alone" in incident["closing"]
        assert incident["runs"] == []
        # It can still be removed.
        await asyncio.to_thread(remediator.request, "/api/v1/services/evil?author=ada", None, "DELETE")
    assert not owned.exists()

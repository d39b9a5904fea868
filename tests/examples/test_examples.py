"""The examples are used as they are: by promtool, amtool, remediator itself, and what would read them otherwise."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from remediator.errors import ConfigError
from remediator.metrics import Metrics
from remediator.model.health import Health
from remediator.model.incident import Verdict
from remediator.web.web_config import load_web_config

EXAMPLES = Path(__file__).parents[2] / "examples"
DASHBOARD = EXAMPLES / "grafana/dashboards/remediator.json"


def ran(*command: str, cwd: Path = EXAMPLES, **more: Any) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def check(config: Path) -> str:
    return ran(sys.executable, "-m", "remediator", "check", f"--config.file={config}")


# Rules about remediator itself.


def test_the_alert_rules_fire_when_they_should_and_only_then() -> None:
    ran("promtool", "check", "rules", "remediator-alerts.yml", cwd=EXAMPLES / "prometheus")
    ran("promtool", "test", "rules", "remediator-alerts-test.yml", cwd=EXAMPLES / "prometheus")


def test_every_alert_rule_is_tested_both_ways() -> None:
    rules = yaml.safe_load((EXAMPLES / "prometheus/remediator-alerts.yml").read_text())
    tests = yaml.safe_load((EXAMPLES / "prometheus/remediator-alerts-test.yml").read_text())
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    cases = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


def exported() -> dict[str, set[str]]:
    """Every metric remediator exports, by the names of its samples, with its labels."""
    metrics = Metrics()
    names: dict[str, set[str]] = {"remediator_service_health": {"service", "health"}}
    for made in vars(metrics).values():
        if not hasattr(made, "describe"):
            continue
        for family in made.describe():
            labels = set(getattr(made, "_labelnames", ()))
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
            names |= {family.name + suffix: labels | ({"le"} if suffix == "_bucket" else set()) for suffix in suffixes}
    return names


def expressions() -> Iterator[str]:
    for group in yaml.safe_load((EXAMPLES / "prometheus/remediator-alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]


@pytest.mark.parametrize("expr", sorted(set(expressions())))
def test_expressions_name_metrics_and_labels_that_exist(expr: str) -> None:
    known = exported()
    used = set(re.findall(r"remediator_\w+", expr))
    assert used <= set(known), used - set(known)
    labels = {"job", "instance"}.union(*(known[name] for name in used))
    named = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expr)
    for group in re.findall(r"(?:by|on)\s*\(([^)]*)\)", expr):
        named += [name.strip() for name in group.split(",")]
    assert set(named) <= labels, set(named) - labels


# The dashboard.


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    return json.loads(DASHBOARD.read_text())


def test_its_queries_are_promql(dashboard: dict[str, Any], tmp_path: Path) -> None:
    rules = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expr = target["expr"].replace("$service", ".*")
            for name in ("$__rate_interval", "$__range", "$__interval"):
                expr = expr.replace(name, "5m")
            assert "$" not in expr
            rules.append({"record": f"panel:{len(rules)}", "expr": expr})
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in ran("promtool", "check", "rules", str(file))


def test_its_data_source_can_be_chosen(dashboard: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    sources = {json.dumps(p["datasource"], sort_keys=True) for p in dashboard["panels"] if p["type"] != "row"}
    assert sources == {
        '{"type": "prometheus", "uid": "${datasource}"}',
        '{"type": "grafana", "uid": "-- Grafana --"}',
    }


def test_its_panels_lie_side_by_side(dashboard: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_it_shows_every_health_and_verdict(dashboard: dict[str, Any]) -> None:
    panels = {panel["title"]: panel for panel in dashboard["panels"]}
    (mapping,) = panels["Health"]["fieldConfig"]["defaults"]["mappings"]
    assert {value["text"] for value in mapping["options"].values()} == set(Health)
    expr = panels["Health"]["targets"][0]["expr"]
    for number, value in mapping["options"].items():
        if number != "0":
            assert (
                f'{number} * max by (service) (remediator_service_health{{service=~"$service", health="{value["text"]}"}})'
                in expr
            )
    colours = panels["Heals by verdict"]["fieldConfig"]["overrides"]
    assert {override["matcher"]["options"] for override in colours} == set(Verdict)


def test_it_shows_the_annotations_by_the_tag_they_have(dashboard: dict[str, Any]) -> None:
    (heals,) = [query for query in dashboard["annotations"]["list"] if query["name"] == "Heals"]
    assert heals["datasource"] == {"type": "grafana", "uid": "-- Grafana --"}
    assert (heals["target"]["type"], heals["target"]["tags"]) == ("tags", ["remediator"])


def test_its_provisioning() -> None:
    folder = EXAMPLES / "grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    (provider,) = yaml.safe_load((folder / "dashboards/remediator.yml").read_text())["providers"]
    compose = yaml.safe_load((EXAMPLES / "compose/compose.yml").read_text())
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    assert mounts["../grafana/dashboards"] == provider["options"]["path"]


# Config.


def test_prometheus_and_alertmanager_take_their_config() -> None:
    assert "13 rules found" in ran("promtool", "check", "config", "prometheus.yml")
    assert "2 receivers" in ran("amtool", "check-config", "alertmanager.yml")


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (["alertname=HighErrors", "service=checkout"], "remediator,team"),
        (["alertname=RemediatorHealExhausted", "service=checkout", "job=remediator"], "team"),
        (["alertname=RemediationFailed", "service=checkout", "sender=remediator"], "team"),
    ],
)
def test_alertmanager_sends_everything_but_its_own_to_remediator(labels: list[str], receivers: str) -> None:
    routed = ran("amtool", "config", "routes", "test", "--config.file=alertmanager.yml", *labels)
    assert routed.splitlines()[0] == receivers


def test_remediator_takes_its_config_without_a_warning() -> None:
    assert check(EXAMPLES / "remediator.yml").strip() == "SUCCESS: 2 services, 2 thresholds, 1 runbook"


def test_remediator_takes_the_config_of_the_compose_example(tmp_path: Path) -> None:
    config = tmp_path / "remediator.yml"
    config.write_text((EXAMPLES / "compose/remediator.yml").read_text())
    (tmp_path / "rules").symlink_to(EXAMPLES / "rules")
    assert "SUCCESS" in check(config)


def test_compose_files_name_files_that_exist() -> None:
    compose = yaml.safe_load((EXAMPLES / "compose/compose.yml").read_text())
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (EXAMPLES / "compose" / source).exists(), source
    build = compose["services"]["remediator"]["build"]
    assert (EXAMPLES / "compose" / build["context"] / build["dockerfile"]).exists()
    ran("docker-compose", "--file", "compose.yml", "config", "--quiet", cwd=EXAMPLES / "compose")


def test_the_systemd_unit_is_well_formed(tmp_path: Path) -> None:
    unit = (EXAMPLES / "systemd/remediator.service").read_text()
    runnable = unit.replace("/opt/remediator/.venv/bin/remediator", "/bin/true").replace("User=remediator", "User=root")
    file = tmp_path / "remediator.service"
    file.write_text(runnable)
    assert ran("systemd-analyze", "verify", "--man=no", str(file)).strip() == ""
    assert "serve --config.file=/etc/remediator/remediator.yml" in unit


def test_the_kubernetes_manifests_fit_together(tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all((EXAMPLES / "kubernetes/remediator.yml").read_text()))
    by_kind = {document["kind"]: document for document in documents}
    pod = by_kind["Deployment"]["spec"]["template"]
    assert by_kind["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["serviceAccountName"] == by_kind["ServiceAccount"]["metadata"]["name"]
    (container,) = pod["spec"]["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert set(mounts.values()) == set(volumes)
    assert volumes["config"]["configMap"]["name"] == by_kind["ConfigMap"]["metadata"]["name"]
    assert volumes["secrets"]["secret"]["secretName"] == by_kind["Secret"]["metadata"]["name"]
    files = by_kind["ConfigMap"]["data"]
    for argument in container["args"][1:]:
        if argument.startswith("--config.file="):
            assert argument.rpartition("/")[2] in files
        if argument.startswith("--web.config.file="):
            assert argument.rpartition("/")[2] in by_kind["Secret"]["stringData"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert "SUCCESS" in check(tmp_path / "remediator.yml")


def test_the_kubernetes_secret_lets_nobody_in_before_it_is_filled_in(tmp_path: Path) -> None:
    documents = yaml.safe_load_all((EXAMPLES / "kubernetes/remediator.yml").read_text())
    (secret,) = [document for document in documents if document["kind"] == "Secret"]
    file = tmp_path / "web.yml"
    file.write_text(secret["stringData"]["web.yml"])
    with pytest.raises(ConfigError, match="not a bcrypt hash"):
        load_web_config(file)

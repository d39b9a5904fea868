"""The guards that come with the package: what they say of series, by Prometheus' own engine, and how they are named."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from real.prometheus import part

from remediator.errors import ConfigError
from remediator.rules.guards import guards, with_guards
from remediator.rules.loader import load_rules
from remediator.template.compile import LabelView, TemplateKind, compile_template

LABELS = {"namespace": "shop", "deployment": "web", "instance": "node1:9100", "node": "node1"}

DEPLOYMENT = '{namespace="shop", deployment="web"}'
HPA = '{namespace="shop", horizontalpodautoscaler="web-hpa"}'
OWN_HPA = {
    'kube_horizontalpodautoscaler_info{namespace="shop", horizontalpodautoscaler="web-hpa", '
    'scaletargetref_kind="Deployment", scaletargetref_name="web"}': "1x40"
}
SETTLED = {
    f"kube_deployment_status_observed_generation{DEPLOYMENT}": "7x40",
    f"kube_deployment_metadata_generation{DEPLOYMENT}": "7x40",
    f"kube_deployment_status_replicas_updated{DEPLOYMENT}": "3x40",
    f"kube_deployment_spec_replicas{DEPLOYMENT}": "3x40",
}
NO_BREACH = OWN_HPA | {
    f"kube_horizontalpodautoscaler_status_desired_replicas{HPA}": "3x40",
    f"kube_horizontalpodautoscaler_status_current_replicas{HPA}": "3x40",
    f"kube_horizontalpodautoscaler_spec_max_replicas{HPA}": "5x40",
}
OWNER = {
    'kube_replicaset_owner{namespace="shop", replicaset="web-1", owner_kind="Deployment", owner_name="web"}': "1x40",
    'kube_replicaset_owner{namespace="shop", replicaset="web-2", owner_kind="Deployment", owner_name="web"}': "1x40",
    'kube_replicaset_created{namespace="shop", replicaset="web-1"}': "-90000x40",
}
MEMORY = {'node_memory_MemTotal_bytes{instance="node1:9100"}': "100x40"}
DISK = {
    'node_filesystem_size_bytes{instance="node1:9100", mountpoint="/", fstype="ext4"}': "100x40",
    'node_filesystem_size_bytes{instance="node1:9100", mountpoint="/run", fstype="tmpfs"}': "100x40",
    'node_filesystem_avail_bytes{instance="node1:9100", mountpoint="/run", fstype="tmpfs"}': "0x40",
}

# What the guard says at 30 minutes, with one sample a minute.
CASES: list[tuple[str, Mapping[str, str], bool]] = [
    ("rollout_in_progress", SETTLED, False),
    ("rollout_in_progress", SETTLED | {f"kube_deployment_metadata_generation{DEPLOYMENT}": "7x25 8x10"}, True),
    ("rollout_in_progress", SETTLED | {f"kube_deployment_status_replicas_updated{DEPLOYMENT}": "3x25 1x10"}, True),
    ("recent_deploy", OWNER, False),
    ("recent_deploy", OWNER | {'kube_replicaset_created{namespace="shop", replicaset="web-2"}': "600x40"}, True),
    ("recent_deploy", OWNER | {'kube_replicaset_created{namespace="shop", replicaset="other-1"}': "600x40"}, False),
    ("autoscaler_at_work", NO_BREACH, False),
    (
        "autoscaler_at_work",
        NO_BREACH | {f"kube_horizontalpodautoscaler_status_desired_replicas{HPA}": "3x25 4x10"},
        True,
    ),
    ("autoscaler_at_maximum", NO_BREACH, False),
    ("autoscaler_at_maximum", NO_BREACH | {f"kube_horizontalpodautoscaler_spec_max_replicas{HPA}": "3x40"}, True),
    ("node_out_of_memory", MEMORY | {'node_memory_MemAvailable_bytes{instance="node1:9100"}': "6x40"}, False),
    ("node_out_of_memory", MEMORY | {'node_memory_MemAvailable_bytes{instance="node1:9100"}': "4x40"}, True),
    (
        "node_out_of_disk",
        DISK | {'node_filesystem_avail_bytes{instance="node1:9100", mountpoint="/", fstype="ext4"}': "6x40"},
        False,
    ),
    (
        "node_out_of_disk",
        DISK | {'node_filesystem_avail_bytes{instance="node1:9100", mountpoint="/", fstype="ext4"}': "4x40"},
        True,
    ),
    (
        "node_under_pressure",
        {'kube_node_status_condition{node="node1", condition="DiskPressure", status="true"}': "0x40"},
        False,
    ),
    (
        "node_under_pressure",
        {'kube_node_status_condition{node="node1", condition="DiskPressure", status="true"}': "0x25 1x10"},
        True,
    ),
]


def test_each_guard_holds_when_it_should_and_otherwise_not(tmp_path: Path) -> None:
    promtool = part("promtool", "prometheus")
    rules: list[Any] = [
        {"record": f"guard:{name}", "expr": f"count({rendered(f'guard({name})')}) or vector(0)"} for name in guards()
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "guards", "rules": rules}]}))
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in given.items()],
            "promql_expr_test": [
                {
                    "expr": f"guard:{name} > bool 0",
                    "eval_time": "30m",
                    "exp_samples": [{"labels": "{}", "value": int(holds)}],
                }
            ],
        }
        for name, given, holds in CASES
    ]
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": tests}))
    done = subprocess.run([promtool, "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_guard_has_a_case_of_either_kind() -> None:
    assert {(name, holds) for name, _, holds in CASES} == {
        (name, holds) for name in guards() for holds in (True, False)
    }


def test_a_guard_stands_in_any_expression_and_keeps_its_templates() -> None:
    text = with_guards("absent(guard(node_under_pressure)) or guard( recent_deploy )")
    assert text.startswith("absent((kube_node_status_condition{node=")
    assert "guard(" not in text
    assert 'owner_name="web"' in rendered("guard(recent_deploy)")


def test_an_unknown_guard_is_no_rule(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text("runbooks:\n  - {name: web, steps: [{run: [true], unless: guard(recent_deploys)}]}\n")
    with pytest.raises(ConfigError, match=r"there is no guard 'recent_deploys' \[unknown-guard\]"):
        load_rules([file], service_label="service")


def rendered(text: str) -> str:
    return compile_template(with_guards(text), TemplateKind.PROMQL).render({"labels": LabelView(LABELS)})

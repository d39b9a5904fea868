"""The guards that come with the package: what they say of series, by Prometheus' own engine, alone and in conditions."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
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


NO_AUTOSCALER = {f"kube_deployment_spec_replicas{DEPLOYMENT}": "3x40"}
"""A deployment that no autoscaler is for."""


def _expected(tmp_path: Path, cases: Sequence[tuple[str, Mapping[str, str], bool | None]]) -> None:
    """Check what conditions give by promtool: 1, 0, or nothing."""
    promtool = part("promtool", "prometheus")
    by_series: dict[str, tuple[Mapping[str, str], list[Any]]] = {}
    for text, given, holds in cases:
        samples = [] if holds is None else [{"labels": "{}", "value": int(holds)}]
        _, asked = by_series.setdefault(repr(given), (given, []))
        asked.append({"expr": f"({rendered(text)}) + 0", "eval_time": "30m", "exp_samples": samples})
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in given.items()],
            "promql_expr_test": asked,
        }
        for given, asked in by_series.values()
    ]
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": [], "tests": tests}))
    done = subprocess.run([promtool, "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_guard_is_one_or_zero_and_empty_without_what_it_rests_on(tmp_path: Path) -> None:
    alone: list[tuple[str, Mapping[str, str], bool | None]] = [
        (f"guard({name})", given, true) for name, given, true in CASES
    ]
    unseen: list[tuple[str, Mapping[str, str], bool | None]] = [(f"guard({name})", {}, None) for name in guards()]
    no_autoscaler = [
        ("guard(autoscaler_at_work)", NO_AUTOSCALER, False),
        ("guard(autoscaler_at_maximum)", NO_AUTOSCALER, False),
        # It is there, but what it wants is not to be seen.
        ("guard(autoscaler_at_work)", {**NO_AUTOSCALER, **OWN_HPA}, None),
        ("guard(autoscaler_at_maximum)", {**NO_AUTOSCALER, **OWN_HPA}, None),
    ]
    _expected(tmp_path, [*alone, *unseen, *no_autoscaler])


A, B = "guard(node_out_of_memory)", "guard(node_under_pressure)"
VALUES: dict[bool | None, tuple[Mapping[str, str], Mapping[str, str]]] = {
    True: (
        {**MEMORY, 'node_memory_MemAvailable_bytes{instance="node1:9100"}': "4x40"},
        {'kube_node_status_condition{node="node1", condition="DiskPressure", status="true"}': "1x40"},
    ),
    False: (
        {**MEMORY, 'node_memory_MemAvailable_bytes{instance="node1:9100"}': "6x40"},
        {'kube_node_status_condition{node="node1", condition="DiskPressure", status="true"}': "0x40"},
    ),
    None: ({}, {}),
}
THREE = (True, False, None)


def _or(a: bool | None, b: bool | None) -> bool | None:
    return True if a or b else None if a is None or b is None else False


def _and(a: bool | None, b: bool | None) -> bool | None:
    return False if a is False or b is False else None if a is None or b is None else True


def _not(a: bool | None) -> bool | None:
    return None if a is None else not a


LOGIC: list[tuple[str, Callable[[bool | None, bool | None], bool | None]]] = [
    (f"{A} or {B}", _or),
    (f"{A} and {B}", _and),
    (f"{A} and on () {B}", _and),
    (f"{A} unless {B}", lambda a, b: _and(a, _not(b))),
    (f"absent({A}) and absent({B})", lambda a, b: _and(_not(a), _not(b))),
    (f"absent({A} or {B})", lambda a, b: _not(_or(a, b))),
    (f"({A}) == bool 0", lambda a, _: _not(a)),
    (f"1 - {B}", lambda _, b: _not(b)),
    (f"{A} or ({B} and absent({A}))", lambda a, b: _or(a, _and(b, _not(a)))),
    # A part without a guard is PromQL as it is, and by itself empty when it is false.
    (f"vector(5) > 4 and {A}", lambda a, _: a),
    (f"vector(0) == 0 and on () vector(1) < 2 and {A}", lambda a, _: a),
    (f"vector(3) > 4 or {A}", lambda a, _: True if a else None),
    (f"vector(3) > bool 4 or {A} or {B}", _or),
    (f"scalar(vector(3)) > bool 4 or {A}", lambda a, _: a),
    (f"absent(vector(1)) or {A}", lambda a, _: a),
    (f"vector(0) / 0 or {A}", lambda a, _: True if a else None),
]


def test_conditions_of_guards_keep_the_three_values(tmp_path: Path) -> None:
    cases = [
        (text, {**VALUES[a][0], **VALUES[b][1]}, meaning(a, b)) for text, meaning in LOGIC for a in THREE for b in THREE
    ]
    _expected(tmp_path, cases)


def test_with_guard_empty_false_what_cannot_be_told_is_false(tmp_path: Path) -> None:
    texts = {
        f"{A} or {B}": lambda a, b: bool(a or b),
        f"{A} and {B}": lambda a, b: bool(a and b),
        f"absent({A}) and absent({B})": lambda a, b: not (a or b),
    }
    cases = [
        (with_guards(text, guard_empty=False), {**VALUES[a][0], **VALUES[b][1]}, meaning(a, b))
        for text, meaning in texts.items()
        for a in THREE
        for b in THREE
    ]
    _expected(tmp_path, cases)


def test_every_guard_has_a_case_of_either_kind() -> None:
    assert {(name, holds) for name, _, holds in CASES} == {
        (name, holds) for name in guards() for holds in (True, False)
    }


def test_a_guard_stands_in_any_expression_and_keeps_its_templates() -> None:
    text = with_guards("absent(guard(node_under_pressure)) or guard( recent_deploy )")
    assert "guard(" not in text
    assert 'node="{{ labels.node }}"' in text
    assert with_guards("up == 0 or down") == "up == 0 or down"
    # What is not understood stays as it is, and the guard within is there or not.
    assert with_guards("guard(node_under_pressure) ~ 5").endswith(") == 1) ~ 5")
    assert 'owner_name="web"' in rendered("guard(recent_deploy)")


def test_an_unknown_guard_is_no_rule(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text("runbooks:\n  - {name: web, steps: [{run: [true], unless: guard(recent_deploys)}]}\n")
    with pytest.raises(ConfigError, match=r"there is no guard 'recent_deploys' \[unknown-guard\]"):
        load_rules([file], service_label="service")


def rendered(text: str) -> str:
    return compile_template(with_guards(text), TemplateKind.PROMQL).render({"labels": LabelView(LABELS)})

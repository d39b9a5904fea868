"""What the conventions' expressions say of series, by Prometheus' own engine."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml
from real.prometheus import part

from remediator.cli.init.conventions import CONVENTIONS, expression
from remediator.rules.promql import series_labels

POD = 'namespace="shop",pod="web-5d9c7b8f6d-x2x9z"'

# The convention, the metric it is about, series with a sample a minute, and what it says of them at 30 minutes.
CASES: list[tuple[str, str, Mapping[str, str], Mapping[str, float]]] = [
    (
        "instances_up",
        "up",
        {'up{service="web",instance="a"}': "1x40", 'up{service="web",instance="b"}': "0x40", "up": "0x40"},
        {'{service="web"}': 0.5, "{}": 0},
    ),
    (
        "error_ratio",
        "http_requests_total",
        {
            'http_requests_total{service="half",code="200"}': "0+60x40",
            'http_requests_total{service="half",code="503"}': "0+60x40",
            'http_requests_total{service="well",code="200"}': "0+60x40",
            'http_requests_total{service="well",code="404"}': "0+60x40",
            'http_requests_total{service="idle",code="500"}': "7x40",
            # One error that nobody would notice does not make a service bad.
            'http_requests_total{service="rare",code="500"}': "0x29 1x11",
        },
        {
            '{service="half"}': 0.5,
            '{service="well"}': 0,
            '{service="idle"}': 0,
            '{service="rare"}': 1 / 300 / 0.1,
        },
    ),
    (
        "response_error_ratio",
        "http_request_duration_seconds_count",
        {
            'http_request_duration_seconds_count{service="web",code="200"}': "0+60x40",
            'http_request_duration_seconds_count{service="web",code="500"}': "0+60x40",
        },
        {'{service="web"}': 0.5},
    ),
    (
        "latency_p95",
        "http_request_duration_seconds_bucket",
        {
            'http_request_duration_seconds_bucket{service="fast",le="1"}': "0+60x40",
            'http_request_duration_seconds_bucket{service="fast",le="+Inf"}': "0+60x40",
            'http_request_duration_seconds_bucket{service="slow",le="1"}': "0x40",
            'http_request_duration_seconds_bucket{service="slow",le="8"}': "0x40",
            'http_request_duration_seconds_bucket{service="slow",le="+Inf"}': "0+60x40",
            'http_request_duration_seconds_bucket{service="idle",le="1"}': "7x40",
            'http_request_duration_seconds_bucket{service="idle",le="+Inf"}': "7x40",
        },
        {'{service="fast"}': 0.95, '{service="slow"}': 8, '{service="idle"}': 0},
    ),
    (
        "replicas_unavailable",
        "kube_deployment_status_replicas_unavailable",
        {
            'kube_deployment_status_replicas_unavailable{namespace="shop",deployment="web",service="ksm"}': "1x40",
            'kube_deployment_spec_replicas{namespace="shop",deployment="web",service="ksm"}': "4x40",
            'kube_deployment_status_replicas_unavailable{namespace="shop",deployment="off",service="ksm"}': "0x40",
            'kube_deployment_spec_replicas{namespace="shop",deployment="off",service="ksm"}': "0x40",
        },
        {
            '{namespace="shop",deployment="web",service="web"}': 0.25,
            '{namespace="shop",deployment="off",service="off"}': 0,
        },
    ),
    (
        "pod_memory",
        "container_memory_working_set_bytes",
        {
            f'container_memory_working_set_bytes{{{POD},container="app",service="kubelet"}}': "75x40",
            f'container_spec_memory_limit_bytes{{{POD},container="app",service="kubelet"}}': "100x40",
            f'container_memory_working_set_bytes{{{POD},container="free",service="kubelet"}}': "75x40",
            f'container_spec_memory_limit_bytes{{{POD},container="free",service="kubelet"}}': "0x40",
            # The sum over the pod, and pods of other controllers.
            f"container_memory_working_set_bytes{{{POD}}}": "90x40",
            f"container_spec_memory_limit_bytes{{{POD}}}": "90x40",
            'container_memory_working_set_bytes{namespace="shop",pod="db-0",container="app",service="kubelet"}': "1x40",
            'container_spec_memory_limit_bytes{namespace="shop",pod="db-0",container="app",service="kubelet"}': "1x40",
        },
        {'{namespace="shop",deployment="web",service="web"}': 0.75},
    ),
    (
        "container_memory",
        "container_memory_working_set_bytes",
        {
            'container_memory_working_set_bytes{name="redis",instance="a"}': "75x40",
            'container_spec_memory_limit_bytes{name="redis",instance="a"}': "100x40",
            'container_memory_working_set_bytes{name="free",instance="a"}': "75x40",
            'container_spec_memory_limit_bytes{name="free",instance="a"}': "0x40",
            f'container_memory_working_set_bytes{{{POD},name="k8s_app"}}': "1x40",
            f'container_spec_memory_limit_bytes{{{POD},name="k8s_app"}}': "1x40",
        },
        {'{name="redis",service="redis"}': 0.75},
    ),
    (
        "unit_failed",
        "node_systemd_unit_state",
        {
            'node_systemd_unit_state{name="web.service",state="failed",instance="web1:9100",service="node"}': "1x40",
            'node_systemd_unit_state{name="web.service",state="active",instance="web1:9100",service="node"}': "0x40",
            'node_systemd_unit_state{name="web.socket",state="failed",instance="web1:9100",service="node"}': "1x40",
            'node_systemd_unit_state{name="db.service",state="failed",instance="[::1]:9100",service="node"}': "0x40",
        },
        {'{service="web",host="web1"}': 1, '{service="db",host="[::1]"}': 0},
    ),
    (
        "disk_free",
        "node_filesystem_avail_bytes",
        {
            'node_filesystem_avail_bytes{instance="a",mountpoint="/",fstype="ext4"}': "25x40",
            'node_filesystem_size_bytes{instance="a",mountpoint="/",fstype="ext4"}': "100x40",
            'node_filesystem_avail_bytes{instance="a",mountpoint="/run",fstype="tmpfs"}': "0x40",
            'node_filesystem_size_bytes{instance="a",mountpoint="/run",fstype="tmpfs"}': "100x40",
            'node_filesystem_avail_bytes{instance="a",mountpoint="/none",fstype="nfs"}': "0x40",
            'node_filesystem_size_bytes{instance="a",mountpoint="/none",fstype="nfs"}': "0x40",
        },
        {'{instance="a",mountpoint="/"}': 0.25},
    ),
    (
        "memory_available",
        "node_memory_MemAvailable_bytes",
        {
            'node_memory_MemAvailable_bytes{instance="a",job="node"}': "25x40",
            'node_memory_MemTotal_bytes{instance="a",job="node"}': "100x40",
        },
        {'{instance="a"}': 0.25},
    ),
    (
        "probe_success",
        "probe_success",
        {'probe_success{instance="http://a",service="web",job="b"}': "0x40", 'probe_success{instance="c"}': "1x40"},
        {'{instance="http://a",service="web"}': 0, '{instance="c"}': 1},
    ),
]


def test_each_expression_says_what_it_should(tmp_path: Path) -> None:
    conventions = {convention.name: convention for convention in CONVENTIONS}
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in given.items()],
            "promql_expr_test": [
                {
                    "expr": expression(conventions[name], metric, "service", ("code",)),
                    "eval_time": "30m",
                    "exp_samples": [{"labels": labels, "value": value} for labels, value in said.items()],
                }
            ],
        }
        for name, metric, given, said in CASES
    ]
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": [], "tests": tests}))
    done = subprocess.run(
        [part("promtool", "prometheus"), "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_expression_has_a_case() -> None:
    """Those of Micrometer and OpenTelemetry are those of the client libraries, for other names."""
    tried = {name for name, *_ in CASES}
    templates = {convention.expr for convention in CONVENTIONS if convention.name in tried}
    assert {convention.expr for convention in CONVENTIONS} == templates


def test_a_service_label_with_a_dot_stands_in_quotes() -> None:
    for convention in CONVENTIONS:
        dotted = expression(convention, "metric", "service.name", ("code",))
        plain = expression(convention, "metric", "service_name", ("code",))
        assert series_labels(dotted) is not None
        assert "<service>" not in dotted
        assert dotted.replace('"service.name"', "service_name") == plain.replace('"service_name"', "service_name")

"""The Helm chart: rendered by Helm's own library, applied to a real API server, its config read as serve would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python.chart import Chart, lint
from helm_python.errors import HelmError
from real.kubernetes import RealKubernetes

from remediator.config.settings import load_config

CHART = Path(__file__).parents[2] / "examples/chart"
HEALS_SHOP = {"rbac": {"namespaces": ["shop"]}}
EVERYTHING: dict[str, Any] = {
    "replicas": 2,
    "postgresql": {"url": "postgresql://remediator@postgres.databases/remediator"},
    "config": {"storage": {"retention": "30d"}},
    "rules": {"web.yml": "services: [{name: checkout}]\n", "more.yml": {"services": [{"name": "cart"}]}},
    "sidecar": {"enabled": True},
    "rbac": {
        "namespaces": ["shop", "search"],
        "features": {"restart": True, "scale": True, "rollback": True, "diagnose": True, "gitops": True},
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
    "networkPolicy": {"enabled": True},
}
OPERATORS = ("ServiceMonitor", "PrometheusRule")
"""Kinds that prometheus-operator brings."""


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of the chart with these values, installed as `heal` into the namespace `remediator`."""
    files = Chart.load(CHART).render(values, name="heal", namespace="remediator")
    texts = [text for name, text in files.items() if not name.endswith("NOTES.txt")]
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [item for item in objects if item["kind"] == kind]
    return found


def apply(cluster: RealKubernetes, objects: list[dict[str, Any]]) -> None:
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKubernetes]:
    with RealKubernetes(tmp_path_factory.mktemp("cluster")) as cluster:
        for namespace in ("remediator", "shop", "search"):
            cluster.kubectl("create", "namespace", namespace)
        yield cluster


@pytest.mark.parametrize("values", [{}, HEALS_SHOP, EVERYTHING])
def test_helm_finds_nothing_wrong_with_it(values: dict[str, Any]) -> None:
    assert lint(CHART, values)["errors"] == []


@pytest.mark.parametrize("values", [{}, HEALS_SHOP, EVERYTHING])
def test_a_real_api_server_takes_it(cluster: RealKubernetes, values: dict[str, Any]) -> None:
    apply(cluster, [item for item in rendered(values) if item["kind"] not in OPERATORS])


@pytest.mark.parametrize("values", [{}, EVERYTHING])
def test_serve_can_read_its_config(tmp_path: Path, values: dict[str, Any]) -> None:
    config = next(item for item in rendered(values) if item["metadata"]["name"] == "heal-remediator")
    (tmp_path / "remediator.yml").write_text(
        config["data"]["remediator.yml"].replace("/etc/remediator-secrets", str(tmp_path))
    )
    (tmp_path / "postgres").write_text("secret")
    loaded = load_config(tmp_path / "remediator.yml")
    assert loaded.storage.url == values.get("postgresql", {}).get("url", "sqlite:////var/lib/remediator/remediator.db")
    if values:
        assert loaded.storage.retention == 30 * 86400
        assert loaded.rule_files == ("/etc/remediator/rules/*.yml", "/etc/remediator-labelled/*.yml")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"replicas": 2}, "needs postgresql.url"),
        ({"replicas": "two"}, "got string, want integer"),
        ({"replica": 1}, "'replica' not allowed"),
        ({"rules": {"web.txt": ""}}, "web.txt"),
        ({"rbac": {"features": {"delete": True}}}, "'delete' not allowed"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HelmError, match=sentence):
        rendered(values)


@pytest.mark.parametrize("values", [{}, EVERYTHING])
def test_its_pods_are_restricted_as_pod_security_has_it(values: dict[str, Any]) -> None:
    pod = one(rendered(values), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not any({"hostPath", "hostNetwork"} & volume.keys() for volume in pod["volumes"])
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


CAN = {
    "restart": ("patch", "deployments.apps", ""),
    "scale": ("update", "statefulsets.apps", "scale"),
    "rollback": ("list", "replicasets.apps", ""),
    "diagnose": ("get", "pods", "log"),
}


@pytest.mark.parametrize("feature", CAN)
def test_a_feature_grants_the_verbs_of_its_actions_and_no_others(cluster: RealKubernetes, feature: str) -> None:
    off = dict.fromkeys(CAN, False)
    objects = rendered({"rbac": {"namespaces": ["shop"], "features": off | {feature: True}}})
    apply(cluster, [item for item in objects if item["kind"] in ("ServiceAccount", "Role", "RoleBinding")])

    def may(verb: str, resource: str, subresource: str, namespace: str) -> bool:
        said = cluster.kubectl(
            "auth", "can-i", verb, resource, f"--subresource={subresource}", f"--namespace={namespace}",
            "--as=system:serviceaccount:remediator:heal-remediator", check=False,
        )  # fmt: skip
        return said.split()[0] == "yes"

    assert {name for name, can in CAN.items() if may(*can, "shop")} - {feature} <= {
        "restart" if feature == "rollback" else feature,  # A rollback is a patch as well.
        "rollback" if feature == "diagnose" else feature,  # The logs of a deployment are found by its replica sets.
    }
    assert may(*CAN[feature], "shop")
    assert not may(*CAN[feature], "kube-system")
    assert not may("delete", "pods", "", "shop")
    assert not may("get", "secrets", "", "shop")


def test_who_scrapes_it_keeps_the_label_of_the_healed_service() -> None:
    monitor = one(rendered(EVERYTHING), "ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["endpoints"][0]["honorLabels"]
    alerts = one(rendered(EVERYTHING), "PrometheusRule")["spec"]["groups"][0]["rules"]
    assert "RemediatorDown" in {alert["alert"] for alert in alerts}

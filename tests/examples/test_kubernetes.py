"""The Kubernetes manifests, applied to a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from real.kubernetes import RealKubernetes

MANIFESTS = Path(__file__).parents[2] / "examples/kubernetes/remediator.yml"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKubernetes]:
    with RealKubernetes(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.kubectl("create", "namespace", "shop")
        # Applied as it is, but for an access mode that came later than this server.
        cluster.apply(MANIFESTS.read_text().replace("ReadWriteOncePod", "ReadWriteOnce"))
        yield cluster


def test_the_manifests_are_taken_by_a_real_api_server(cluster: RealKubernetes) -> None:
    objects = cluster.get("deployment,service,configmap,secret,persistentvolumeclaim", "--namespace=remediator")
    kinds = {item["kind"] for item in objects["items"] if item["metadata"]["name"] == "remediator"}
    assert kinds == {"Deployment", "Service", "ConfigMap", "Secret", "PersistentVolumeClaim"}


@pytest.mark.parametrize(
    ("verb", "resource", "namespace", "may"),
    [
        ("patch", "deployments.apps", "shop", True),
        ("patch", "statefulsets.apps", "shop", True),
        ("get", "pods/log", "shop", True),
        ("patch", "deployments.apps", "kube-system", False),
        ("delete", "deployments.apps", "shop", False),
        ("create", "pods", "shop", False),
        ("get", "secrets", "shop", False),
        ("get", "secrets", "remediator", False),
    ],
)
def test_its_account_may_heal_where_it_is_bound_and_nothing_else(
    cluster: RealKubernetes, verb: str, resource: str, namespace: str, may: bool
) -> None:
    resource, _, subresource = resource.partition("/")
    said = cluster.kubectl(
        "auth", "can-i", verb, resource, f"--namespace={namespace}", f"--subresource={subresource}",
        "--as=system:serviceaccount:remediator:remediator", check=False,
    )  # fmt: skip
    assert said.split()[0] == ("yes" if may else "no")


def test_an_account_acts_by_a_kubeconfig_of_its_own(cluster: RealKubernetes) -> None:
    own = cluster.kubeconfig_of("remediator", "remediator")
    said = cluster.kubectl(f"--kubeconfig={own}", "get", "deployments", "--namespace=kube-system", check=False)
    assert "system:serviceaccount:remediator:remediator" in said
    assert "forbidden" in said


def test_its_pods_are_restricted_as_pod_security_has_it() -> None:
    objects = list(yaml.safe_load_all(MANIFESTS.read_text()))
    (namespace,) = [item for item in objects if item["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    (deployment,) = [item for item in objects if item["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert [container["securityContext"] for container in pod["containers"]] == [
        {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    ]


def test_the_kustomize_base_is_the_manifests(cluster: RealKubernetes) -> None:
    built = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(MANIFESTS.parent))))
    written = list(yaml.safe_load_all(MANIFESTS.read_text()))
    names = [sorted((item["kind"], item["metadata"]["name"]) for item in objects) for objects in (built, written)]
    assert names[0] == names[1]

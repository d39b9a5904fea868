"""A rollback that GitOps would undo is refused with that reason, in a real shell.

Once by a real kubectl, where there is one, from a stand-in for the API of a cluster; once, everywhere, by a kubectl that
says what the real one is shown to say.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from doubles.cluster import Cluster

from remediator.model.action import Outcome, Result

Do = Callable[..., Awaitable[Result]]

ROLLED_BACK = {
    "kubernetes": "kubectl --context= --namespace=shop rollout undo deployment/web\n",
    "helm": "helm rollback web --kube-context= --namespace=shop --wait --timeout=4m\n",
}
HELM_LABEL = {"app.kubernetes.io/instance": "web"}
TRACKED = {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"}}
KUSTOMIZED = {
    "labels": {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
}
RELEASED = {"labels": {"helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "shop"}}


def thing(kind: str, name: str, namespace: str, spec: Any = None, **metadata: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace, **metadata}, "spec": spec or {}}


def application(name: str = "shop", namespace: str = "argocd", **policy: Any) -> dict[str, Any]:
    return thing("Application", name, namespace, {"syncPolicy": policy})


@pytest.fixture
def bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs are looked for first; helm only tells its arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "helm").write_text('#!/bin/sh\necho "helm $*"\n')
    (folder / "helm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def kubectl(bin: Path, text: str) -> None:
    """Put a kubectl there that does as the text says when it shall get something, and otherwise tells its arguments."""
    (bin / "kubectl").write_text(f'#!/bin/sh\ncase " $* " in *" get "*) {text} ;; esac\necho "kubectl $*"\n')
    (bin / "kubectl").chmod(0o755)


# By a real kubectl.

CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], str]] = {
    "nobody keeps it": ({}, [], ""),
    "Argo CD syncs it by annotation": (
        TRACKED,
        [application(automated={"selfHeal": True})],
        'would undo a rollback (applications.argoproj.io shop, automated={"selfHeal":true})',
    ),
    "Argo CD syncs it, without more": (
        TRACKED,
        [application(automated={})],
        "would undo a rollback (applications.argoproj.io shop, automated={})",
    ),
    "Argo CD syncs it by hand": (TRACKED, [application()], ""),
    "Argo CD's automation is off": (TRACKED, [application(automated={"enabled": False, "selfHeal": True})], ""),
    "one of two applications of the name syncs it": (
        TRACKED,
        [application(), application(namespace="other", automated={})],
        "would undo a rollback (applications.argoproj.io shop, ",
    ),
    "Argo CD keeps it from another cluster": (
        TRACKED,
        [],
        "would undo a rollback (applications.argoproj.io shop, not in this cluster)",
    ),
    "an application of any namespace": (
        {"annotations": {"argocd.argoproj.io/tracking-id": "team_shop:apps/Deployment:shop/web"}},
        [application(namespace="team")],
        "",
    ),
    "Argo CD's own label": (
        {"labels": {"argocd.argoproj.io/instance": "shop"}},
        [application(automated={"prune": True})],
        "would undo a rollback (applications.argoproj.io shop, ",
    ),
    "Argo CD's usual label, which others use too": (
        {"labels": HELM_LABEL},
        [application("web", automated={"selfHeal": True})],
        'may undo a rollback (applications.argoproj.io web, automated={"selfHeal":true})',
    ),
    "the usual label of an application by hand": ({"labels": HELM_LABEL}, [application("web")], ""),
    "the usual label of nobody": ({"labels": HELM_LABEL}, [application(automated={})], ""),
    "a Kustomization": (
        KUSTOMIZED,
        [thing("Kustomization", "apps", "flux-system")],
        "would undo a rollback (kustomizations.kustomize.toolkit.fluxcd.io apps, suspend=)",
    ),
    "a suspended Kustomization": (KUSTOMIZED, [thing("Kustomization", "apps", "flux-system", {"suspend": True})], ""),
    "a Kustomization that is no more suspended": (
        KUSTOMIZED,
        [thing("Kustomization", "apps", "flux-system", {"suspend": False})],
        "would undo a rollback (kustomizations.kustomize.toolkit.fluxcd.io apps, suspend=false)",
    ),
    "a Kustomization elsewhere": (
        KUSTOMIZED,
        [thing("Kustomization", "apps", "other", {"suspend": True})],
        "would undo a rollback (kustomizations.kustomize.toolkit.fluxcd.io apps, Error from server (NotFound): ",
    ),
    "a HelmRelease": (
        RELEASED,
        [thing("HelmRelease", "web", "shop")],
        "would undo a rollback (helmreleases.helm.toolkit.fluxcd.io web, suspend=)",
    ),
    "a suspended HelmRelease": (RELEASED, [thing("HelmRelease", "web", "shop", {"suspend": True})], ""),
    "a suspended HelmRelease of a synced application": (
        {**RELEASED, **TRACKED},
        [thing("HelmRelease", "web", "shop", {"suspend": True}), application(automated={})],
        "would undo a rollback (applications.argoproj.io shop, ",
    ),
}


@pytest.fixture
def real_kubectl(bin: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Cluster], Cluster]:
    """Makes a cluster the one that the real kubectl finds; it tells what it would do there instead of doing it."""
    real = shutil.which("kubectl")
    if real is None:
        pytest.skip("kubectl is not installed: apt-get install kubernetes-client")
    kubectl(bin, f'exec {real} "$@"')
    monkeypatch.setenv("HOME", str(bin))

    def point(cluster: Cluster) -> Cluster:
        cluster.write_config(bin)
        return cluster

    return point


@pytest.mark.parametrize("target", ROLLED_BACK)
@pytest.mark.parametrize("case", CASES)
async def test_gitops_as_a_real_kubectl_sees_it(
    do: Do, real_kubectl: Callable[[Cluster], Cluster], target: str, case: str
) -> None:
    metadata, others, refused = CASES[case]
    # A chart's workloads carry the label; to Argo CD it means nothing as long as there is no application of the name.
    labels = {**(HELM_LABEL if target == "helm" else {}), **metadata.get("labels", {})}
    web = thing("Deployment", "web", "shop", **{**metadata, "labels": labels})
    with real_kubectl(Cluster([web, *others])):
        result = await do(target, "rollback", namespace="shop")
    if refused:
        assert result.outcome is Outcome.FAILED
        assert result.output.startswith(f"GitOps {refused}")
        assert result.output.endswith("): revert the change in its repository\n")
    else:
        assert result == Result(Outcome.SUCCEEDED, "exited with 0", 0, ROLLED_BACK[target])


async def test_without_argo_cd_its_usual_label_means_nothing(
    do: Do, real_kubectl: Callable[[Cluster], Cluster]
) -> None:
    web = thing("Deployment", "web", "shop", labels=HELM_LABEL)
    with real_kubectl(Cluster([web], kinds=["deployments", "statefulsets", "daemonsets"])):
        assert (await do("helm", "rollback", namespace="shop")).outcome is Outcome.SUCCEEDED


async def test_what_nobody_may_look_at_is_not_rolled_back(do: Do, real_kubectl: Callable[[Cluster], Cluster]) -> None:
    web = thing("Deployment", "web", "shop", labels=HELM_LABEL)
    with real_kubectl(Cluster([web], forbidden=["applications"])):
        result = await do("helm", "rollback", namespace="shop")
    assert result.outcome is Outcome.FAILED
    assert "GitOps may undo a rollback (applications.argoproj.io web, Error from server (Forbidden): " in result.output


HOSTILE_NAMES = [
    "x\nwould kustomizations.kustomize.toolkit.fluxcd.io --server=http://127.0.0.1:{port} flux-system",
    "x\nwould helmreleases.helm.toolkit.fluxcd.io web --server=http://127.0.0.1:{port}",
    "x\nwould --server=http://127.0.0.1:{port} secrets",
    "x\nwould secrets web shop",
    "x\nmay secrets web shop",
    "--server=http://127.0.0.1:{port}",
    "shop,metadata.namespace=other:apps/Deployment:shop/web",
    "shop other:apps/Deployment:shop/web",
]


@pytest.mark.parametrize("target", ROLLED_BACK)
@pytest.mark.parametrize("name", HOSTILE_NAMES)
async def test_an_annotation_is_no_option_of_kubectl(
    do: Do, real_kubectl: Callable[[Cluster], Cluster], target: str, name: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.setblocking(False)
        tracked = {"argocd.argoproj.io/tracking-id": name.format(port=stranger.getsockname()[1])}
        web = thing("Deployment", "web", "shop", labels=HELM_LABEL, annotations=tracked)
        with real_kubectl(Cluster([web, application("x"), application("shop")])):
            result = await do(target, "rollback", namespace="shop")
        with pytest.raises(BlockingIOError):
            stranger.accept()
    assert result.outcome is Outcome.FAILED
    assert result.output.startswith("GitOps may undo a rollback: cannot tell who keeps this, ")


# By a kubectl that says what the real one does.


@pytest.mark.parametrize("target", ROLLED_BACK)
@pytest.mark.parametrize(
    ("kept", "said", "refused"),
    [
        ("", "exit 1", False),
        ("would applications.argoproj.io shop:apps/Deployment:shop/web", "echo 'automated={}'", True),
        ("would applications.argoproj.io team_shop:apps/Deployment:shop/web", "echo automated=", False),
        ("would applications.argoproj.io shop:apps/Deployment:shop/web", "true", True),
        ("may applications.argoproj.io shop", "true", False),
        ("may applications.argoproj.io shop", "echo 'error: the server does not have it'; exit 1", True),
        ("would kustomizations.kustomize.toolkit.fluxcd.io apps flux", "echo suspend=", True),
        ("would kustomizations.kustomize.toolkit.fluxcd.io apps flux", "echo suspend=true", False),
    ],
)
async def test_gitops(do: Do, bin: Path, target: str, kept: str, said: str, refused: bool) -> None:
    kubectl(bin, f'case "$*" in *"items[*]"*would*) echo "{kept}" ;; *) {said} ;; esac; exit')
    result = await do(target, "rollback", namespace="shop")
    if refused:
        assert result.outcome is Outcome.FAILED
        assert result.output.startswith(f"GitOps {kept.split()[0]} undo a rollback ({kept.split()[1]} ")
    else:
        assert result == Result(Outcome.SUCCEEDED, "exited with 0", 0, ROLLED_BACK[target])
    assert (await do(target, "rollback", namespace="shop", gitops="ignore")).output == ROLLED_BACK[target]


@pytest.mark.parametrize("target", ROLLED_BACK)
async def test_what_cannot_be_looked_at_is_not_rolled_back(do: Do, bin: Path, target: str) -> None:
    kubectl(bin, "exit 3")
    assert await do(target, "rollback", namespace="shop") == Result(Outcome.FAILED, "exited with 3", 3, "")

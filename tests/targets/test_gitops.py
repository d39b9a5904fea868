"""A rollback that GitOps would undo is refused with that reason, in a real shell with programs that only tell what they got."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from remediator.perform import describe
from remediator.rulebook import Plan, Runbook, Service, Step, TargetRef
from remediator.rulefile import shipped_targets
from remediator.template import LabelView

KUBECTL = """#!/bin/sh
case " $* " in
  *" get "*) printf '%s' "{managed}"; exit {code} ;;
esac
echo "kubectl $*"
"""


def rolled_back(folder: Path, target: str, *, managed: str = "", code: int = 0, **params: str) -> tuple[int, str]:
    """The exit code and the output of a rollback in a cluster whose workload is kept as `managed` says."""
    for name, text in (
        ("kubectl", KUBECTL.format(managed=managed, code=code)),
        ("helm", '#!/bin/sh\necho "helm $*"\n'),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    step = Step("rollback", "rollback")
    service = Service("web", {"service": "web"}, target=TargetRef(target, {"namespace": "shop", **params}))
    plan = Plan(service, Runbook("test", (step,)), shipped_targets()[target])
    context = {"labels": LabelView({}), "service": {"name": "web", "labels": LabelView({})}}
    script = describe(plan, step, context)
    assert script.startswith("sh -c ")
    env = {"PATH": f"{folder}:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, timeout=10, check=False)
    return done.returncode, done.stdout + done.stderr


UNDONE = {
    "kubernetes": "kubectl --context= --namespace=shop rollout undo deployment/web\n",
    "helm": "helm rollback web --kube-context= --namespace=shop --wait --timeout=4m\n",
}


@pytest.mark.parametrize("target", UNDONE)
def test_what_nobody_keeps_is_rolled_back(tmp_path: Path, target: str) -> None:
    assert rolled_back(tmp_path, target) == (0, UNDONE[target])


@pytest.mark.parametrize("target", UNDONE)
def test_what_gitops_keeps_is_refused(tmp_path: Path, target: str) -> None:
    code, said = rolled_back(tmp_path, target, managed="argocd/shop:apps/Deployment")
    assert code == 1
    assert said == ("GitOps would undo a rollback (argocd/shop:apps/Deployment): revert the change in its repository\n")
    assert rolled_back(tmp_path, target, managed="argocd/shop", gitops="ignore") == (0, UNDONE[target])


@pytest.mark.parametrize("target", UNDONE)
def test_what_cannot_be_looked_at_is_not_rolled_back(tmp_path: Path, target: str) -> None:
    assert rolled_back(tmp_path, target, code=3) == (3, "")

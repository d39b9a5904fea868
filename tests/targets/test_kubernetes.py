"""The target kubernetes, where there is a cluster; kubectl itself is real wherever there is one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from remediator.model.action import Outcome, Result

Do = Callable[..., Awaitable[Result]]


def needs_kubectl() -> None:
    """The one part that may be missing in CI too."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: apt-get install kubernetes-client")


async def test_kubernetes(do: Do) -> None:
    needs_kubectl()
    if subprocess.run(["kubectl", "--request-timeout=3s", "version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no Kubernetes cluster")
    params = {"namespace": "remediator-test", "deployment": "web"}

    def kubectl(*words: str) -> str:
        command = ["kubectl", "--namespace=remediator-test", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    kubectl("create", "namespace", "remediator-test")
    try:
        kubectl("create", "deployment", "web", "--image=registry.k8s.io/pause:3.9")
        assert (await do("kubernetes", "restart", **params)).outcome is Outcome.SUCCEEDED
        assert (
            await do("kubernetes", "scale", {"by": 1, "max": 2}, **params)
        ).text == "scale from 1 to 2: exited with 0"
        assert kubectl("get", "deployment/web", "--output=jsonpath={.spec.replicas}") == "2"
        assert (await do("kubernetes", "scale", {"by": 1, "max": 2}, **params)).text == "already at max 2"
        assert (await do("kubernetes", "rollback", **params)).outcome is Outcome.SUCCEEDED
        assert "web" in (await do("kubernetes", "diagnose", **params)).output
    finally:
        kubectl("delete", "namespace", "remediator-test", "--wait=false")


async def test_kubectl_understands_the_commands(do: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a cluster kubectl gets as far as looking for one: it takes the commands, empty options included."""
    needs_kubectl()
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(
        "{apiVersion: v1, kind: Config, current-context: here, contexts: [{name: here, context: {cluster: none}}],"
        " clusters: [{name: none, cluster: {server: 'http://127.0.0.1:1'}}]}"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    for action, args in (("restart", {}), ("rollback", {}), ("scale", {"to": 2}), ("diagnose", {})):
        result = await do("kubernetes", action, args, deployment="web")
        assert result.outcome is Outcome.FAILED
        assert "The connection to the server 127.0.0.1:1 was refused" in result.output
        named = await do("kubernetes", action, args, context="no-such", deployment="web")
        assert "no-such" in named.output

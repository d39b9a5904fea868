"""A real control plane of Kubernetes on loopback: API server, controllers, scheduler, two nodes that play their pods, and
kube-state-metrics' series.

    with RealKubernetes(tmp_path) as cluster:
        cluster.apply(MANIFESTS)
        cluster.until_ready("deployment/web")

The folder that holds its `up.sh` and `down.sh` is named by the variable REMEDIATOR_TEST_KUBERNETES; tests/README.md says
how such a folder is made. Without it a test is skipped, and so it is where the variable is empty.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import pytest
from real.prometheus import part

VARIABLE = "REMEDIATOR_TEST_KUBERNETES"
_STARTS_WITHIN = 180.0
_READY_WITHIN = 120.0
_PORTS = 9
"""How many ports from the base port on a control plane uses."""


class RealKubernetes:
    """One control plane. `kubeconfig` is its administrator's; `metrics` is the address of its kube-state-metrics."""

    def __init__(self, folder: Path) -> None:
        where = os.environ.get(VARIABLE)
        if not where:
            pytest.skip(f"{VARIABLE} names no folder with up.sh and down.sh of a control plane (see tests/README.md)")
        for program, package in (
            ("etcd", "etcd-server"),
            ("kubectl", "kubernetes-client"),
            ("curl", "curl"),
            ("xz", "xz-utils"),
        ):
            part(program, package)
        self._scripts = Path(where).resolve()
        self.folder = folder / "kubernetes"
        self.folder.mkdir()
        self.kubeconfig = self.folder / "kubeconfig"
        self._base = _free_ports()
        self.server = f"https://127.0.0.1:{self._base + 3}"
        self.metrics = f"127.0.0.1:{self._base + 8}"

    def __enter__(self) -> Self:
        done = subprocess.run(
            [self._scripts / "up.sh", self.folder, str(self._base)],
            capture_output=True, text=True, timeout=_STARTS_WITHIN, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            self.__exit__()
            pytest.fail(f"the control plane does not start: {done.stdout}{done.stderr}")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([self._scripts / "down.sh", self.folder], timeout=240, check=False)

    def kubectl(self, *args: str, text: str | None = None, check: bool = True) -> str:
        """What kubectl prints, as the administrator. Blocks."""
        done = subprocess.run(
            ["kubectl", f"--kubeconfig={self.kubeconfig}", *args],
            input=text if text is not None else "", capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def apply(self, manifests: str) -> None:
        """Create or change what the manifests say. Blocks."""
        self.kubectl("apply", "--filename=-", text=manifests)

    def get(self, *args: str) -> dict[str, Any]:
        """An object, or a list of them, as kubectl gets it. Blocks."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *args, "--output=json"))
        return found

    def until_ready(self, workload: str, namespace: str = "default") -> None:
        """Wait until a workload has rolled out. Blocks."""
        self.kubectl("rollout", "status", workload, f"--namespace={namespace}", f"--timeout={int(_READY_WITHIN)}s")

    def kubeconfig_of(self, account: str, namespace: str) -> Path:
        """The kubeconfig of a service account, for doing what it may do. Blocks."""
        deadline = time.monotonic() + _READY_WITHIN
        while not (secrets := self.get("serviceaccount", account, f"--namespace={namespace}").get("secrets")):
            assert time.monotonic() < deadline, f"{account} gets no token"
            time.sleep(0.1)
        secret = self.get("secret", secrets[0]["name"], f"--namespace={namespace}")
        config = json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {
                        "name": "it",
                        "cluster": {"server": self.server, "certificate-authority-data": secret["data"]["ca.crt"]},
                    }
                ],
                "users": [{"name": "it", "user": {"token": _decoded(secret["data"]["token"])}}],
                "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
                "current-context": "it",
            }
        )
        path = self.folder / f"kubeconfig-{namespace}-{account}"
        path.write_text(config)
        return path


def _decoded(text: str) -> str:
    import base64

    return base64.b64decode(text).decode()


def _free_ports() -> int:
    """The first of so many ports in a row that nobody listens on."""
    for base in range(27000 + os.getpid() % 1000 * 10, 60000, 10):
        try:
            for port in range(base, base + _PORTS):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise AssertionError(f"there are no {_PORTS} free ports in a row")

"""A private Docker daemon in a folder, with one small image made on the spot; it needs no registry and no network.

    with RealDocker() as docker:
        docker.run("run", "-d", "--name", "web", IMAGE)

Its folder is a short one of its own: paths of sockets are limited. Needs root, as dockerd does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import pytest
from real.prometheus import HANGS, part

IMAGE = "test/web:v1"
_SERVE = 'trap "exit 0" TERM; echo serving; while :; do sleep 0.1; done'


class RealDocker:
    """One daemon. `host` is its DOCKER_HOST."""

    def __init__(self) -> None:
        self._dockerd = part("dockerd", "docker.io")
        self._docker = part("docker", "docker.io")
        self._busybox = part("busybox", "busybox-static")
        part("iptables", "iptables")
        if os.geteuid() != 0:
            pytest.skip("dockerd needs root")

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="docker-"))
        self.host = f"unix://{self.folder}/docker.sock"
        log = (self.folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                self._dockerd,
                f"--host={self.host}",
                f"--data-root={self.folder}/data",
                f"--exec-root={self.folder}/exec",
                f"--pidfile={self.folder}/pid",
                "--exec-opt=native.cgroupdriver=cgroupfs",
                "--bridge=none",
                "--iptables=false",
                "--ip-forward=false",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        try:
            self._wait_until_it_runs()
            self._make_image()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        containers = self.run("ps", "-aq").split()
        if containers:
            self.run("rm", "-f", *containers)
        self._stop()

    def run(self, *words: str) -> str:
        """A docker command's standard output; raises when it fails."""
        done = subprocess.run(
            [self._docker, *words],
            env={**os.environ, "DOCKER_HOST": self.host},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(words)}: {done.stderr}")
        return done.stdout.strip()

    def _wait_until_it_runs(self, within: float = HANGS) -> None:
        end = time.monotonic() + within
        while self._process.poll() is None and time.monotonic() < end:
            try:
                self.run("version")
                return
            except RuntimeError:
                time.sleep(0.1)
        raise RuntimeError(f"dockerd does not run: {(self.folder / 'log').read_text(errors='replace')[-2000:]}")

    def _make_image(self) -> None:
        root = self.folder / "root"
        (root / "bin").mkdir(parents=True)
        shutil.copy(self._busybox, root / "bin" / "busybox")
        for name in ("sh", "sleep", "echo", "cat"):
            (root / "bin" / name).symlink_to("busybox")
        archive = self.folder / "root.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
        command = '["/bin/sh","-c","' + _SERVE.replace('"', '\\"') + '"]'
        self.run("import", "--change", f"CMD {command}", str(archive), IMAGE)

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(120)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

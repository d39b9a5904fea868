"""A real ssh server on loopback that lets root in by a key of its own, and an `ssh` that knows the key.

    with RealSshd(tmp_path / "ssh") as sshd:
        subprocess.run([sshd.bin / "ssh", sshd.address, "true"])

Commands there get this process's PATH, and the facts REMEDIATOR_*. Needs root, as sshd does to let root in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest
from real.prometheus import HANGS, free_port, part


class RealSshd:
    """One server. `address` is an ssh:// address at `port`, `bin` the folder of the `ssh` that knows its key."""

    def __init__(self, folder: Path) -> None:
        self._sshd, self._ssh = part("sshd", "openssh-server"), part("ssh", "openssh-client")
        if os.geteuid() != 0:
            pytest.skip("sshd needs root to let root in")
        self._folder = folder
        self.bin = folder / "bin"
        self.port = free_port()
        self.address = f"ssh://root@127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.bin.mkdir(parents=True, mode=0o700)
        for name in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._folder / name)]
            subprocess.run(command, check=True)
        shutil.copy(self._folder / "user.pub", self._folder / "authorized")
        (self._folder / "config").write_text(
            f"IdentityFile {self._folder}/user\nIdentitiesOnly yes\nUserKnownHostsFile {self._folder}/known\n"
            "StrictHostKeyChecking accept-new\nSendEnv REMEDIATOR_*\n"
        )
        wrapper = self.bin / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {self._ssh} -F {self._folder}/config "$@"\n')
        wrapper.chmod(0o755)
        Path("/run/sshd").mkdir(exist_ok=True)
        settings = {
            "ListenAddress": "127.0.0.1",
            "HostKey": f"{self._folder}/host",
            "AuthorizedKeysFile": f"{self._folder}/authorized",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "SetEnv": f"PATH={os.environ['PATH']}",
            "AcceptEnv": "REMEDIATOR_*",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        self._process = subprocess.Popen(
            [self._sshd, "-D", "-e", "-f", "/dev/null", "-p", str(self.port), *options],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + HANGS
        while self._reach() != 0:
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise RuntimeError("sshd does not run")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def _reach(self) -> int:
        return subprocess.run([self.bin / "ssh", self.address, "true"], capture_output=True, check=False).returncode

"""A real HAProxy in front of one small server."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from real.prometheus import HANGS, Exposition, free_port, part

CONFIG = """
global
    stats socket {folder}/admin.sock level admin
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
frontend front
    bind 127.0.0.1:{port}
    default_backend web
backend web
    server web1 {server}
"""


class RealHaproxy:
    """HAProxy with the backend `web` of one server, `web1`; its runtime socket is `socket`."""

    def __init__(self, folder: Path) -> None:
        part("socat", "socat")
        self._binary = part("haproxy", "haproxy")
        self._server = Exposition("served 1")
        self._port = free_port()
        self.socket = folder / "admin.sock"
        self._config = folder / "haproxy.cfg"
        self._config.write_text(CONFIG.format(folder=folder, port=self._port, server=self._server.address))

    def status(self) -> int:
        """What a request through it is answered; 0 when it does not listen yet. Blocks."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=HANGS) as response:
                code: int = response.status
                return code
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    def __enter__(self) -> Self:
        self._server.__enter__()
        self._process = subprocess.Popen(
            [self._binary, "-db", "-f", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(HANGS)
        self._server.__exit__()

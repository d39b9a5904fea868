"""A real nginx as a reverse proxy on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest
from real.prometheus import HANGS, free_port, part

CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location {location} {{
            proxy_pass {upstream};
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


class RealNginx:
    """nginx with one location. An upstream that ends in a slash is asked without the location's path."""

    def __init__(self, folder: Path, location: str, upstream: str, port: int | None = None) -> None:
        os.environ["PATH"] += os.pathsep + "/usr/sbin"
        self._binary = part("nginx", "nginx")
        self._folder = folder / "nginx"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder.mkdir()
        self._config = self._folder / "nginx.conf"
        self._config.write_text(
            CONFIG.format(folder=self._folder, port=self.port, location=location, upstream=upstream)
        )

    def __enter__(self) -> Self:
        log = self._folder / "error.log"
        self._process = subprocess.Popen(
            [self._binary, "-c", str(self._config), "-p", str(self._folder), "-e", str(log)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + HANGS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), HANGS).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    pytest.fail(f"nginx does not listen:\n{log.read_text() if log.exists() else ''}")
                time.sleep(0.02)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(HANGS)

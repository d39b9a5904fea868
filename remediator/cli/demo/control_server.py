"""Listens on a socket in the demo's folder, and executes the commands that `control_client` sends."""

from __future__ import annotations

import contextlib
import json
import shlex
import socketserver
import sys
import threading
from typing import Self

from remediator.cli.demo.control_client import socket_in
from remediator.cli.demo.processes import DemoError, DemoServices
from remediator.cli.demo.service import FaultKind


def execute(services: DemoServices, words: list[str]) -> str:
    """Execute one command and return its answer. Raises DemoError when it fails or is unknown."""
    try:
        match words:
            case ["restart", name]:
                return services.restart(name)
            case ["scale", name, count]:
                return services.scale(name, int(count))
            case ["replicas", name]:
                return services.replicas(name)
            case ["deploy", name, release]:
                return services.deploy(name, release)
            case ["rollback", name]:
                return services.rollback(name)
            case ["diagnose", name]:
                return services.diagnose(name)
            case ["inject", name, kind]:
                return services.inject(name, FaultKind(kind))
            case ["crash", name]:
                return services.crash(name)
            case ["demand", name, factor]:
                return services.demand(name, float(factor))
    except ValueError as error:
        raise DemoError(f"cannot {shlex.join(words)}: {error}") from None
    raise DemoError(f"cannot {shlex.join(words)}: there is no such order")


class ControlServer:
    """Executes commands while the `with` block lasts. `./fleet VERB NAME` in the demo's folder sends them."""

    def __init__(self, services: DemoServices) -> None:
        self._services = services

    def __enter__(self) -> Self:
        folder = self._services.folder.resolve()
        try:
            with socket_in(folder) as path:
                self._server = _ControlSocketServer(path, self._services)
        except OSError as error:
            raise DemoError(f"cannot listen in {folder}: {error}") from None
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1})
        self._thread.start()
        command = folder / "fleet"
        argv = (sys.executable, "-m", "remediator.cli.demo.control_client", "--folder", str(folder))
        command.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
        command.chmod(0o755)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _ControlSocketServer(socketserver.ThreadingUnixStreamServer):
    """Protocol: one line of JSON, [WORD, ...], is answered with one line, [EXIT CODE, TEXT]."""

    block_on_close = True

    def __init__(self, path: str, services: DemoServices) -> None:
        self.services = services
        super().__init__(path, _ControlHandler)


class _ControlHandler(socketserver.StreamRequestHandler):
    server: _ControlSocketServer

    def handle(self) -> None:
        words = json.loads(self.rfile.readline())
        try:
            answer = 0, execute(self.server.services, words)
        except DemoError as error:
            answer = 1, str(error)
        # The client may have been killed meanwhile. The command was executed all the same.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(json.dumps(answer).encode() + b"\n")

"""The switchboard: listens in the fleet's folder for what `control` asks, and has the fleet do it."""

from __future__ import annotations

import contextlib
import json
import shlex
import socketserver
import sys
import threading
from typing import Self

from remediator.cli.demo.control import socket_in
from remediator.cli.demo.processes import DemoError, Fleet
from remediator.cli.demo.service import Kind


def obey(fleet: Fleet, words: list[str]) -> str:
    """Do what the words ask for; the sentence that answers. DemoError when it cannot be done or is not understood."""
    try:
        match words:
            case ["restart", name]:
                return fleet.restart(name)
            case ["scale", name, count]:
                return fleet.scale(name, int(count))
            case ["replicas", name]:
                return fleet.replicas(name)
            case ["deploy", name, release]:
                return fleet.deploy(name, release)
            case ["rollback", name]:
                return fleet.rollback(name)
            case ["diagnose", name]:
                return fleet.diagnose(name)
            case ["inject", name, kind]:
                return fleet.inject(name, Kind(kind))
            case ["crash", name]:
                return fleet.crash(name)
            case ["demand", name, factor]:
                return fleet.demand(name, float(factor))
    except ValueError as error:
        raise DemoError(f"cannot {shlex.join(words)}: {error}") from None
    raise DemoError(f"cannot {shlex.join(words)}: there is no such order")


class Switchboard:
    """Takes orders for a fleet while the `with` block lasts; `./fleet VERB NAME` in its folder gives them."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def __enter__(self) -> Self:
        folder = self._fleet.folder.resolve()
        try:
            with socket_in(folder) as path:
                self._server = _Server(path, self._fleet)
        except OSError as error:
            raise DemoError(f"cannot listen in {folder}: {error}") from None
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1})
        self._thread.start()
        command = folder / "fleet"
        argv = (sys.executable, "-m", "remediator.cli.demo.control", "--folder", str(folder))
        command.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
        command.chmod(0o755)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingUnixStreamServer):
    """One line of JSON, [WORD, ...], is answered with one, [EXIT CODE, TEXT]."""

    block_on_close = True

    def __init__(self, path: str, fleet: Fleet) -> None:
        self.fleet = fleet
        super().__init__(path, _Handler)


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        words = json.loads(self.rfile.readline())
        try:
            answer = 0, obey(self.server.fleet, words)
        except DemoError as error:
            answer = 1, str(error)
        # Whoever asked may have been killed meanwhile; the order is carried out all the same.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(json.dumps(answer).encode() + b"\n")

"""A real HTTP(S) server whose every answer is written by the test: for servers that misbehave, which no real one does on
demand, and for bodies recorded from real ones.

    def drip(request):
        request.head(200, "application/json", length=1000)
        while True:
            request.write(b" ")
            request.pause(0.05)

    with Scripted(drip) as server:
        ...  # server.url, server.requests
"""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs

from real.prometheus import part


class Request(BaseHTTPRequestHandler):
    """One request, being answered. `form` holds the decoded form body; connections are kept between requests."""

    protocol_version = "HTTP/1.1"
    server: _Server
    form: dict[str, str]

    def head(self, status: int, content_type: str, *, length: int | None = None, **headers: str) -> None:
        """Send the status line and the headers; without a length the connection's end is the body's."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is None:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def write(self, data: bytes) -> None:
        """Send a piece of the body at once."""
        self.wfile.write(data)
        self.wfile.flush()

    def answer(self, body: bytes | str | Any, status: int = 200, content_type: str = "application/json") -> None:
        """Send a whole answer; what is not text is sent as JSON."""
        if not isinstance(body, bytes | str):
            body = json.dumps(body)
        data = body.encode() if isinstance(body, str) else body
        self.head(status, content_type, length=len(data))
        self.write(data)

    def pause(self, seconds: float) -> None:
        """Wait; ConnectionError when the server is told to stop meanwhile."""
        if self.server.stopping.wait(seconds):
            raise ConnectionError("the server stops")

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        # A handler serves its connection's later requests too, so what is kept is a copy.
        self.server.scripted.requests.append(Seen(self.command, self.path, self.headers, self.form))
        try:
            self.server.scripted.script(self)
        except (ConnectionError, ssl.SSLError, TimeoutError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Seen:
    """A request as it came."""

    command: str
    path: str
    headers: Message
    form: dict[str, str]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    scripted: Scripted
    stopping: threading.Event

    def handle_error(self, *_: object) -> None:
        """Nothing: a client that refuses our certificate, or leaves, is what is tested."""


class Scripted:
    """The server; `script` may be replaced at any time. `connections` counts those that were accepted."""

    def __init__(self, script: Callable[[Request], None], tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.requests: list[Seen] = []
        self.connections = 0
        self._scheme = "https" if tls is not None else "http"
        self._server = _Server(("127.0.0.1", 0), Request)
        self._server.scripted = self
        self._server.stopping = threading.Event()
        accept = self._server.get_request

        def get_request() -> Any:
            connection, address = accept()
            self.connections += 1
            if tls is not None:
                # The handshake waits for the first read, in the connection's own thread.
                connection = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            return connection, address

        self._server.get_request = get_request  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The server's address, by its loopback number."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Authority:
    """A certificate authority of the test's own, with openssl; its certificate is in the file `ca`."""

    def __init__(self, folder: Path) -> None:
        self._openssl = part("openssl", "openssl")
        self._folder = folder
        self.ca = folder / "ca.pem"
        self._run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                  "-subj", "/CN=test authority", "-keyout", str(folder / "ca.key"), "-out", str(self.ca))  # fmt: skip

    def issue(self, name: str, alt: str) -> tuple[Path, Path]:
        """A certificate and its key, for a subjectAltName such as `DNS:prometheus.test` or `IP:127.0.0.1`."""
        key, request, cert = (self._folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={alt}\n")
        self._run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                  "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request))  # fmt: skip
        self._run("x509", "-req", "-in", str(request), "-CA", str(self.ca), "-CAkey", str(self._folder / "ca.key"),
                  "-CAcreateserial", "-days", "2", "-extfile", str(extensions), "-out", str(cert))  # fmt: skip
        return cert, key

    def server_context(self, alt: str, *, client_certificates: bool = False) -> ssl.SSLContext:
        """The TLS side of a server of this name; with `client_certificates` it asks for one of ours."""
        cert, key = self.issue("server", alt)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        if client_certificates:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True)

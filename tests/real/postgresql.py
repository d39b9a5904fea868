"""A real PostgreSQL: a private cluster in a temporary folder, on a free loopback port, to be stopped, killed and started
again; and pgbouncer before it.

    with RealPostgresql() as postgres:
        url = postgres.create("a_database")

PostgreSQL refuses to run as root, so that it runs as the user `postgres` there. Its folder is not in pytest's: a pytest
that starts beside this one closes the way to that for every other user. A server and its folder end with the test
process, whatever ends that.
"""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import psycopg
import pytest
from real.processes import alive, state
from real.prometheus import HANGS, free_port, part

_GUARD = """
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then kill -INT "$pid"; while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done; fi
rm -rf "$1"
"""
"""Reads the process id of the server at each start, and an empty line when it ended; cleans up once its input ends, which
it does with the test process."""


def _program(name: str) -> str:
    """A program of PostgreSQL's, which Debian keeps out of PATH."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else part(name, "postgresql")


def _user() -> str | None:
    return "postgres" if os.geteuid() == 0 else None


class RealPostgresql:
    """A cluster. `durable` has it flush to the disk, which tests that kill only the processes do not need."""

    def __init__(self, *, durable: bool = False, settings: dict[str, str] | None = None) -> None:
        self._initdb, self._server = _program("initdb"), _program("postgres")
        self.port = free_port()
        self._settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if durable else "off",
            "max_connections": "200",
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="remediator-test-postgresql-"))
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(self.folder)], stdin=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        if user := _user():
            shutil.chown(self.folder, user, user)
        self._run(
            self._initdb, "-D", str(self.folder / "data"), "-U", "remediator", "-A", "trust", "--no-sync",
            "--encoding=UTF8", "--locale=C.UTF-8",
        )  # fmt: skip
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the server, and remove its folder. Blocks."""
        self.kill()
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None

    def start(self) -> None:
        """Start the server, again if need be, and wait until it answers. Blocks."""
        settings = [text for name, value in self._settings.items() for text in ("-c", f"{name}={value}")]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [self._server, "-D", str(self.folder / "data"), *settings],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=_user(), cwd="/",
            )  # fmt: skip
        self._tell_guard(str(self._process.pid))
        deadline = time.monotonic() + HANGS
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.kill()
                    pytest.fail(f"PostgreSQL does not start: {error}\n{(self.folder / 'log').read_text()}")
                time.sleep(0.05)

    def kill(self) -> None:
        """kill -9 the server; what it was asked then is lost. Blocks."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the server at once, in order. Blocks."""
        self._end(signal.SIGINT)

    def pause(self) -> None:
        """Stop every process of the server where it is: it keeps its connections and answers nothing."""
        self._signal_all(signal.SIGSTOP)

    def stand_by(self) -> None:
        """Have it start as one that follows another server, and only reads, until it is promoted."""
        (self.folder / "data" / "standby.signal").touch()

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def create(self, name: str) -> str:
        """The address of a new database. Blocks."""
        self.ask("postgres", f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql://remediator@127.0.0.1:{self.port}/{name}"

    def ask(self, database: str, question: str) -> list[tuple[object, ...]]:
        """Run a statement beside the program under test. Blocks."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(question.encode())
            return cursor.fetchall() if cursor.description else []

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        if number == signal.SIGKILL:
            # Once it is stopped it makes no more children. The next start refuses as long as one of them lives.
            self._process.send_signal(signal.SIGSTOP)
            while state(self._process.pid) not in "TZ":
                time.sleep(0.001)
            children = self._children()
            for pid in children:
                _signal(pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
            while any(map(alive, children)):
                time.sleep(0.01)
            (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        else:
            self._process.send_signal(number)
            self._process.wait()
        self._process = None
        self._tell_guard("")

    def _tell_guard(self, pid: str) -> None:
        assert self._guard is not None
        assert self._guard.stdin is not None
        self._guard.stdin.write(f"{pid}\n".encode())

    def _signal_all(self, number: int) -> None:
        assert self._process is not None
        for pid in (self._process.pid, *self._children()):
            _signal(pid, number)

    def _children(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        try:
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    def _run(self, *argv: str) -> None:
        subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL, user=_user(), cwd="/")


_shared: list[RealPostgresql] = []


def shared_cluster() -> RealPostgresql:
    """The server for all tests that do it no harm; it is started by the first of them, and ended with the session."""
    if not _shared:
        _shared.append(RealPostgresql().__enter__())
    return _shared[0]


def end_shared_cluster() -> None:
    """End what `shared_cluster` started. In a test process that is one of several, nothing runs at its exit."""
    while _shared:
        _shared.pop().close()


class RealPgbouncer:
    """pgbouncer in transaction pooling, with few connections, before a server."""

    def __init__(self, server: RealPostgresql) -> None:
        self._program = part("pgbouncer", "pgbouncer")
        self.port = free_port()
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir=self._server.folder))
        if user := _user():
            shutil.chown(self.folder, user, user)
        users, config = self.folder / "users.txt", self.folder / "pgbouncer.ini"
        users.write_text('"remediator" ""\n')
        config.write_text(
            f"""[databases]
* = host=127.0.0.1 port={self._server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = 2
logfile = {self.folder / "log"}
unix_socket_dir =
"""
        )
        if user := _user():
            for path in (users, config):
                shutil.chown(path, user, user)
        self._process = subprocess.Popen(
            [self._program, "-q", str(config)], stdin=subprocess.DEVNULL, user=_user(), cwd="/",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + HANGS
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return self
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.__exit__()
                    pytest.fail(f"pgbouncer does not start: {error}\n{(self.folder / 'log').read_text()}")
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def url(self, name: str) -> str:
        return f"postgresql://remediator@127.0.0.1:{self.port}/{name}"


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass

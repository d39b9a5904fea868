"""Where to listen: addresses of the command line, and sockets of the service manager. It also tells loopback from the
rest."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from functools import lru_cache

from remediator.errors import RemediatorError

_FIRST_PASSED = 3
"""The first descriptor that a service manager passes."""


def parse_listen(address: str) -> tuple[str, int]:
    """Host and port of an address such as `127.0.0.1:9797`, `:9797` or `[::1]:9797`. The host is empty for all
    addresses. RemediatorError if it is no address."""
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or (":" in host and bare == host):
        raise RemediatorError(f"cannot listen on {address!r}: write it as 127.0.0.1:9797, :9797 or [::1]:9797")
    return bare, int(port)


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a host name or address means only this machine."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


@dataclass(frozen=True)
class Listener:
    """One place to listen at. `passed` is its socket, if the service manager made it. `local` says that only this
    machine reaches it."""

    text: str
    host: str
    port: int
    passed: socket.socket | None = None

    @property
    def local(self) -> bool:
        return is_loopback(self.host)


def listeners_at(addresses: Iterable[str]) -> list[Listener]:
    """The places of the flag `--web.listen-address`. RemediatorError if one cannot be used."""
    return [Listener(address, *parse_listen(address)) for address in addresses]


def known_hosts(listeners: Iterable[Listener]) -> frozenset[str]:
    """The hosts that are listened at, in lower case; none where one stands for all addresses."""
    hosts = frozenset(listener.host.lower() for listener in listeners)
    return frozenset() if hosts & {"", "0.0.0.0", "::"} else hosts  # noqa: S104


def inherited_listeners(environment: MutableMapping[str, str] = os.environ) -> list[Listener]:
    """The sockets that the service manager listens on for this process (sd_listen_fds(3)).

    RemediatorError if there are none, or if one cannot accept connections. The variables that describe them are removed
    from the environment.
    """
    meant, number = (environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS"))
    environment.pop("LISTEN_FDNAMES", None)
    if meant != str(os.getpid()) or not (number.isascii() and number.isdigit()) or int(number) == 0:
        raise RemediatorError(
            "cannot listen on the service manager's sockets: it passed none. --web.systemd-socket needs a .socket unit of"
            " the service's name"
        )
    return [_inherited(_FIRST_PASSED + index) for index in range(int(number))]


def _inherited(descriptor: int) -> Listener:
    try:
        passed = socket.socket(fileno=descriptor)
        accepts = passed.type == socket.SOCK_STREAM and passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise RemediatorError(f"cannot listen on the passed descriptor {descriptor}: {error.strerror}") from None
    if not accepts:
        raise RemediatorError(
            f"cannot listen on the passed descriptor {descriptor}: it is no stream socket that listens; write"
            " ListenStream= and Accept=no in the .socket unit"
        )
    passed.set_inheritable(False)
    name = passed.getsockname()
    if passed.family == socket.AF_UNIX:
        return Listener(f"unix:{os.fsdecode(name)}", "localhost", 0, passed)
    host, port = name[:2]
    return Listener(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", host, port, passed)

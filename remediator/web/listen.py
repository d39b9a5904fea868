"""Listen addresses: parsing them, and telling loopback from the rest."""

from __future__ import annotations

import ipaddress

from remediator.errors import RemediatorError


def parse_listen(address: str) -> tuple[str, int]:
    """Host and port of an address such as `127.0.0.1:9797`, `:9797` or `[::1]:9797`; the host is empty for all
    addresses. RemediatorError when it is none."""
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or (":" in host and bare == host):
        raise RemediatorError(f"cannot listen on {address!r}: write it as 127.0.0.1:9797, :9797 or [::1]:9797")
    return bare, int(port)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback

"""Finds this machine's credential: the file that a daemon on loopback names, once it is sure who names it.

Another account that listens on the port could name any file and get its text. So the file has to belong to the user whose process
listens there, and to hold a token of remediator.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from remediator.errors import RemediatorError

_FILE = re.compile(r'Bearer realm="remediator", file="([^"]+)"')
_LISTENS = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def named_file(challenge: str) -> str:
    """The file that a `WWW-Authenticate` header names, or the empty text."""
    found = _FILE.fullmatch(challenge)
    return unquote(found[1]) if found else ""


def local_token(url: str, file: str) -> str:
    """The token in the file that the daemon at this address names. RemediatorError when it cannot be used."""
    from remediator.web.listen import is_loopback
    from remediator.web.local_credential import read_credential

    place = urlsplit(url)
    host, port = place.hostname or "", place.port or (443 if place.scheme == "https" else 80)
    if not is_loopback(host):
        raise RemediatorError(
            f"cannot show a credential to {url}: it asks for one of its own machine's files, and is not on this machine;"
            " give --http.config.file"
        )
    owners = set(_listeners(host, port))
    if len(owners) != 1:
        raise RemediatorError(
            f"cannot tell which user serves on port {port} of this machine; give --http.config.file with"
            " authorization: {credentials_file: FILE}"
        )
    try:
        return read_credential(file, owners.pop())
    except OSError as error:
        raise RemediatorError(
            f"cannot read the credential {file}: {error.strerror or error}; run this as the user that remediator runs as"
        ) from None


def _listeners(host: str, port: int) -> Iterator[int]:
    """The users whose processes listen where a connection to this host and port goes."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return
    asked = {ipaddress.ip_address(str(place[0]).partition("%")[0]) for *_, place in found}
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/self/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, number = fields[1].rpartition(":")
            if fields[3] != _LISTENS or int(number, 16) != port:
                continue
            place = _address(address)
            if place in asked or place.is_unspecified:
                yield int(fields[7])


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as /proc/net/tcp has it: in words of this machine's byte order."""
    words = [int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8)]
    place = ipaddress.ip_address(b"".join(words))
    return getattr(place, "ipv4_mapped", None) or place

"""Which proxy stands before an address, by a server's settings or by the environment.

The rules are those of Go's `golang.org/x/net/http/httpproxy`, which Prometheus uses.
"""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from remediator.clients.http_options import Proxy


def proxy_for(settings: Proxy, url: str) -> str | None:
    """The proxy for an address. None: it is reached directly."""
    if settings.proxy_url is not None:
        proxy, excepted = settings.proxy_url.reveal(), settings.no_proxy
        if not excepted:
            return proxy
    elif settings.proxy_from_environment:
        proxy, excepted = _environment(f"{urlsplit(url).scheme}_proxy"), _environment("no_proxy")
    else:
        return None
    if not proxy or _direct(url, excepted):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def connect_headers(settings: Proxy) -> dict[str, str]:
    """The headers for the proxy alone."""
    return {
        name: ", ".join(value.reveal() for value in values) for name, values in settings.proxy_connect_header.items()
    }


def _environment(name: str) -> str:
    return os.environ.get(name.upper()) or os.environ.get(name) or ""


def _direct(url: str, excepted: str) -> bool:
    """Whether a host is excepted from the proxy. The machine itself always is."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_excepts(entry.strip().lower(), host, port, address) for entry in excepted.split(",") if entry.strip())


def _excepts(entry: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, digits = entry.rpartition(":")
    if colon and digits.isdigit() and (":" not in name or name.endswith("]")):
        if int(digits) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    if (alone := _address(entry)) is not None:
        return alone == address
    domain = entry.removeprefix("*")
    # `.example.com` is for subdomains alone, `example.com` for itself as well.
    return host.endswith(domain) if domain.startswith(".") else host == domain or host.endswith(f".{domain}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None

"""Roles of users, as the web config gives them: what it may hold, and the grants of one person.

roles: {prometheus: metrics, ada: {role: approver, match: ['team="a"']}}
proxy: {trusted: [10.1.2.3], groups: {sre: admin}}   # a proxy that signs people in, and says who they are
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec

from remediator.config.scalars import Scalar
from remediator.model.matcher import Matcher


class Role(StrEnum):
    """Roles of users. Each may do what those before it may."""

    METRICS = "metrics"
    VIEWER = "viewer"
    APPROVER = "approver"
    OPERATOR = "operator"
    ADMIN = "admin"


LIMITED = (Role.APPROVER, Role.OPERATOR)
"""The roles that matchers can limit."""


@dataclass(frozen=True)
class Grant:
    """A role, and the matchers of its services. Without matchers it is for all services."""

    role: Role
    match: tuple[Matcher, ...] = ()


class RoleDoc(msgspec.Struct, frozen=True):
    """A role for some services only."""

    role: Role
    match: tuple[Matcher, ...] = ()


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is neither an address nor a network") from None
    return text


def _header_name(text: str) -> str:
    if not text or not text.isascii() or not text.replace("-", "").isalnum():
        raise ValueError(f"{text!r} is no name of a header")
    return text


Network = Annotated[str, Scalar("an address or a network", _network, remedy="such as 10.1.2.3 or 10.2.0.0/16")]
_HeaderName = Annotated[str, Scalar("the name of a header", _header_name)]
_Group = Annotated[str, Scalar("a group", str)]


class ProxyDoc(msgspec.Struct, frozen=True):
    """A proxy that signs people in: its addresses, and the headers in which it names them and their groups."""

    trusted: tuple[Network, ...]
    user_header: _HeaderName = "X-Forwarded-User"
    groups_header: _HeaderName = "X-Forwarded-Groups"
    groups: dict[_Group, Role | RoleDoc] = {}

    def trusts(self, address: str) -> bool:
        """Whether a peer is this proxy."""
        return is_within(address, self.trusted)


def is_within(address: str, networks: Iterable[str]) -> bool:
    """Whether an address is in one of these networks, or is one of these addresses."""
    try:
        peer = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return any(peer in ipaddress.ip_network(network, strict=False) for network in networks)


def grant_of(given: Role | RoleDoc) -> Grant:
    """The grant that a value of the file describes."""
    return Grant(given.role, given.match) if isinstance(given, RoleDoc) else Grant(given)


def grants_of(
    name: str, groups: Iterable[str], roles: Mapping[str, Role | RoleDoc], proxy: ProxyDoc
) -> Iterator[Grant]:
    """The grants of a user whom a proxy names: their own, and those of their groups."""
    if name in roles:
        yield grant_of(roles[name])
    for group in groups:
        if group in proxy.groups:
            yield grant_of(proxy.groups[group])

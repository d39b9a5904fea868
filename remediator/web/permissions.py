"""Who may do what: roles, the permission that each route needs, and principals. `ROUTES` is the whole table.

`make_app` refuses a route that is not in the table, so no route can be added without a permission.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from aiohttp import web

from remediator.model.matcher import Matcher, matches_all
from remediator.web.paths import PATHS
from remediator.web.roles import Grant, Role


class Permission(Enum):
    """The permission that a request needs."""

    OPEN = "open"
    """No permission: probes, and signing in."""
    WEBHOOK = "webhook"
    """Only for senders of notifications, who have credentials of their own."""
    METRICS = "metrics"
    VIEW = "view"
    ANSWER = "answer"
    """To approve or deny."""
    OPERATE = "operate"
    """To heal, pause, resume and dismiss."""
    ADMINISTER = "administer"
    """To add and remove services, and to reload."""


_ADDED = {
    Role.METRICS: Permission.METRICS,
    Role.VIEWER: Permission.VIEW,
    Role.APPROVER: Permission.ANSWER,
    Role.OPERATOR: Permission.OPERATE,
    Role.ADMIN: Permission.ADMINISTER,
}
PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    role: frozenset(list(_ADDED.values())[: number + 1]) for number, role in enumerate(_ADDED)
}
"""The permissions of each role."""
NEEDED: Mapping[Permission, Role] = {permission: role for role, permission in _ADDED.items()}
"""The least role that has a permission."""
_OF_SERVICES = frozenset({Permission.ANSWER, Permission.OPERATE})
"""The permissions that a grant's matchers limit."""

ROUTES: Mapping[tuple[str, str], Permission] = {
    ("POST", "/webhook"): Permission.WEBHOOK,
    ("GET", "/-/healthy"): Permission.OPEN,
    ("GET", "/-/ready"): Permission.OPEN,
    ("GET", "/sign-in"): Permission.OPEN,
    ("POST", "/sign-in"): Permission.OPEN,
    ("POST", "/sign-out"): Permission.OPEN,
    ("GET", "/metrics"): Permission.METRICS,
    ("GET", "/"): Permission.VIEW,
    ("GET", "/incidents"): Permission.VIEW,
    ("GET", "/incidents/{id}"): Permission.VIEW,
    ("GET", "/services/{name}"): Permission.VIEW,
    ("GET", "/alerts"): Permission.VIEW,
    ("GET", "/rules"): Permission.VIEW,
    ("GET", "/static/{name}"): Permission.VIEW,
    ("GET", "/api/v1/health"): Permission.VIEW,
    ("GET", "/api/v1/services"): Permission.VIEW,
    ("GET", "/api/v1/services/{name}"): Permission.VIEW,
    ("GET", "/api/v1/services/{name}/why"): Permission.VIEW,
    ("GET", "/api/v1/incidents"): Permission.VIEW,
    ("GET", "/api/v1/incidents/{id}"): Permission.VIEW,
    ("GET", "/api/v1/history"): Permission.VIEW,
    ("GET", "/api/v1/alerts"): Permission.VIEW,
    ("GET", "/api/v1/alerts/{fingerprint}"): Permission.VIEW,
    ("GET", "/api/v1/pauses"): Permission.VIEW,
    ("GET", "/api/v1/rules"): Permission.VIEW,
    ("GET", "/api/v1/events"): Permission.VIEW,
    ("POST", "/api/v1/sign-in-links"): Permission.VIEW,
    ("POST", "/incidents/{id}/{verb}"): Permission.ANSWER,
    ("POST", "/api/v1/incidents/{id}/{verb}"): Permission.ANSWER,
    ("POST", "/services/{name}/heal"): Permission.OPERATE,
    ("POST", "/pauses"): Permission.OPERATE,
    ("POST", "/pauses/{id}/resume"): Permission.OPERATE,
    ("POST", "/api/v1/services/{name}/heal"): Permission.OPERATE,
    ("POST", "/api/v1/pauses"): Permission.OPERATE,
    ("DELETE", "/api/v1/pauses/{id}"): Permission.OPERATE,
    ("POST", "/api/v1/services"): Permission.ADMINISTER,
    ("DELETE", "/api/v1/services/{name}"): Permission.ADMINISTER,
    ("POST", "/-/reload"): Permission.ADMINISTER,
    ("PUT", "/-/reload"): Permission.ADMINISTER,
}
"""The permission that each route needs. `dismiss` shares a route with answers and needs OPERATE, which its operation
checks."""


def permission_of(request: web.Request) -> Permission:
    """The permission that a request needs. VIEW is needed to learn that a route does not exist."""
    resource = request.match_info.route.resource
    method = "GET" if request.method == "HEAD" else request.method
    return Permission.VIEW if resource is None else ROUTES[method, request.app[PATHS].within(resource.canonical)]


def check_routes(app: web.Application) -> None:
    """Refuse an application that has a route without a permission."""
    for route in app.router.routes():
        if route.method != "HEAD" and route.resource is not None:
            ROUTES[route.method, app[PATHS].within(route.resource.canonical)]


@dataclass(frozen=True)
class Principal:
    """The sender of a request. `name` is empty if nobody has to sign in. `known` says that credentials were shown."""

    name: str
    grants: tuple[Grant, ...]
    known: bool = False

    def may(self, permission: Permission, labels: Mapping[str, str] | None = None) -> bool:
        """Whether the principal has this permission for the service with these labels, or, without labels, for any
        service."""
        if permission in (Permission.OPEN, Permission.WEBHOOK):
            return True
        return any(
            permission in PERMISSIONS[grant.role]
            and (labels is None or permission not in _OF_SERVICES or matches_all(grant.match, labels))
            for grant in self.grants
        )

    def may_operate_all(self, matchers: tuple[Matcher, ...]) -> bool:
        """Whether the principal operates every service that these matchers can select."""
        return any(
            Permission.OPERATE in PERMISSIONS[grant.role] and set(grant.match) <= set(matchers) for grant in self.grants
        )

    @property
    def roles(self) -> str:
        """The roles, for a sentence."""
        return " and ".join(dict.fromkeys(grant.role for grant in self.grants)) or "no role"


NOBODY = Principal("", ())
"""The principal of a request without credentials."""
ADMIN = Principal("", (Grant(Role.ADMIN),))
"""The principal of every request if no credentials are required."""
VIEWER = Principal("", (Grant(Role.VIEWER),))
"""The principal of every request on loopback, if only changes need a credential."""

"""The demo's services, and the fault of each: what breaks, when, and how it is injected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from remediator.cli.demo.processes import DemoServices, ServiceSpec
from remediator.cli.demo.service import FaultKind

SERVICES = (
    ServiceSpec("ledger"),
    ServiceSpec("storefront", depends_on="ledger"),
    ServiceSpec("search"),
    ServiceSpec("payments"),
    ServiceSpec("checkout"),
    ServiceSpec("reviews", demand=25.0),
    ServiceSpec("mailer", tier="worker", demand=5.0),
)


@dataclass(frozen=True)
class DemoFault:
    """A fault that begins `at` seconds after the start.

    `root` names the service that is the root cause. Then there is nothing to `inject`: healing the root heals this one.
    """

    service: str
    at: float
    name: str
    text: str
    inject: Callable[[DemoServices], str] | None = None
    root: str = ""


# The faults are so far apart that web.yml, which heals one service at a time, holds none back, and that too few
# services are in trouble at once for the panic gate.
FAULTS = (
    DemoFault(
        "search",
        0,
        "slow",
        "answers take six seconds longer",
        lambda services: services.inject("search", FaultKind.SLOW),
    ),
    DemoFault(
        "checkout", 6, "bad release", "release 2.1.0 has a bug", lambda services: services.deploy("checkout", "2.1.0")
    ),
    DemoFault(
        "mailer",
        20,
        "memory leak",
        "memory grows and grows",
        lambda services: services.inject("mailer", FaultKind.LEAK),
    ),
    DemoFault(
        "ledger", 30, "errors", "most answers are errors", lambda services: services.inject("ledger", FaultKind.ERRORS)
    ),
    DemoFault("storefront", 30, "dependency", "fails where it asks the ledger", root="ledger"),
    DemoFault("reviews", 42, "overload", "three times the requests", lambda services: services.demand("reviews", 3)),
    DemoFault("payments", 56, "crash", "its process is killed", lambda services: services.crash("payments")),
)

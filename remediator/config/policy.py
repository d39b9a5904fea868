"""What the config says about deciding, as plain data."""

from __future__ import annotations

import msgspec

from remediator.config.settings import Config
from remediator.model.health import Health
from remediator.model.rulebook import Rate, Share
from remediator.model.time_interval import Maintenance

SEVERITY = {"critical": Health.FAILED, "page": Health.FAILED, "warning": Health.DEGRADED}
"""What the `severity` label of an alert means for a service that no threshold judges; any other means degraded."""


class Policy(msgspec.Struct, frozen=True):
    """What the config says about deciding. Durations are seconds."""

    auto_heal: bool = True
    stale_after: float = 30.0
    patience: float = 10.0
    """How long an alert may wait for the look at its service's thresholds that was asked for when it came."""
    look_every: float = 15.0
    """Seconds until a service with an open incident is looked at again, if nothing else makes it sooner."""
    settle: float = 10.0
    """Seconds to look on before acting, once Prometheus is seen again or a storm is over."""
    concurrent: int = 4
    rate: tuple[Rate, ...] = (Rate(30, 3600.0),)
    panic: Share = Share(50.0, percent=True)
    """When more of all services than this turn bad within a minute, it is not them."""
    maintenance: tuple[Maintenance, ...] = ()
    severity: dict[str, Health] = msgspec.field(default_factory=lambda: dict(SEVERITY))


def policy_of(config: Config) -> Policy:
    """What the config says about deciding."""
    return Policy(
        auto_heal=config.global_.auto_heal,
        stale_after=config.global_.stale_after,
        patience=2 * config.global_.query_timeout,
        # Without rounds of its own the evaluator looks only when asked.
        look_every=15.0 if config.global_.evaluation_interval else 2.0,
        settle=config.global_.settle,
        concurrent=config.limits.concurrent,
        rate=config.limits.rate,
        panic=config.limits.panic,
        maintenance=config.windows(),
        severity=config.severity,
    )

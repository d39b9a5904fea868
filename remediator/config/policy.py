"""What the config says about deciding, as plain data, with the defaults of the config."""

from __future__ import annotations

import msgspec

from remediator.config.settings import DEFAULT_SEVERITY, Config, ConfigLimits, Global, severity_key
from remediator.model.alert import Alert, Source
from remediator.model.health import Health
from remediator.model.rules import Rate, Share
from remediator.model.time_interval import Maintenance

_GLOBAL, _LIMITS = Global(), ConfigLimits()


def _patience(given: Global) -> float:
    return 2 * given.query_timeout


def _look_every(given: Global) -> float:
    # Without an interval the evaluator looks only when asked.
    return 15.0 if given.evaluation_interval else 2.0


class Policy(msgspec.Struct, frozen=True):
    """What the config says about deciding. Durations are seconds."""

    auto_heal: bool = _GLOBAL.auto_heal
    stale_after: float = _GLOBAL.stale_after
    patience: float = _patience(_GLOBAL)
    """How long an alert may wait for the evaluation of its service's thresholds that it asked for."""
    look_every: float = _look_every(_GLOBAL)
    """The longest time between two evaluations of a service with an open incident."""
    settle: float = _GLOBAL.settle
    """How long to look on before acting, once Prometheus is seen again or a storm is over."""
    concurrent: int = _LIMITS.concurrent
    rate: tuple[Rate, ...] = _LIMITS.rate
    panic: Share = _LIMITS.panic
    """When more services than this turn bad within a minute, the monitoring or the network is at fault."""
    maintenance: tuple[Maintenance, ...] = ()
    severity: dict[str, Health] = msgspec.field(default_factory=lambda: dict(DEFAULT_SEVERITY))

    def spoken_health(self, alert: Alert) -> Health | None:
        """The trouble that an alert speaks of by its severity. None if it asks for nothing to be done.

        An alert without a severity means degraded, unless the mapping names the empty one.
        """
        severity = severity_key(alert.labels.get("severity", ""))
        health = self.severity.get(severity, None if severity else Health.DEGRADED)
        return health if health is not None and health.bad else None

    def heeds(self, alert: Alert) -> bool:
        """Whether an alert by itself is a reason to act: those of thresholds and operators always are."""
        return alert.source is not Source.ALERTMANAGER or self.spoken_health(alert) is not None

    def why_unheeded(self, alert: Alert) -> str:
        """The sentence for an alert that is not heeded."""
        severity = alert.labels.get("severity", "")
        return f"severity {severity} is not actionable" if severity else "an alert without a severity is not actionable"


def policy_of(config: Config) -> Policy:
    """What the config says about deciding."""
    given = config.global_
    return Policy(
        auto_heal=given.auto_heal,
        stale_after=given.stale_after,
        patience=_patience(given),
        look_every=_look_every(given),
        settle=given.settle,
        concurrent=config.limits.concurrent,
        rate=config.limits.rate,
        panic=config.limits.panic,
        maintenance=config.windows(),
        severity=config.severities(),
    )

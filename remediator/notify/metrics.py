"""Counting what the journal says in remediator's own metrics, and showing each service's health at a scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from remediator.metrics import Metrics
from remediator.model.action import Outcome
from remediator.model.health import Health
from remediator.model.incident import Entry, EntryKind, Verdict


class MetricsAnnouncer:
    """Counts closed incidents, step runs and holds. Durations of steps are measured where they are run."""

    name = "metrics"
    durable = False

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def tell_page(self, entries: Sequence[Entry]) -> None:
        """Count these entries."""
        for entry in entries:
            await self.tell(entry)

    async def tell(self, entry: Entry) -> None:
        """Count one entry."""
        data = entry.data
        match entry.kind:
            case EntryKind.HELD | EntryKind.ALERT_SETTLED if data["gate"]:
                self._metrics.holds.labels(data["gate"]).inc()
            case EntryKind.STEP_ENDED:
                self._metrics.steps.labels(data["runbook"], data["action"], data["outcome"]).inc()
            case EntryKind.PASSED_OVER:
                self._metrics.steps.labels(data["runbook"], data["action"], Outcome.SKIPPED.value).inc()
            case EntryKind.INCIDENT_CLOSED:
                self._metrics.heals.labels(entry.service, data["runbook"], data["action"], data["verdict"]).inc()
                if data["verdict"] == Verdict.RECOVERED:
                    taken = max(0.0, entry.at - data["opened_at"])
                    self._metrics.recovery_duration.labels(data["runbook"]).observe(taken)


def follow_health(metrics: Metrics, services: Callable[[], Iterable[tuple[str, Health]]]) -> None:
    """Show the health of what `services` returns, each service's name once, whenever metrics are scraped."""
    metrics.service_health.follow(tuple(Health), services)

"""A stand-in for the engine behind the web: services it is told of, and the real store for everything remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remediator.decision.case import ServiceView, Why
from remediator.errors import ConfigError, ConflictError
from remediator.model.alert import Alert, Source, fingerprint
from remediator.model.clock import Clock
from remediator.model.gate import Gate
from remediator.model.health import Health, Judgement, QueryStatus, Reading
from remediator.model.incident import Hold, Incident, StoredAlert
from remediator.model.paging import PageAlert
from remediator.problem import Position, Problem
from remediator.store.interface import Store
from remediator.web.context import Leader

GATES = (
    Gate.AUTO_HEAL,
    Gate.PAUSED,
    Gate.SETTLING,
    Gate.BLIND,
    Gate.COOLDOWN,
    Gate.RATE_BUDGET,
    Gate.CONCURRENCY,
    Gate.GUARD,
    Gate.APPROVAL,
)


class FakeSystem:
    """Implements `remediator.web.application.System`. Tests read `woken_times`, and set `views`, `paged`,
    `unpaged`, `warned`, `reasons`, `led_by` and `reload_problem`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.views: dict[str, ServiceView] = {}
        self.paged: list[PageAlert] = []
        self.unpaged: list[str] = []
        self.warned: list[str] = []
        self.reasons: list[str] = []
        self.undecided_alerts = 0
        self.led_by: Leader | None = None
        self.reload_problem = ""
        self.reloads = 0
        self.woken_times = 0
        self.rulebook: dict[str, Any] = {"services": [], "thresholds": [], "runbooks": [], "targets": []}

    def undecided(self) -> int:
        return self.undecided_alerts

    def services(self) -> list[ServiceView]:
        return [self.views[name] for name in sorted(self.views)]

    def service(self, name: str) -> ServiceView | None:
        return self.views.get(name)

    async def why(self, name: str) -> Why | None:
        view = self.views.get(name)
        if view is None:
            return None
        incident: Incident | None = await self.store.incident(view.incident) if view.incident else None
        alerts = [stored for stored in await self.store.firing_alerts() if stored.alert.labels.get("service") == name]
        gates = tuple((g, view.hold if view.hold and view.hold.gate == g else None) for g in GATES)
        return Why(view, tuple(alerts), incident, gates, {"commands running": "0 of 4", "decision now": view.decision})

    def warnings(self) -> list[str]:
        return self.warned

    def leader(self) -> Leader | None:
        return self.led_by

    def page_alerts(self) -> list[PageAlert]:
        return list(self.paged)

    def unpaged_alerts(self) -> list[str]:
        return self.unpaged

    async def heal(self, name: str, author: str, comment: str, force: bool) -> StoredAlert | None:
        if name not in self.views:
            return None
        now = self.clock.now()
        labels = {"alertname": "Heal", "service": name}
        notes = {"author": author, "comment": comment, "force": str(force).lower()}
        alert = Alert(fingerprint(labels), now, None, labels, notes, Source.OPERATOR)
        await self.store.put_alerts([alert], now)
        return StoredAlert(0, alert, now, now, name, text="the first step of web is about to run")

    def not_ready(self) -> list[str]:
        return list(self.reasons)

    async def reload(self) -> None:
        self.reloads += 1
        if self.reload_problem:
            raise ConfigError([Problem(Position("rules.yml", 3, 5), "unknown-key", self.reload_problem)])

    def rules(self) -> Mapping[str, Any]:
        return self.rulebook

    async def add_service(self, document: Mapping[str, Any], author: str) -> object:
        name = document.get("name")
        if not isinstance(name, str):
            raise ConfigError([Problem(Position("service", 1, 1), "missing-key", "the key 'name' is missing here")])
        if name in self.views:
            raise ConflictError(f"cannot add {name}: there is a service of this name")
        self.views[name] = view(name)
        return self.views[name]

    async def remove_service(self, name: str, author: str) -> object:
        del self.views[name]
        return None

    def on_operator_action(self) -> None:
        self.woken_times += 1


def view(name: str, health: Health = Health.HEALTHY, at: float = 1.8e9, **others: Any) -> ServiceView:
    """A service as the engine would show it."""
    value = {Health.FAILED: 0.2, Health.DEGRADED: 0.07}.get(health, 0.001)
    words = {
        Health.FAILED: f"error_ratio {value} > 0.1 for 15s",
        Health.DEGRADED: f"error_ratio {value} >= 0.05 for 15s",
        Health.UNKNOWN: "error_ratio: Prometheus cannot be reached",
    }.get(health, "every threshold is fine")
    query_status = QueryStatus.UNREACHABLE if health is Health.UNKNOWN else QueryStatus.SEEN
    seen = None if health is Health.UNKNOWN else value
    reading = Reading("error_ratio", health, at - 2, at - 95, query_status, seen, {"service": name}, words)
    judgement = Judgement(health, at - 2, at - 95, words, (reading,))
    given = {"labels": {"service": name, "tier": "web"}, "alerts": 0, "runbook": "web", "target": "systemd"}
    return ServiceView(name=name, health=health, judgement=judgement, **{**given, **others})


def cooldown(until: float) -> Hold:
    """A hold, for a service to be held by."""
    return Hold(Gate.COOLDOWN, "restart ran 2m ago and the cooldown of web is 10m", until, "force a heal")

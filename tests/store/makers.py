"""Things to store, with as little said about each as a test needs to say."""

from __future__ import annotations

from remediator.model.action import ActionSpec, Outcome, Result
from remediator.model.alert import Alert, Source, fingerprint
from remediator.model.health import Health
from remediator.model.incident import Disposition, Settlement
from remediator.model.matcher import Matcher
from remediator.model.rules import (
    Dashboard,
    Limits,
    Plan,
    Rate,
    Runbook,
    Service,
    Share,
    Step,
    Target,
    TargetRef,
    Verify,
)
from remediator.store.interface import NewIncident

T0 = 1_763_942_400.123456
"""A time with more digits than a decimal shows exactly."""

SUCCEEDED = Result(Outcome.SUCCEEDED, "restart succeeded", 0, "done\n")


def make_alert(
    service: str = "checkout", *, starts_at: float = T0, ends_at: float | None = None, **labels: str
) -> Alert:
    every = {"alertname": "ErrorRatioHigh", "service": service, **labels}
    return Alert(fingerprint(every), starts_at, ends_at, every, {"summary": f"{service} is failing"})


def settlement(alert: Alert, disposition: Disposition, *, gate: str = "", incident: int | None = None) -> Settlement:
    text = f"{disposition} {gate}".strip()
    return Settlement(alert.key, disposition, text, alert.labels["service"], gate, incident)


def make_plan(service: str = "checkout", dashboard: Dashboard | None = None) -> Plan:
    """A plan in which every kind of field has something."""
    return Plan(
        Service(
            service,
            {"service": service, "tier": "web"},
            (Matcher("service", "=", service),),
            TargetRef("systemd", {"unit": f"{service}.service"}, {"drain": ActionSpec(shell="echo {{ labels.x }}")}),
            ("postgres",),
        ),
        Runbook(
            "web",
            (
                Step("restart", "restart", attempts=2),
                Step("scale", "scale", args={"by": 1, "max": 6}, when=(Health.FAILED,), unless="up > 0", timeout=2.5),
            ),
            match=(Matcher("tier", "=~", "web|api"),),
            verify=Verify(15.0, 120.0),
            limits=Limits(600.0, (Rate(3, 3600.0), Rate(7, 86400.0)), Share(30, True), Rate(3, 21600.0)),
            dashboard=dashboard,
        ),
        Target(
            "systemd", {"unit": "{{ service.name }}.service", "host": None}, {"restart": ActionSpec(("systemctl",))}
        ),
    )


def new_incident(service: str = "checkout", *, at: float = T0, dashboard: Dashboard | None = None) -> NewIncident:
    return NewIncident(
        service=service,
        runbook="web",
        opened_at=at,
        health=Health.FAILED,
        text=f"error_ratio of {service} is 0.2 > 0.1",
        plan=make_plan(service, dashboard),
        labels={"service": service, "ünicode": 'a "b" \\ \n\t\x00'},
        annotations={"summary": "it is failing"},
        source=Source.ALERTMANAGER,
        thresholds=("error_ratio",),
    )

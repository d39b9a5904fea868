"""A past for the web to show: an incident with evidence, steps and a hold, one that recovered, and their alerts."""

from __future__ import annotations

from doubles.site import NOW, Site
from doubles.system import cooldown, view

from remediator.model.action import Outcome, Result
from remediator.model.alert import Alert, fingerprint
from remediator.model.gate import Gate
from remediator.model.health import Health
from remediator.model.incident import DIAGNOSE, Disposition, Hold, Incident, Settlement, Verdict
from remediator.model.rules import Mode, Plan, Runbook, Service, Step
from remediator.store.interface import NewIncident

HOSTILE = """<script>document.title='owned'</script>"'&\x1b[31m"""


def plan(service: str, mode: Mode = Mode.AUTO) -> Plan:
    """What an incident of this service carries with it."""
    steps = (Step("restart", "restart"), Step("rollback", "rollback"))
    return Plan(Service(service, {"service": service}), Runbook("web", steps, mode=mode))


async def open_incident(site: Site, service: str, mode: Mode = Mode.AUTO, hostile: str = "") -> Incident:
    """An open incident that has gathered evidence, restarted in vain, and is held."""
    store, labels = site.store, {"alertname": "ErrorRatioHigh", "service": service, "path": hostile}
    alert = Alert(fingerprint(labels), NOW - 100, None, labels, {"summary": f"errors {hostile}"})
    await store.put_alerts([alert], NOW - 99)
    text = f"error_ratio 0.2 > 0.1 for 15s {hostile}"
    new = NewIncident(service, "web", NOW - 98, Health.FAILED, text, plan(service, mode), labels)
    incident = await store.open_incident(new, [Settlement(alert.key, Disposition.OPENED, "opened it", service)])
    for step, call, output, at in (
        (DIAGNOSE, f"systemctl status {service}", f"pool exhausted {hostile}", NOW - 97),
        (0, f"systemctl restart {service}", f"done {hostile}", NOW - 95),
    ):
        action = "diagnose" if step == DIAGNOSE else "restart"
        run = await store.begin_step(incident.id, step, 1, action, "is run", call, at, at + 60)
        await store.end_step(run.id, Result(Outcome.SUCCEEDED, "exit code 0", 0, output), at + 1)
    hold = (
        Hold(Gate.APPROVAL, "rollback waits for an approval", NOW + 600) if mode is Mode.APPROVE else cooldown(NOW + 60)
    )
    await store.hold_incident(incident.id, hold, NOW - 50)
    site.system.views[service] = view(
        service, Health.FAILED, NOW, incident=incident.id, alerts=1, hold=hold, decision=f"waits: {hold.text}"
    )
    stored = await store.incident(incident.id)
    assert stored is not None
    return stored


async def recovered_incident(site: Site, service: str) -> Incident:
    """An incident that a restart healed within a minute and a half."""
    new = NewIncident(service, "web", NOW - 1000, Health.DEGRADED, "latency 1.2 > 1", plan(service), {})
    incident = await site.store.open_incident(new)
    site.system.views.setdefault(service, view(service, Health.HEALTHY, NOW))
    return await site.store.close_incident(
        incident.id, Verdict.RECOVERED, "healthy for 30s after restart", Health.HEALTHY, NOW - 910
    )

"""What is done, in words: the title of an action, as its target gives it, or as it can be said of any. A title is only read
by people: what cannot be rendered has the one that needs no template."""

from __future__ import annotations

from collections.abc import Mapping

from remediator.actions.render import prepared
from remediator.errors import RefusedError, TemplateError
from remediator.model.action import ActionSpec
from remediator.model.incident import DIAGNOSE, UNDO, Incident, StepRun
from remediator.model.rules import Plan, Step
from remediator.template.compile import TemplateKind, compile_template, shortened
from remediator.template.filters import LabelView

_LONG = 300
"""Characters after which a title is cut off."""
_UNNAMED = ("run", "shell", "http")


def step_title(plan: Plan, step: Step, context: Mapping[str, object]) -> str:
    """What a step does: `restart api (supervisor) on web1`."""
    spec = step.spec or plan.spec(step.action)
    try:
        known = prepared(plan, step, context)
        given = compile_template(spec.title, TemplateKind.TEXT).render(known) if spec is not None else ""
        host = str(known.get("ssh", ""))
    except (RefusedError, TemplateError):
        given, host = "", ""
    title = " ".join((given or plain_title(plan, step)).split())
    return shortened(f"{title} on {host}" if host and not title.endswith(f" on {host}") else title, _LONG)


def plain_title(plan: Plan, step: Step) -> str:
    """The title of a step that has none of its own."""
    name, spec = plan.service.name, step.spec
    if spec is None:
        return f"gather evidence about {name}" if step.action == "diagnose" else f"{step.action} {name}"
    return f"{_program(spec) if step.name in _UNNAMED else step.name} for {name}"


def run_title(incident: Incident, run: StepRun) -> str:
    """What a step run of an incident does, or did."""
    steps = incident.plan.runbook.steps
    if 0 <= run.step < len(steps):
        step = steps[run.step]
    elif run.step in (DIAGNOSE, UNDO):
        step = Step(run.action, run.action)
    else:
        return f"{run.action} {run.service}"
    return step_title(incident.plan, step, incident_context(incident))


def incident_context(incident: Incident) -> dict[str, object]:
    """What the templates of titles see, from what is remembered of an incident."""
    service = incident.plan.service
    return {
        "labels": LabelView(incident.labels),
        "annotations": LabelView(incident.annotations),
        "service": {"name": service.name, "labels": LabelView(service.labels)},
        "alert": {"name": incident.labels.get("alertname", "")},
        "incident": {"id": incident.id},
        "runbook": {"name": incident.runbook},
        "health": str(incident.health),
        "values": dict[str, float](),
    }


def _program(spec: ActionSpec) -> str:
    if spec.http is not None:
        return f"send a {spec.http.method} request"
    if spec.run:
        return f"run {spec.run[0].rsplit('/', 1)[-1]}" if "{{" not in spec.run[0] else "run a command"
    return "run a shell command"

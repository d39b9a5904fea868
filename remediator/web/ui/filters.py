"""The environment of the templates, and filters that show times, values and rules as text for people."""

from __future__ import annotations

import math
import time
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from remediator.actions.render import describe
from remediator.actions.titles import incident_context, run_title
from remediator.decision.next_step import find_next_step
from remediator.model.clock import rfc3339
from remediator.model.durations import rough_duration
from remediator.model.incident import Incident, StepRun


def environment(base: str = "") -> Environment:
    """Templates of this package; everything put into them is escaped. `base` begins every link."""
    made = Environment(
        loader=PackageLoader("remediator.web.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["base"] = base
    made.filters.update(
        when=when,
        until=until,
        iso=rfc3339,
        exact=exact,
        fact=fact,
        span=span,
        number=number,
        words=words,
        as_yaml=as_yaml,
        deed=deed,
        next_call=next_call,
    )
    return made


def when(at: float | None, now: float) -> Markup:
    """A time in two ways: how long ago or ahead, and in UTC, with the day if it is another one."""
    if not at:
        return Markup('<span class="faint">never</span>')
    distance = abs(now - at)
    rough = (
        "now" if distance < 1 else f"{rough_duration(distance)} ago" if at <= now else f"in {rough_duration(distance)}"
    )
    return Markup('<time datetime="{}"><span class="rough">{}</span> <span class="exact">{}</span></time>').format(
        rfc3339(at), rough, _clock(at, now)
    )


def until(at: float, now: float) -> Markup:
    """A future time, for a sentence that says until when."""
    text = Markup('<time datetime="{}">until {} <span class="exact">in {}</span></time>')
    return text.format(rfc3339(at), _clock(at, now), rough_duration(max(0.0, at - now)))


def exact(at: float) -> str:
    """A time in UTC, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def fact(value: object, now: float) -> object:
    """A fact of an account. Numbers are short, and lists have commas."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | int):
        return number(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return value


def span(seconds: float | None) -> str:
    """A rough length of time."""
    return "–" if seconds is None else rough_duration(seconds)


def number(value: float | None) -> str:
    """A measured value with as many digits as are useful."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:.4g}"


def words(name: object) -> str:
    """A name with underscores as words."""
    return str(name).replace("_", " ")


def as_yaml(value: Any) -> str:
    """Data in the notation of rule files."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100).rstrip()


def _clock(at: float, now: float) -> str:
    """The time of day, with the day if it is another one."""
    there, here = time.gmtime(at), time.gmtime(now)
    return time.strftime("%H:%M:%S UTC" if there[:3] == here[:3] else "%Y-%m-%d %H:%M UTC", there)


def deed(run: StepRun, incident: Incident) -> str:
    """What a step run does, in words."""
    return run_title(incident, run)


def next_call(incident: Incident) -> str:
    """The call of the step whose turn it is, as far as it is known beforehand."""
    next_step = find_next_step(incident) if incident.open and incident.running is None else None
    return describe(incident.plan, next_step.step, incident_context(incident)) if next_step is not None else ""

"""From a step to its result: render its templates, read the present count for scale, wrap the command in ssh, run it."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from remediator.actions.supervisor import GRACE, MARGIN
from remediator.clients.prometheus.client import Answer
from remediator.errors import RefusedError, TemplateError
from remediator.model.action import TIMEOUT, ActionSpec, Call, HttpSpec, Outcome, Result, Run
from remediator.model.health import QueryStatus
from remediator.model.rules import Plan, Step
from remediator.template.compile import TemplateKind, compile_template

COUNT_TIMEOUT = 15.0
"""Seconds for reading the present count, unless its action has a timeout."""
DIAGNOSE_TIMEOUT = 30.0
"""Seconds for gathering evidence, unless its action has a timeout."""
PROBE_TIMEOUT = 15.0
"""Seconds for asking a target whether it can be reached, unless its action has a timeout."""

Context = Mapping[str, object]
Query = Callable[[str], Awaitable[Answer]]

_CONNECT = 10
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT}", "--")
_NO_CSH = 'test -z "$shell" || exec false\n'
"""Stops csh, where a newline ends a quote, and `!` is replaced inside of quotes. Only csh has the variable $shell."""
_SSH_HOST = re.compile(r"(?:ssh://)?(?:[\w.+][\w.+-]*@)?(?:[\w.:][\w.:%-]*|\[[\w.:%-]+\](?::\d+)?)", re.ASCII)

_FACTS = {
    "REMEDIATOR_INCIDENT": "{{ incident.id if incident is defined else '' }}",
    "REMEDIATOR_HEALTH": "{{ health | default('') }}",
    "REMEDIATOR_ALERT": "{{ alert.name if alert is defined else '' }}",
}


async def perform(plan: Plan, step: Step, context: Context, run: Run, query: Query) -> tuple[Result, str]:
    """Run a step to its end. Returns its result and the text of its call, '' when none was made.

    REFUSED when a template cannot be rendered safely or the action does not exist, SKIPPED when a scale is at its
    limit. Failures outside of remediator never raise.
    """
    try:
        spec = _spec(plan, step)
        if step.spec is None and step.action == "scale":
            return await _scale(plan, step, spec, context, run, query)
        call = _call(plan, spec, step.name, context, prepared(plan, step, context), _limit(spec, step.timeout))
    except (RefusedError, TemplateError) as error:
        return Result(Outcome.REFUSED, str(error)), ""
    return await run(call), str(call)


def describe(plan: Plan, step: Step, context: Context) -> str:
    """The text of the step's call before it is run; '' when it depends on the present count, or is refused."""
    if step.spec is None and step.action == "scale":
        return ""
    try:
        spec = _spec(plan, step)
        return str(_call(plan, spec, step.name, context, prepared(plan, step, context), _limit(spec, step.timeout)))
    except (RefusedError, TemplateError):
        return ""


async def diagnose(plan: Plan, context: Context, run: Run) -> tuple[Result, str]:
    """Run the target's `diagnose` action, whose output is the evidence. SKIPPED when it has none."""
    spec = plan.spec("diagnose")
    if spec is None:
        return Result(Outcome.SKIPPED, "the target has no action diagnose"), ""
    try:
        known = {**context, **_params(plan, context)}
        call = _call(plan, spec, "diagnose", context, known, _limit(spec, default=DIAGNOSE_TIMEOUT))
    except (RefusedError, TemplateError) as error:
        return Result(Outcome.REFUSED, str(error)), ""
    return await run(call), str(call)


async def ask_target(plan: Plan, action: str, context: Context, run: Run, limit: float) -> Result:
    """Run an action of the target that only asks something; `limit` is its timeout unless it has its own.

    REFUSED when it cannot be rendered safely, or the target has no such action.
    """
    spec = plan.spec(action)
    if spec is None:
        return Result(Outcome.REFUSED, f"the target has no action {action}")
    try:
        known = {**context, **_params(plan, context)}
        call = _call(plan, spec, action, context, known, _limit(spec, default=limit))
    except (RefusedError, TemplateError) as error:
        return Result(Outcome.REFUSED, str(error))
    return await run(call)


async def probe(plan: Plan, context: Context, run: Run) -> Result:
    """Run the target's `probe` action, which says by its end whether the target can be reached."""

    async def marked(call: Call) -> Result:
        return await run(msgspec.structs.replace(call, probe=True))

    return await ask_target(plan, "probe", context, marked, PROBE_TIMEOUT)


def step_timeout(plan: Plan, step: Step) -> float:
    """Seconds within which a step is certainly over, the reading of a count included."""
    spec = step.spec or plan.spec(step.action)
    longest = _certain_end(plan, _limit(spec, step.timeout))
    if step.spec is None and step.action == "scale":
        longest += _certain_end(plan, _limit(plan.spec("replicas"), default=COUNT_TIMEOUT))
    return longest


def diagnose_timeout(plan: Plan) -> float:
    """Seconds within which the gathering of evidence is certainly over."""
    return _certain_end(plan, _limit(plan.spec("diagnose"), default=DIAGNOSE_TIMEOUT))


def _limit(spec: ActionSpec | None, given: float | None = None, default: float = TIMEOUT) -> float:
    """Seconds that a command may take: the step's own timeout, its action's, or the default."""
    return given or (spec.timeout if spec else None) or default


def _certain_end(plan: Plan, limit: float) -> float:
    """Seconds within which a command of this limit is certainly over, with TERM and KILL.

    A command over ssh starts, and so ends, up to the time to connect later there than here.
    """
    given = plan.service.target.params if plan.service.target else {}
    over_ssh = given.get("ssh", plan.target.ssh if plan.target else "")
    return limit + GRACE + MARGIN + (_CONNECT if over_ssh else 0)


# Templates to calls.


def _spec(plan: Plan, step: Step) -> ActionSpec:
    spec = step.spec or plan.spec(step.action)
    if spec is None:
        target = plan.service.target
        reason = f"its target {target.name} has no such action" if target else "it has no target"
        raise RefusedError(f"cannot {step.action} {plan.service.name}: {reason}")
    return spec


def prepared(plan: Plan, step: Step, context: Context) -> dict[str, object]:
    """The context with the target's parameters and the step's arguments.

    A parameter hides a variable of its name from the target's own actions, but not from a step's own command: that is
    written for services of any target.
    """
    params = _params(plan, context)
    known = {**context, **params} if step.spec is None else {**params, **context}
    scale = step.action == "scale"
    # The argument `replicas` of scale is PromQL, and is rendered as PromQL.
    args = {
        name: _text(value, known) if isinstance(value, str) and not (scale and name == "replicas") else value
        for name, value in step.args.items()
    }
    return known | {"args": args}


def _params(plan: Plan, context: Context) -> dict[str, object]:
    """The target's parameters, and in `given` those that the service sets. These come first: defaults may use them."""
    reference = plan.service.target
    if reference is None:
        return {}
    defaults = plan.target.defaults if plan.target else {}
    missing = [name for name, default in defaults.items() if default is None and name not in reference.params]
    if missing:
        raise RefusedError(f"cannot reach {plan.service.name}: its target {reference.name} needs {', '.join(missing)}")
    given = tuple(name for name, text in reference.params.items() if text)
    params: dict[str, object] = {"given": given}
    params |= {name: _text(text, context) for name, text in reference.params.items()}
    for name, default in defaults.items():
        if name not in params and default is not None:
            params[name] = _text(default, {**context, **params})
    return params


def _call(plan: Plan, spec: ActionSpec, step: str, facts: Context, context: Context, limit: float) -> Call:
    """Render an action. `facts` is the context without the target's parameters, `context` the one with all variables."""
    if spec.http is not None:
        return Call(http=_http(spec.http, context), timeout=limit)
    if spec.run:
        argv = tuple(compile_template(text, TemplateKind.ARGUMENT).render(context) for text in spec.run)
    elif spec.shell is not None:
        argv = ("sh", "-c", compile_template(spec.shell, TemplateKind.SHELL).render(context))
    else:
        raise RefusedError(f"cannot {step} {plan.service.name}: the action has nothing to run")
    env = {name: _text(text, context) for name, text in spec.env.items()}
    host = str(context.get("ssh", ""))
    if host:
        argv, env = _over_ssh(host, argv, env, limit), {}
    known = {name: _text(text, facts) for name, text in _FACTS.items()}
    known |= {"REMEDIATOR_SERVICE": plan.service.name, "REMEDIATOR_RUNBOOK": plan.runbook.name, "REMEDIATOR_STEP": step}
    return Call(argv, timeout=limit, env={**known, **env})


def _over_ssh(host: str, argv: tuple[str, ...], env: dict[str, str], limit: float) -> tuple[str, ...]:
    """The command as ssh runs it on another machine. It has its limit there too, because sshd does not end it with ssh."""
    if _SSH_HOST.fullmatch(host) is None:
        raise RefusedError(f"cannot reach {host!r} by ssh: that is no host")
    assignments = ("env", *(f"{name}={value}" for name, value in env.items())) if env else ()
    command = ("timeout", "-k", f"{math.ceil(GRACE)}", f"{math.ceil(limit)}", *assignments, *argv)
    # sshd gives one text to the login shell there.
    text = " ".join(map(_shell_word, command))
    return (*_SSH, host, _NO_CSH + text if "\n" in text or "!" in text else text)


def _shell_word(text: str) -> str:
    """One word for any login shell. Backslashes stand outside of the quotes, because fish reads them inside."""
    if re.fullmatch(r"[\w@+:,./-][\w@+:,./=-]*", text, re.ASCII):
        return text
    return "'" + re.sub(r"['\\]", lambda found: f"'\\{found[0]}'", text) + "'"


def _http(spec: HttpSpec, context: Context) -> HttpSpec:
    return HttpSpec(
        url=compile_template(spec.url, TemplateKind.URL).render(context),
        method=spec.method,
        headers={name: _text(text, context) for name, text in spec.headers.items()},
        body=_text(spec.body, context),
        expect=spec.expect,
    )


def _text(source: str, context: Context) -> str:
    return compile_template(source, TemplateKind.TEXT).render(context)


# Scale: the present count, the new count, and its limits.


async def _scale(
    plan: Plan, step: Step, spec: ActionSpec, context: Context, run: Run, query: Query
) -> tuple[Result, str]:
    known = prepared(plan, step, context)
    numbers = {name: _whole(name, value) for name, value in step.args.items() if name in ("by", "to", "min", "max")}
    try:
        present = await _present(plan, step, context, known, run, query, needed="to" not in numbers)
    except _UnreadableError as error:
        return Result(Outcome.FAILED, f"cannot scale {plan.service.name}: {error}", output=error.output), ""
    count, reason = _new_count(present, **numbers)
    if count is None:
        return Result(Outcome.SKIPPED, reason), ""
    call = _call(plan, spec, step.name, context, known | {"replicas": count}, _limit(spec, step.timeout))
    result = await run(call)
    return msgspec.structs.replace(result, text=f"{reason}: {result.text}"), str(call)


def _new_count(
    present: int | None, *, by: int | None = None, to: int | None = None, min: int | None = None, max: int | None = None
) -> tuple[int | None, str]:
    """The count to scale to, or None, and a sentence about it. Only an explicit `to` or `min` leads below 1."""
    low = min if min is not None else 0 if to is not None else 1
    low = low if low > 0 else 0
    high = max if max is not None else float("inf")
    if to is not None:
        wanted = to
    else:
        step = 1 if by is None else by
        # The present count is always read for `by`. A count beyond the limit must not be moved back by a step towards it.
        at = present or 0
        if step > 0 and at >= high:
            return None, f"already at {at}, max is {max}" if at > high else f"already at max {max}"
        if step < 0 and at <= low:
            return None, f"already at {at}, min is {low}" if at < low else f"already at min {low}"
        wanted = at + step
    count = int(low if wanted < low else high if wanted > high else wanted)
    if count == present:
        return None, f"already at {count}"
    return count, f"scale to {count}" if present is None else f"scale from {present} to {count}"


class _UnreadableError(Exception):
    """The present count cannot be read. `output` is what its command printed."""

    def __init__(self, message: str, output: str = "") -> None:
        self.output = output
        super().__init__(message)


async def _present(
    plan: Plan, step: Step, context: Context, known: Context, run: Run, query: Query, *, needed: bool
) -> int | None:
    """The present count, from the step's PromQL if it has any, otherwise from the target's action `replicas`."""
    if "replicas" in step.args:
        return _count_of(await query(compile_template(str(step.args["replicas"]), TemplateKind.PROMQL).render(known)))
    spec = plan.spec("replicas")
    if spec is not None:
        limit = _limit(spec, default=COUNT_TIMEOUT)
        return await _counted(_call(plan, spec, "replicas", context, known, limit), run)
    if needed:
        raise RefusedError(
            f"cannot scale {plan.service.name} by a number: neither the step nor the target says how many there are"
        )
    return None


def _count_of(answer: Answer) -> int:
    if answer.query_status is not QueryStatus.SEEN:
        raise _UnreadableError(f"cannot read the present count: {answer.error or answer.query_status}")
    if len(answer.series) != 1:
        raise _UnreadableError(f"the query for the present count gives {len(answer.series)} series instead of one")
    value = answer.series[0].value
    if not (value >= 0 and value.is_integer()):
        raise _UnreadableError(f"the query for the present count gives {value:g}, which is no count")
    return int(value)


async def _counted(call: Call, run: Run) -> int:
    result = await run(call)
    if result.outcome is not Outcome.SUCCEEDED:
        raise _UnreadableError(f"the command for the present count {result.text}", result.output)
    numbers = re.findall(r"(?<![\w.-])\d{1,9}(?![\w.-])", result.output, re.ASCII)
    if not numbers:
        raise _UnreadableError("the command for the present count printed no number", result.output)
    return int(numbers[-1])


def _whole(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool) or int(value) != float(value):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise RefusedError(f"cannot scale: {name} is {value!r}, not a whole number") from None

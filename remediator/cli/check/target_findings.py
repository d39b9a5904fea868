"""Which services' targets cannot be reached, or not read, right now: by the actions of theirs that change nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

from remediator.actions.render import COUNT_TIMEOUT, Context, ask_target
from remediator.actions.runner import Runner
from remediator.model.action import Call, Outcome, Result
from remediator.model.rules import Plan, Runbook, Service
from remediator.problem import Problem, Severity
from remediator.rules.ruleset import Located, RuleSet
from remediator.template.compile import LabelView, shortened

_AT_ONCE = 8
_REMEDY = {
    "probe": "mend it, or what the service tells its target; until then its heals are held",
    "replicas": "see to it that this may be read: scale does so first",
}
_UNKNOWN = re.compile(r": there is no (label|variable) ")
_CHECKS = {"probe": "target-unreachable", "replicas": "target-unreadable"}


def find_targets(rules: RuleSet) -> list[Problem]:
    """Run `probe`, and then `replicas`, of every service that is named; a problem for each that does not end well."""
    return asyncio.run(_find(rules))


async def _find(rules: RuleSet) -> list[Problem]:
    runner, room = Runner(), asyncio.Semaphore(_AT_ONCE)
    made: dict[object, asyncio.Task[Result]] = {}

    async def run(call: Call) -> Result:
        async with room:
            return await runner(call)

    async def once(call: Call) -> Result:
        """Services of one host or cluster ask it once."""
        own = ((name, value) for name, value in call.env.items() if not name.startswith("REMEDIATOR_"))
        key = (call.argv, str(call), *sorted(own))
        if key not in made:
            made[key] = asyncio.ensure_future(run(call))
        return await made[key]

    async def problem(service: Located[Service], plan: Plan) -> Problem | None:
        for action in ("probe", "replicas"):
            if plan.spec(action) is None:
                continue
            result = await ask_target(plan, action, _context(service.item), once, COUNT_TIMEOUT)
            if result.outcome is Outcome.REFUSED and _UNKNOWN.search(result.text):
                # Labels of an alert are known only when there is one.
                return None
            if result.outcome is not Outcome.SUCCEEDED:
                where, text = service.at("target"), _text(service.item, action, result)
                return Problem(where, _CHECKS[action], text, _REMEDY[action], Severity.ERROR)
        return None

    try:
        found = await asyncio.gather(*(problem(service, plan) for service, plan in _plans(rules)))
    finally:
        await runner.close()
    return [one for one in found if one is not None]


def _plans(rules: RuleSet) -> Iterable[tuple[Located[Service], Plan]]:
    for service in rules.services:
        target = service.item.target
        if target is not None and "{{" not in service.item.name:
            yield service, Plan(service.item, Runbook("check", ()), rules.all_targets.get(target.name))


def _context(service: Service) -> Context:
    labels = LabelView(service.labels)
    return {"labels": labels, "service": {"name": service.name, "labels": labels}}


def _text(service: Service, action: str, result: Result) -> str:
    said = next((line.strip() for line in reversed(result.output.splitlines()) if line.strip()), "")
    what = "cannot be reached" if action == "probe" else "cannot be asked how many there are"
    return f"the target of {service.name} {what}: {result.text}" + (f": {shortened(said, 200)}" if said else "")

"""When people are called: which pages fire and which silences exist, by the present cases. Pure.

Each problem that remediator cannot heal is said once, by the name of its cause. A service that waits for another one
has no page. A panic, or a Prometheus that does not answer, has one page for all services that it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from remediator.decision.case import Case, Panic
from remediator.decision.gates import breaker
from remediator.errors import RefusedError
from remediator.model.alert import Source
from remediator.model.durations import rough_duration
from remediator.model.gate import Gate, Paging, Trait
from remediator.model.health import Health
from remediator.model.incident import Hold, Incident, Verdict
from remediator.model.paging import SENDER, HealSilence, PageAlert
from remediator.model.rules import Mode, Plan
from remediator.template.compile import TemplateKind, compile_template

BLACKOUT = 120.0
"""Seconds without an answer from Prometheus after which people get a page."""

UNHEALED = 900.0
"""Seconds for which others may wait for a service that nothing heals, before people get a page."""


def pages(
    troubled: Sequence[Case],
    panic: Panic | None,
    dark_since: float | None,
    waiting: Mapping[str, Hold],
    now: float,
    which: str = "",
    *,
    observes: bool = False,
) -> list[PageAlert]:
    """Every page that has to fire now. Where healing is only observed there is no page: nothing is lost by a heal that
    does not come.

    `troubled` are the cases of all services that have an open incident, were given up, or wait without an incident.
    `waiting` are the holds of those that wait. `dark_since` is when Prometheus stopped answering; None while it
    answers. `which` names the Prometheis that do not answer, if others do. `observes` says that nothing is run for any
    service.
    """
    found: list[PageAlert] = []
    if panic is not None and not observes:
        summary = f"{panic.bad} of {panic.total} services turned bad within a minute: nothing is healed"
        over = f"the panic is over in which {panic.bad} of {panic.total} services had turned bad: heals go on"
        found.append(_everywhere("RemediationPanic", summary, over, "critical", panic.since))
    dark = dark_since is not None and now - dark_since >= BLACKOUT
    if dark_since is not None and dark and not observes:
        lasted = rough_duration(now - dark_since)
        summary = f"Prometheus has not answered for {lasted}: nothing is healed"
        if which:
            summary = f"Prometheus {which} has not answered for {lasted}: nothing that it sees is healed"
        over = f"Prometheus{f' {which}' if which else ''} answers again: heals go on"
        found.append(_everywhere("RemediationBlocked", summary, over, "critical", dark_since, gate=Gate.BLIND))
    roots: dict[str, list[str]] = {}
    for case in troubled:
        hold = case.incident.hold if case.incident is not None else waiting.get(case.service.name)
        if hold is not None and hold.gate is Gate.DEPENDENCY and not case.observed:
            for root in case.dependencies:
                roots.setdefault(root.name, []).append(case.service.name)
    for case in troubled:
        hold = case.incident.hold if case.incident is not None else waiting.get(case.service.name)
        found.extend(_of(case, hold, roots.get(case.service.name, []), quiet=(dark and not which) or panic is not None))
    return found


def heal_silences(cases: Iterable[Case]) -> list[HealSilence]:
    """Every silence that has to exist now. It covers the alerts of an incident that is being healed, for the time that
    its runbook gives. It ends earlier if the heal comes to nothing."""
    return [
        HealSilence(case.incident.id, stored.alert.labels, case.incident.opened_at + silence)
        for case in cases
        if case.incident is not None and (silence := case.incident.plan.runbook.silence) and _heals(case, case.incident)
        for stored in case.alerts
        if stored.alert.source is Source.ALERTMANAGER
    ]


def may_call(plan: Plan, hold: Hold | None, held_from: float, now: float) -> bool:
    """Whether a service that is held since `held_from` may need a page. This cheap check saves most services the full
    one."""
    if plan.runbook.limits.breaker is not None or (hold is not None and hold.gate.paging is Paging.OWN):
        return True
    if hold is None or hold.gate.paging in (Paging.NEVER, Paging.FLEET):
        return False
    return now >= held_from + (UNHEALED if hold.gate.paging is Paging.ROOT else plan.runbook.escalate.after)


def may_resolve(case: Case) -> bool:
    """Whether RemediationFailed of a service may resolve: another incident has ended since, or the service has
    recovered and nothing is owed.

    It has recovered if it was healthy for `healthy_for`, or at every evaluation since the start: then it was healthy
    before the restart.
    """
    before, judged = case.previous, case.judgement
    if before is None or before.verdict is not Verdict.EXHAUSTED:
        return True
    if before.owed or judged.health is not Health.HEALTHY:
        return False
    lasting = judged.at - judged.since >= before.plan.runbook.verify.healthy_for
    return lasting or judged.since <= case.prometheus_status.back


def _heals(case: Case, incident: Incident) -> bool:
    if case.observed:
        return False
    end = incident.opened_at + incident.plan.runbook.silence
    hold = incident.hold
    if case.now >= end or hold is None or Trait.BRIEF in hold.gate.traits:
        return case.now < end
    return hold.until is not None and hold.until < end and hold.gate.paging is not Paging.NEVER


def _of(case: Case, hold: Hold | None, waiters: Sequence[str], *, quiet: bool) -> Iterator[PageAlert]:
    """The pages about one service. While `quiet`, none says that it is held, because a page about more services says
    it."""
    name, before, plan = case.service.name, case.previous, case.plan
    also = f"; {', '.join(sorted(waiters))} wait{'s' if len(waiters) == 1 else ''} for it" if waiters else ""
    # Before the first evaluation nothing is known. The pages from before a restart go on for some minutes by
    # themselves.
    gave_up = before is not None and case.prometheus_status.back > 0 and not may_resolve(case)
    observed = case.observed or (plan is None and before is not None and before.plan.runbook.mode is Mode.OBSERVE)
    if observed and (before is None or before.last_run is None):
        return
    if gave_up and before is not None:
        summary = f"{name} is {case.health} and could not be healed: {before.closing}{also}"
        over = f"{name} could not be healed; it is well again, or another incident of it has ended since"
        yield _about(case, before.plan, "RemediationFailed", summary, over, "critical", before.closed_at or 0.0, before)
    if plan is None:
        if waiters and not quiet and case.health is not Health.HEALTHY and case.now - case.judgement.since >= UNHEALED:
            summary = f"{name} is {case.health}, and nothing heals it{also}"
            labels = {**case.service.labels, "gate": Gate.DEPENDENCY}
            over = f"{name} is well, or nothing waits for it any more"
            yield _everywhere("RemediationBlocked", summary, over, "warning", case.judgement.since + UNHEALED, **labels)
        return
    if case.observed:
        return
    if case.health is not Health.HEALTHY and (open_breaker := breaker(case)) is not None:
        began = (open_breaker.until or case.now) - (
            plan.runbook.limits.breaker.window if plan.runbook.limits.breaker else 0
        )
        summary, over = f"{name}: {open_breaker.text}", f"{name}: its breaker holds no heal any more"
        yield _about(case, plan, "RemediationBreakerOpen", summary, over, "critical", began, before)
    if hold is None or quiet:
        return
    incident = case.incident
    if hold.gate is Gate.APPROVAL:
        if incident is not None and incident.approval is None:
            summary = f"{name} is {case.health}, and its heal {hold.text}"
            over = f"{name}: its heal waits for approval no more"
            yield _about(case, plan, "RemediationApprovalNeeded", summary, over, "warning", hold.since, incident)
        return
    held_from = incident.idle_since if incident is not None else hold.since
    due = held_from + plan.runbook.escalate.after
    if case.now < due or gave_up or hold.gate.paging is not Paging.BLOCKED:
        return
    summary = (
        f"{name} is {case.health}, and nothing has been done for {rough_duration(case.now - held_from)}: {hold.text}"
    )
    over = f"{name} is not held by {hold.gate.replace('_', ' ')} any more"
    yield _about(case, plan, "RemediationBlocked", summary + also, over, "warning", due, incident, gate=hold.gate)


def _about(
    case: Case,
    plan: Plan,
    name: str,
    summary: str,
    over: str,
    severity: str,
    starts_at: float,
    incident: Incident | None,
    **labels: str,
) -> PageAlert:
    """A page about a service. The runbook's own labels and annotations come last. One that cannot be rendered is left
    out."""
    escalate = plan.runbook.escalate
    added = _rendered(escalate.labels, case)
    given = incident.annotations.get("runbook_url", "") if incident is not None else ""
    annotations = {"summary": summary, **({"runbook_url": given} if given else {})}
    return PageAlert(
        labels={
            **case.service.labels,
            "runbook": plan.runbook.name,
            "severity": severity,
            **labels,
            **added,
            "alertname": name,
            SENDER[0]: SENDER[1],
        },
        annotations=annotations | _rendered(escalate.annotations, case),
        starts_at=starts_at,
        path=f"/incidents/{incident.id}" if incident is not None else f"/services/{case.service.name}",
        resolved=over,
    )


def _everywhere(name: str, summary: str, over: str, severity: str, starts_at: float, **labels: str) -> PageAlert:
    return PageAlert(
        {"alertname": name, "severity": severity, SENDER[0]: SENDER[1], **labels},
        {"summary": summary},
        starts_at,
        resolved=over,
    )


def _rendered(texts: Mapping[str, str], case: Case) -> dict[str, str]:
    rendered: dict[str, str] = {}
    for name, text in texts.items():
        try:
            rendered[name] = compile_template(text, TemplateKind.TEXT).render(case.context)
        except RefusedError:
            # Somebody has to get the page, even if a label is missing.
            continue
    return {name: text for name, text in rendered.items() if text}


__all__ = ["heal_silences", "may_call", "may_resolve", "pages"]

"""Grafana annotations: a region for each incident and a point for each step run, neither lost nor doubled.

An annotation is made again from what the store knows of its incident or run, so telling it again does no harm, and late
is as good as in time. What keeps it from being doubled is its `key:` tag, which no other annotation in the world has:
wherever an earlier creation may have succeeded unheard, it is looked for before it is created.
"""

from __future__ import annotations

import hashlib
import html
import logging

import msgspec

from remediator.actions.titles import run_title
from remediator.clients.grafana import Annotation, Grafana
from remediator.errors import RemoteError
from remediator.model.action import Outcome
from remediator.model.durations import rough_duration
from remediator.model.gate import Gate, Trait
from remediator.model.incident import DIAGNOSE, Entry, EntryKind, Incident, StepRun
from remediator.store.interface import Store

log = logging.getLogger(__name__)

_BEGINS = (EntryKind.INCIDENT_OPENED, EntryKind.STEP_STARTED)
_ENDS = (EntryKind.INCIDENT_CLOSED, EntryKind.STEP_ENDED)
_DEEDS = frozenset(gate for gate in Gate if Trait.TELLS_DEED in gate.traits)

_TAG_CHARACTERS = 100
"""What Grafana's database takes of a tag's value (its `tag` table)."""
_TAG_BYTES = 150
"""Of one tag, so that all of ours together stay below the 500 bytes Grafana accepts unless told otherwise."""
_TEXT = 500
_OUTPUT_LINES = 10
_OUTPUT = 1000
_STEPS = 20


class GrafanaAnnouncer:
    """Keeps Grafana's annotations in step with the incidents. `external_url` is where people reach remediator's pages;
    when it is empty, annotations hold no link."""

    name = "grafana"
    durable = True

    def __init__(self, grafana: Grafana, store: Store, *, external_url: str = "") -> None:
        self._grafana = grafana
        self._store = store
        self._external_url = external_url.rstrip("/")
        self._certain = False
        """False after a start or a failed create: a duplicate may exist, so search before creating."""

    async def tell(self, entry: Entry) -> None:
        """Show an incident or step run that began or ended, or what would be run for one. RemoteError when Grafana did
        not take it."""
        held = entry.kind is EntryKind.HELD and entry.data.get("gate") in _DEEDS
        if entry.incident is None or not (held or entry.kind in (*_BEGINS, *_ENDS)):
            return
        incident = await self._store.incident(entry.incident)
        if incident is None:
            return  # So long ago that it is forgotten.
        if held or entry.kind in (EntryKind.INCIDENT_OPENED, EntryKind.INCIDENT_CLOSED):
            await self._show(f"incident:{incident.id}", self._region(incident), incident, entry)
            return
        run = next((run for run in incident.runs if run.id == entry.run), None)
        if run is not None and run.step != DIAGNOSE:
            await self._show(f"run:{run.id}", self._point(incident, run), incident, entry)

    async def _show(self, key: str, annotation: Annotation, incident: Incident, entry: Entry) -> None:
        """Keep exactly one annotation with this key, with this content."""
        mark = _mark(key, incident.service, annotation.at)
        dashboard, panel = _place(incident, entry)
        annotation = msgspec.structs.replace(
            annotation, tags=(*annotation.tags, mark), dashboard=dashboard, panel=panel
        )
        known, last = await self._store.annotation(key), entry.kind in _ENDS
        if known is not None and not last and entry.kind is not EntryKind.HELD:
            return
        kept = known if known is not None and await self._patched(known, annotation, mark) else None
        # A creation that timed out may still have been carried out, even after we had looked and created another: the
        # last time something is said of it is when that is put right.
        found = await self._grafana.find(mark, annotation.at) if last or not self._certain else []
        if kept is None:
            self._certain = False
            if found:
                kept = found[0]
                await self._grafana.patch(kept, annotation)
            else:
                kept = await self._created(annotation)
            await self._store.put_annotation(key, kept, self.name, entry.id)
            self._certain = True
        for double in found:
            if double != kept:
                await self._deleted(double)

    async def _patched(self, id: int, annotation: Annotation, mark: str) -> bool:
        """Change an annotation; False when it is gone. To an account of narrow scopes Grafana answers 403 for that."""
        try:
            await self._grafana.patch(id, annotation)
        except RemoteError as error:
            if error.status not in (403, 404) or id in await self._grafana.find(mark, annotation.at):
                raise
            return False
        return True

    async def _created(self, annotation: Annotation) -> int:
        """Create an annotation; for the whole organisation when its dashboard, which an alert may have named, is
        refused."""
        try:
            return await self._grafana.create(annotation)
        except RemoteError as error:
            if not annotation.dashboard or error.status not in (400, 403):
                raise
            log.warning("leaves the dashboard %s out of an annotation: %s", annotation.dashboard, error)
        return await self._grafana.create(msgspec.structs.replace(annotation, dashboard="", panel=0))

    async def _deleted(self, id: int) -> None:
        try:
            await self._grafana.delete(id)
        except RemoteError as error:
            if error.status not in (403, 404):
                raise
            log.warning("leaves annotation %d, which is another's double, where it is: %s", id, error)

    def _region(self, incident: Incident) -> Annotation:
        service, last = incident.service, incident.last_run
        tags = ["remediator", _tag("service", service)]
        if incident.closed_at is None or incident.verdict is None:
            head, facts = f"{service} is {incident.health}", []
        else:
            taken = rough_duration(max(0.0, incident.closed_at - incident.opened_at))
            head, facts = f"{service} {incident.verdict} after {taken}", [_clipped(incident.closing)]
            tags += [_tag("action", last.action if last else "none"), _tag("verdict", incident.verdict)]
        facts += [f"Why: {_clipped(incident.text)}", f"Runbook: {_clipped(incident.runbook)}"]
        if incident.open and incident.hold is not None and incident.hold.gate in _DEEDS:
            facts.append(f"Held: {_clipped(incident.hold.text)}")
        steps = [run for run in incident.runs if run.step != DIAGNOSE]
        facts += [f"{_clipped(_said(incident, run))}: {_outcome(run)}" for run in steps[-_STEPS:]]
        evidence = next((run.output for run in incident.runs if run.step == DIAGNOSE), "")
        text = _html(head, facts, "", evidence, self._link(incident))
        tags.append(_tag("incident", str(incident.id)))
        return Annotation(incident.opened_at, text, tuple(tags), incident.closed_at)

    def _point(self, incident: Incident, run: StepRun) -> Annotation:
        tags = ["remediator", _tag("service", run.service), _tag("action", run.action)]
        if run.outcome is not None:
            tags.append(_tag("outcome", run.outcome))
        tags += [_tag("incident", str(run.incident)), _tag("run", str(run.id))]
        facts = [_outcome(run), f"Why: {_clipped(incident.text)}"]
        text = _html(run_title(incident, run), facts, run.call, run.output, self._link(incident))
        return Annotation(run.started_at, text, tuple(tags))

    def _link(self, incident: Incident) -> str:
        name = f"incident {incident.id}"
        return (
            f'<a href="{html.escape(self._external_url)}/incidents/{incident.id}">{name}</a>'
            if self._external_url
            else name
        )


def _mark(key: str, service: str, at: float) -> str:
    """The tag that tells this annotation from every other. Numbers start at 1 in each new database, so the service and
    the very moment are part of it; all of it is in the store, so that every process finds the same."""
    identity = f"{key}\n{service}\n{at!r}"
    return f"key:{hashlib.sha256(identity.encode(errors='replace')).hexdigest()[:16]}"


def _place(incident: Incident, entry: Entry) -> tuple[str, int]:
    """The dashboard and panel that the rules name, or else the alert (by the annotations Grafana's own alerts have)."""
    named = entry.data.get("dashboard")
    if named:
        return named["uid"], named["panel"]
    panel = incident.annotations.get("__panelId__", "")
    uid = incident.annotations.get("__dashboardUid__", "")
    return uid[:40], int(panel) if uid and panel.isascii() and panel.isdigit() and len(panel) < 10 else 0


def _tag(name: str, value: str) -> str:
    """`name:value`, with the value as Grafana can keep it: without a colon, which would end it, and not too long."""
    kept = " ".join("".join(char if char.isprintable() else " " for char in value).replace(":", "_").split())
    kept = kept[:_TAG_CHARACTERS].encode(errors="replace")[:_TAG_BYTES].decode(errors="ignore").strip()
    return f"{name}:{kept}"


def _said(incident: Incident, run: StepRun) -> str:
    """What a run did: in the words of its target, or by its action where that says no more than the action and service."""
    title = run_title(incident, run)
    return run.action if title == f"{run.action} {run.service}" else title


def _outcome(run: StepRun) -> str:
    if run.outcome is None or run.ended_at is None:
        return "running"
    said = _clipped(run.text)
    word = run.outcome.replace("_", " ")
    taken = f" after {rough_duration(max(0.0, run.ended_at - run.started_at))}" if run.outcome.ran else ""
    return f"{word}{taken}: {said}" if said and run.outcome is not Outcome.SUCCEEDED else f"{word}{taken}"


def _html(head: str, facts: list[str], call: str, output: str, link: str) -> str:
    """The text of an annotation. Everything but the link is escaped here, once."""
    lines = [f"<b>{_escaped(_clipped(head))}</b>", *(_escaped(fact) for fact in facts if fact)]
    if call:
        lines.append(f"<code>{_escaped(_clipped(call))}</code>")
    tail = "\n".join(output.strip().splitlines()[-_OUTPUT_LINES:])[-_OUTPUT:]
    shown = f"<pre>{_escaped(tail)}</pre>" if tail else "<br>"
    return "<br>".join(lines) + shown + link


def _escaped(text: str) -> str:
    return html.escape(text.replace("\0", ""))


def _clipped(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}…"

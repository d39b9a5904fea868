"""One evaluation of the thresholds: assign the series of the answers to services, advance each threshold's state, and
make alerts. Pure.

The functions run in worker threads: they change no argument, and the caller replaces its `Evaluation` by the result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from remediator.clients.prometheus.client import Answer
from remediator.decision.threshold_state import (
    NO_BREACH,
    NO_SERIES,
    BreachState,
    ThresholdState,
    advance,
    beyond,
    judge_value,
    reading,
)
from remediator.model.alert import Alert, Source, fingerprint
from remediator.model.health import Health, QueryStatus
from remediator.model.rulebook import MOST_TEMPLATED, Rulebook
from remediator.model.rules import Service, Threshold

log = logging.getLogger(__name__)

FORGET = 3600.0
"""Seconds after which a templated service without series is forgotten."""
_REMEMBERED = 100_000
"""How many label sets are remembered with their service. Beyond that each is matched again, which is only slower."""
_RANK = {Health.FAILED: 3, Health.DEGRADED: 2, Health.UNKNOWN: 1, Health.HEALTHY: 0}


class Owner(msgspec.Struct, frozen=True, gc=False):
    """The owner of a series: its service, the thresholds that judge that service, and the labels of the series."""

    service: Service
    thresholds: frozenset[str]
    labels: dict[str, str]


Owners = dict[tuple[str, ...], Owner | None]
"""The owner of series with these labels. A key is all the names, then all the values."""


class _Worst(msgspec.Struct, frozen=True, gc=False):
    """The worst series of a service, by its value alone."""

    owner: Owner
    value: float
    health: Health
    query_status: QueryStatus


class ThresholdEvaluation(msgspec.Struct, frozen=True):
    """The last evaluation of one threshold.

    `error` is the query's error, or its warnings. `tracks` is keyed by service name. `complete` says whether this
    evaluation, or any before it, saw everything: only then a service without a track has no series.
    """

    threshold: Threshold
    at: float
    query_status: QueryStatus
    error: str
    tracks: dict[str, ThresholdState]
    complete: bool = False


class Evaluation(msgspec.Struct, frozen=True):
    """The result of evaluating all thresholds once, from which the next evaluation starts.

    `by_threshold` is keyed by threshold name. `known` are the templated services that series have named, `made` the
    labels that named them. `owners` maps the series of the last answers to their services.
    """

    rulebook: Rulebook
    by_threshold: dict[str, ThresholdEvaluation] = {}
    known: dict[str, Service] = {}
    made: dict[str, dict[str, str]] = {}
    owners: Owners = {}


class Changes:
    """What an evaluation changed: services by name, and alerts for the intake. `unrest` says that a breach is
    pending."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.alerts: list[Alert] = []
        self.unrest = False
        self.left_out: set[str] = set()
        """Templated services that series name and that are not kept, because too many are known."""

    def add(self, other: Changes) -> None:
        """Add the changes of another part of the evaluation."""
        self.names |= other.names
        self.alerts += other.alerts
        self.unrest = self.unrest or other.unrest
        self.left_out |= other.left_out


class EvaluationPart(msgspec.Struct, frozen=True):
    """One threshold's part of an evaluation: its result, its changes, and the owners that are templated services."""

    result: ThresholdEvaluation
    changes: Changes
    templated: list[Owner]


def evaluate_threshold(
    evaluation: Evaluation, threshold: Threshold, answer: Answer, owners: Owners, now: float, stale_after: float
) -> EvaluationPart:
    """Assign an answer's series to services, and advance the track of each. `owners` are those already found in this
    evaluation; new ones are added to it."""
    before = evaluation.by_threshold.get(threshold.name)
    tracks = before.tracks if before is not None else {}
    gap = before is not None and now - before.at > stale_after
    query_status, error = answer.query_status, answer.error
    if query_status is QueryStatus.SEEN and answer.warnings:
        query_status, error = QueryStatus.PARTIAL, "; ".join(answer.warnings)
    changes = Changes()
    worst = _share_out(evaluation, threshold, answer, owners, changes)
    after: dict[str, ThresholdState] = {}
    for name, seen in worst.items():
        health, seen_as = (
            (Health.UNKNOWN, query_status) if query_status is QueryStatus.PARTIAL else (seen.health, seen.query_status)
        )
        track = tracks.get(name)
        after[name] = advance(track, threshold, now, health, seen_as, seen.value, seen.owner.labels, gap=gap)
    missing = QueryStatus.NO_DATA if query_status is QueryStatus.SEEN else query_status
    for name, track in tracks.items():
        if name not in after:
            after[name] = advance(track, threshold, now, Health.UNKNOWN, missing, None, track.series, gap=gap)
    for name, track in after.items():
        previous = tracks.get(name)
        if previous is not None and previous.inactive and track.inactive and not gap:
            continue
        changes.unrest = changes.unrest or track.degraded is not NO_BREACH
        # After a gap a judgement that had become stale is fresh again.
        if gap or previous is None or previous.state != track.state:
            changes.names.add(name)
        alert = _alert(evaluation.rulebook, threshold, name, previous, track, now, error)
        if alert is not None:
            changes.alerts.append(alert)
    named = evaluation.rulebook.named
    templated = [seen.owner for name, seen in worst.items() if name not in named]
    complete = query_status is QueryStatus.SEEN or (before is not None and before.complete)
    result = ThresholdEvaluation(threshold, now, query_status, error, after, complete)
    return EvaluationPart(result, changes, templated)


def put_together(
    evaluation: Evaluation, parts: Sequence[EvaluationPart], owners: Owners, changes: Changes, now: float
) -> Evaluation:
    """Combine the parts into one evaluation, with new templated services and without forgotten ones."""
    by_threshold = {part.result.threshold.name: part.result for part in parts}
    for part in parts:
        changes.add(part.changes)
    if any(part.result.query_status is not QueryStatus.SEEN for part in parts):
        # Series that were not answered this time will return.
        owners = {**evaluation.owners, **owners}
    if len(owners) > _REMEMBERED:
        owners = {}
    known, made = evaluation.known, evaluation.made
    new = [o for part in parts for o in part.templated if known.get(o.service.name) != o.service]
    if new:
        known = {**known, **{owner.service.name: owner.service for owner in new}}
        made = {**made, **{owner.service.name: owner.labels for owner in new}}
    absent = _absent(by_threshold.values())
    gone = {name for name, since in absent.items() if since < now - FORGET}.difference(evaluation.rulebook.named)
    if len(known) - len(gone) >= MOST_TEMPLATED:
        # Without room, the services without series for the longest time are forgotten, a tenth at a time.
        idle = sorted((name for name in absent if name in known and name not in gone), key=absent.__getitem__)
        gone.update(idle[: max(1, MOST_TEMPLATED // 10)])
    if gone:
        known = {name: service for name, service in known.items() if name not in gone}
        made = {name: labels for name, labels in made.items() if name not in gone}
        by_threshold = {
            name: _without(result, gone.__contains__, evaluation.rulebook, now, changes)
            for name, result in by_threshold.items()
        }
    return Evaluation(evaluation.rulebook, by_threshold, known, made, owners)


def change_over(evaluation: Evaluation, rulebook: Rulebook, now: float, changes: Changes) -> Evaluation:
    """The evaluation by other rules. Unchanged thresholds keep their state, except for services that they no longer
    judge."""
    known: dict[str, Service] = {}
    for name, labels in evaluation.made.items():
        service = rulebook.service_for(labels)
        if service is not None and service.name == name and name not in rulebook.named:
            known[name] = service

    def unjudged(threshold: Threshold, name: str) -> bool:
        service = rulebook.named.get(name) or known.get(name)
        if service is not None:
            return threshold not in rulebook.thresholds_for(service)
        # A templated service whose breach is from before the start may not have been named yet.
        return name in evaluation.rulebook.named or name in evaluation.made

    current = {threshold.name: threshold for threshold in rulebook.thresholds}
    by_threshold = {}
    for name, result in evaluation.by_threshold.items():
        kept = current.get(name) == result.threshold
        threshold = result.threshold

        def gone(service: str, kept: bool = kept, threshold: Threshold = threshold) -> bool:
            return not kept or unjudged(threshold, service)

        result = _without(result, gone, evaluation.rulebook, now, changes)
        if kept:
            by_threshold[name] = result
    return Evaluation(rulebook, by_threshold, known, {name: evaluation.made[name] for name in known})


def restored(evaluation: Evaluation, alerts: Iterable[Alert], now: float) -> tuple[Evaluation, list[Alert]]:
    """Restore the breaches whose alerts fired before the start. Returns the evaluation, and the ended alerts of
    breaches that no threshold can end any more.

    A breach that is still seen continues at once. Any other ends at the first evaluation that does not see it.
    """
    rulebook = evaluation.rulebook
    thresholds = {threshold.name: threshold for threshold in rulebook.thresholds}
    tracks: dict[str, dict[str, ThresholdState]] = {}
    ended = []
    # If a breach has several alerts, the one that began last counts.
    for alert in sorted(alerts, key=lambda alert: -alert.starts_at):
        threshold, name = thresholds.get(alert.name), alert.labels.get(rulebook.service_label, "")
        service = rulebook.named.get(name)
        if threshold is None or (service is not None and threshold not in rulebook.thresholds_for(service)):
            ended.append(msgspec.structs.replace(alert, ends_at=now))
            continue
        if name in tracks.get(threshold.name, {}):
            ended.append(msgspec.structs.replace(alert, ends_at=now))
            continue
        level = BreachState(None, alert.starts_at, alert.starts_at)
        failed = level if alert.annotations.get("health") == Health.FAILED else NO_BREACH
        track = ThresholdState(Health.UNKNOWN, now, QueryStatus.STALE, None, NO_SERIES, level, failed)
        tracks.setdefault(threshold.name, {})[name] = track
    by_threshold = {
        name: ThresholdEvaluation(thresholds[name], now, QueryStatus.STALE, "", found) for name, found in tracks.items()
    }
    return msgspec.structs.replace(evaluation, by_threshold=by_threshold), ended


def _share_out(
    evaluation: Evaluation, threshold: Threshold, answer: Answer, owners: Owners, changes: Changes
) -> dict[str, _Worst]:
    """The worst series of each service that the threshold judges."""
    found: dict[str, _Worst] = {}
    known, named = evaluation.known, evaluation.rulebook.named
    full = len(known) >= MOST_TEMPLATED
    for series in answer.series:
        key = (*series.labels, *series.labels.values())
        try:
            owner = owners[key]
        except KeyError:
            owner = owners[key] = _owner(evaluation, key, series.labels)
        if owner is None or threshold.name not in owner.thresholds:
            continue
        name, value = owner.service.name, series.value
        if full and name not in known and name not in named:
            changes.left_out.add(name)
            continue
        health, query_status = judge_value(threshold, value)
        if series.histogram:
            query_status = QueryStatus.NATIVE_HISTOGRAM
        other = found.get(name)
        if other is None or _worse(threshold, health, value, other):
            found[name] = _Worst(owner, value, health, query_status)
    return found


def _owner(evaluation: Evaluation, key: tuple[str, ...], labels: dict[str, str]) -> Owner | None:
    if key in evaluation.owners:
        return evaluation.owners[key]
    rulebook = evaluation.rulebook
    service = rulebook.service_for(labels)
    if service is None:
        refusal = rulebook.refusal_for(labels)
        if refusal:
            # The owner is remembered with the label set, so this is logged once.
            log.warning("%s; its series has the labels %s", refusal, labels)
        return None
    return Owner(service, frozenset(threshold.name for threshold in rulebook.thresholds_for(service)), labels)


def _worse(threshold: Threshold, health: Health, value: float, other: _Worst) -> bool:
    if health is not other.health:
        return _RANK[health] > _RANK[other.health]
    return beyond(threshold, health, value) > beyond(threshold, health, other.value)


def _alert(
    rulebook: Rulebook,
    threshold: Threshold,
    name: str,
    before: ThresholdState | None,
    track: ThresholdState,
    now: float,
    error: str,
) -> Alert | None:
    """The alert of a breach that begins, becomes worse or less bad, or ends; None if the breach has not changed.

    Its labels are only the names of the threshold and the service, so it stays the same alert if another series is
    worst.
    """
    was_degraded, was_failed = (before.degraded.began, before.failed.began) if before is not None else (None, None)
    is_degraded, is_failed = track.degraded.began, track.failed.began
    if (was_degraded is None) == (is_degraded is None) and (was_failed is None) == (is_failed is None):
        return None
    labels = {"alertname": threshold.name, rulebook.service_label: name}
    summary = reading(threshold, track, now, error).text
    starts_at = was_degraded if was_degraded is not None else is_degraded
    return Alert(
        fingerprint(labels),
        now if starts_at is None else starts_at,
        now if is_degraded is None else None,
        labels,
        {"summary": summary, "health": track.health.value},
        Source.THRESHOLD,
    )


def _absent(results: Collection[ThresholdEvaluation]) -> dict[str, float]:
    """Services without a series in any threshold's answers, and since when the last series is gone."""
    absent: dict[str, float] = {}
    for result in results:
        for name, track in result.tracks.items():
            if track.absent is not None:
                absent[name] = max(absent.get(name, track.absent), track.absent)
    # Nearly all services are there, so the few others are looked up, and not all of them remembered.
    return {
        name: since
        for name, since in absent.items()
        if not any(name in result.tracks and result.tracks[name].absent is None for result in results)
    }


def _without(
    result: ThresholdEvaluation, gone: Callable[[str], bool], rulebook: Rulebook, now: float, changes: Changes
) -> ThresholdEvaluation:
    """An evaluation without some services. Their breaches end, because no threshold watches them any more."""
    kept = {}
    for name, track in result.tracks.items():
        if not gone(name):
            kept[name] = track
            continue
        changes.names.add(name)
        nothing = ThresholdState(Health.UNKNOWN, now, QueryStatus.NO_DATA, None, NO_SERIES)
        alert = _alert(rulebook, result.threshold, name, track, nothing, now, "")
        if alert is not None:
            changes.alerts.append(alert)
    return msgspec.structs.replace(result, tracks=kept)

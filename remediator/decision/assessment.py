"""Assesses a service's health from readings and alerts, and chooses the runbook for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from remediator.config.policy import Policy
from remediator.model.alert import Source
from remediator.model.health import Health, Judgement, QueryStatus, worst
from remediator.model.incident import StoredAlert
from remediator.model.rulebook import Rulebook, merged_labels
from remediator.model.rules import Plan, Service
from remediator.model.silence import Silence, Suppression


class PrometheusStatus(msgspec.Struct, frozen=True):
    """Whether Prometheus answers, and what is known of the service's alerts.

    `at` is when Prometheus last answered. `since` is when it began to answer without a gap. `back` is when it first
    answered after the start, or after an outage. `quiet_since` is when the last alert of the service ended. `answers`
    says whether it answered at the last evaluation.
    """

    at: float = 0.0
    since: float = 0.0
    back: float = 0.0
    quiet_since: float = 0.0
    unseen: str = ""
    """What a sender of the service's alerts reports that it cannot see."""
    answers: bool = True


class Choice(msgspec.Struct, frozen=True):
    """The runbook for a service in trouble, and the alert that it was chosen for."""

    alert: StoredAlert
    plan: Plan
    judgement: Judgement
    """The service's health. Where the runbook believes the alert, the health that the alert states counts too."""


def is_forced(stored: StoredAlert) -> bool:
    """Whether an alert is an operator's request that overrides cooldown and mode."""
    return stored.alert.source is Source.OPERATOR and stored.alert.labels.get("force") == "true"


def judge(
    seen: Judgement | None,
    alerts: Sequence[StoredAlert],
    policy: Policy,
    prometheus_status: PrometheusStatus,
    now: float,
    *,
    believe: bool,
) -> Judgement:
    """A service's health from its thresholds, and from its alerts if `believe` is set.

    `seen` is None for a service without thresholds. The severity of its alerts alone then decides. If no alert fires,
    it is healthy only while Prometheus answers: Alertmanager resolves the alerts of a dead Prometheus too.
    """
    if seen is not None:
        seen = seen.aged(now, policy.stale_after)
        if not believe:
            return seen
    spoken = [
        (health, stored)
        for stored in alerts
        if stored.alert.source is Source.ALERTMANAGER and (health := policy.spoken_health(stored.alert)) is not None
    ]
    if spoken:
        health = worst(health for health, _ in spoken)
        stored = next(stored for spoken_health, stored in spoken if spoken_health is health)
        by_alert = Judgement(health, now, stored.received_at, alert_text(stored, health))
        if seen is None:
            return by_alert
        if worst((seen.health, health)) is seen.health:
            return seen
        return msgspec.structs.replace(by_alert, readings=seen.readings)
    if seen is not None:
        return seen
    if prometheus_status.unseen:
        text = f"no threshold judges it, and {prometheus_status.unseen}"
        return Judgement(Health.UNKNOWN, prometheus_status.at, prometheus_status.at, text)
    if now - prometheus_status.at > policy.stale_after:
        text = "no threshold judges it, no alert of it fires, and Prometheus does not answer"
        return Judgement(Health.UNKNOWN, prometheus_status.at, prometheus_status.at, text)
    since = max(prometheus_status.quiet_since, prometheus_status.since)
    return Judgement(Health.HEALTHY, prometheus_status.at, since, "no threshold judges it and no alert of it fires")


def alert_text(stored: StoredAlert, health: Health) -> str:
    """The sentence for a health that an alert states."""
    severity = stored.alert.labels.get("severity", "")
    return f"alert {stored.alert.name or stored.alert.fingerprint} fires" + (
        f" with severity {severity} ({health})" if severity else f" ({health})"
    )


def choose(
    rulebook: Rulebook,
    service: Service,
    seen: Judgement | None,
    alerts: Sequence[StoredAlert],
    policy: Policy,
    prometheus_status: PrometheusStatus,
    now: float,
) -> Choice | None:
    """Choose the first runbook, in file order, that fits the service and its oldest alert that has one.

    An operator's alert comes first, and its runbook is chosen at any health. A runbook is also chosen for an alert that
    is not corroborated, so that a gate can say so.
    """
    unsuited: Choice | None = None
    for stored in sorted(alerts, key=lambda stored: stored.alert.source is not Source.OPERATOR):
        labels = merged_labels(service, stored.alert.labels)
        for runbook in rulebook.runbooks_for(labels):
            if not runbook.corroborate and not policy.heeds(stored.alert):
                continue
            judgement = judge(seen, alerts, policy, prometheus_status, now, believe=not runbook.corroborate)
            choice = Choice(stored, rulebook.plan(service, runbook), judgement)
            if judgement.health in runbook.when or stored.alert.source is Source.OPERATOR:
                return choice
            if unsuited is None and not judgement.health.bad:
                unsuited = choice
    return unsuited


def suppressing(alerts: Sequence[StoredAlert], suppressed: Mapping[str, Suppression]) -> Suppression | None:
    """What suppresses all alerts of a service that fire in Alertmanager. None if at least one is not suppressed."""
    known = [suppressed.get(one.alert.fingerprint) for one in alerts if one.alert.source is Source.ALERTMANAGER]
    found = [one for one in known if one is not None]
    if not found or len(found) < len(known):
        return None
    return Suppression(
        tuple(dict.fromkeys(id for one in found for id in one.silenced_by)),
        tuple(dict.fromkeys(name for one in found for name in one.inhibited_by)),
        tuple(dict.fromkeys(name for one in found for name in one.muted_by)),
    )


def covering(
    silences: Iterable[Silence],
    alerts: Sequence[StoredAlert],
    labels: Mapping[str, str],
    now: float,
    suppressed: Mapping[str, Suppression] | None = None,
) -> Silence | None:
    """The silence that covers all firing alerts of a service. If several silences are needed, it is the one that ends
    first.

    The alerts that Alertmanager knows count. If it knows none, those of thresholds count, and without these the
    service's own labels. A silence covers an alert if Alertmanager says so, or if its matchers do: it may be newer than
    that answer.
    """
    silences = tuple(silences)
    if not silences:
        return None
    told = [stored.alert for stored in alerts if stored.alert.source is Source.ALERTMANAGER]
    known = [(one.labels, ((suppressed or {}).get(one.fingerprint) or Suppression()).silenced_by) for one in told]
    seen = [(stored.alert.labels, ()) for stored in alerts if stored.alert.source is Source.THRESHOLD]
    longest: list[Silence] = []
    for said, ids in known or seen or [(dict(labels), ())]:
        found = [
            silence
            for silence in silences
            if silence.covers(said, now) or (silence.id in ids and silence.starts_at <= now < silence.ends_at)
        ]
        if not found:
            return None
        longest.append(max(found, key=lambda silence: silence.ends_at))
    return min(longest, key=lambda silence: silence.ends_at)


def breached(judgement: Judgement) -> tuple[str, ...]:
    """The names of the thresholds that see trouble."""
    return tuple(reading.threshold for reading in judgement.readings if reading.health.bad)


def unseen(judgement: Judgement, required: Iterable[str]) -> tuple[str, ...]:
    """The required thresholds that do not see the service healthy now."""
    healthy = {
        reading.threshold
        for reading in judgement.readings
        if reading.health is Health.HEALTHY and reading.query_status is QueryStatus.SEEN
    }
    return tuple(name for name in required if name not in healthy)

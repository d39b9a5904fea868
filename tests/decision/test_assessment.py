"""From readings and alerts to health: whose word counts, and what silence means."""

from __future__ import annotations

import pytest
from cases import NOW, judgement, stored

from remediator.config.policy import Policy
from remediator.decision.assessment import PrometheusStatus, covering, judge, suppressing
from remediator.model.alert import Source
from remediator.model.health import Health
from remediator.model.incident import StoredAlert
from remediator.model.matcher import parse_matcher
from remediator.model.silence import Silence, Suppression

POLICY = Policy()
ANSWERS = PrometheusStatus(NOW, NOW - 3600, NOW - 3600)


def health(*alerts: StoredAlert, status: PrometheusStatus = ANSWERS) -> Health:
    """The health of a service that no threshold judges."""
    return judge(None, alerts, POLICY, status, NOW, believe=False).health


@pytest.mark.parametrize(
    ("ago", "expected"), [(POLICY.stale_after, Health.HEALTHY), (POLICY.stale_after + 1, Health.UNKNOWN)]
)
def test_without_alerts_it_is_well_only_while_prometheus_answers(ago: float, expected: Health) -> None:
    assert health(status=PrometheusStatus(NOW - ago, NOW - 3600, NOW - 3600)) is expected


@pytest.mark.parametrize("source", [Source.THRESHOLD, Source.OPERATOR])
def test_only_the_severity_of_alertmanagers_alerts_counts(source: Source) -> None:
    """A threshold has judged already, and an operator asks for a heal: neither says how bad it is by a label."""
    assert health(stored(source=source, severity="critical")) is Health.HEALTHY
    assert health(stored(source=Source.ALERTMANAGER, severity="critical")) is Health.FAILED


def test_the_worst_of_several_severities_counts() -> None:
    assert health(stored(severity="warning"), stored(seq=2, severity="critical")) is Health.FAILED


def test_an_alert_makes_it_no_better_than_its_thresholds_see_it() -> None:
    seen = judgement("failed")
    assert judge(seen, [stored(severity="warning")], POLICY, ANSWERS, NOW, believe=True).health is Health.FAILED
    assert judge(seen, [stored(severity="warning")], POLICY, ANSWERS, NOW, believe=False) == seen


def test_a_judgement_that_is_too_old_is_unknown_whatever_alerts_say_beside_it() -> None:
    seen = judgement("healthy", at=NOW - POLICY.stale_after - 1)
    assert judge(seen, [], POLICY, ANSWERS, NOW, believe=False).health is Health.UNKNOWN


def test_only_what_is_suppressed_whole_is_suppressed() -> None:
    quiet, loud = stored("Quiet"), stored("Loud", seq=2)
    threshold = stored("error_ratio", seq=3, source=Source.THRESHOLD)
    of_node = Suppression(inhibited_by=("NodeDown",))
    suppressed = {quiet.alert.fingerprint: of_node}
    assert suppressing([quiet, threshold], suppressed) == of_node
    assert suppressing([quiet, loud], suppressed) is None
    assert suppressing([threshold], suppressed) is None
    at_night = suppressed | {loud.alert.fingerprint: Suppression(("1",), ("NodeDown",), ("nights",))}
    assert suppressing([quiet, loud], at_night) == Suppression(("1",), ("NodeDown",), ("nights",))


def test_a_silence_holds_by_alertmanagers_word_whatever_its_matchers_seem_to_say() -> None:
    one = stored()
    silence = Silence("7", (parse_matcher('service="other"'),), NOW - 60, NOW + 60, "ada")
    assert covering([silence], [one], {}, NOW) is None
    said = {one.alert.fingerprint: Suppression(silenced_by=("7",))}
    assert covering([silence], [one], {}, NOW, said) == silence
    assert covering([silence], [one], {}, NOW + 61, said) is None

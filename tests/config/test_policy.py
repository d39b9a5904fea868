"""What the config says about deciding, and its defaults."""

import msgspec
import pytest

from remediator.clients.http_options import HttpClient
from remediator.config.policy import Policy, policy_of
from remediator.config.servers import PrometheusServer, Server
from remediator.config.settings import Config
from remediator.model.alert import Alert, Source
from remediator.model.health import Health


def alert(source: Source = Source.ALERTMANAGER, **labels: str) -> Alert:
    return Alert("f", 1.0, None, labels, source=source)


def test_the_defaults_are_the_configs() -> None:
    assert policy_of(Config(PrometheusServer(url="http://p"))) == Policy()
    assert issubclass(Server, HttpClient)


@pytest.mark.parametrize("severity", ["critical", "page", "error", "emergency", "fatal", "Critical", "FATAL", " page "])
def test_severities_that_mean_failed(severity: str) -> None:
    assert Policy().spoken_health(alert(severity=severity)) is Health.FAILED


@pytest.mark.parametrize("severity", ["warning", "minor", "degraded", "Warning"])
def test_severities_that_mean_degraded(severity: str) -> None:
    assert Policy().spoken_health(alert(severity=severity)) is Health.DEGRADED


@pytest.mark.parametrize("severity", ["info", "none", "debug", "informational", "INFO", "whatever", "sev3"])
def test_all_others_ask_for_nothing(severity: str) -> None:
    policy = Policy()
    assert policy.spoken_health(alert(severity=severity)) is None
    assert not policy.heeds(alert(severity=severity))
    assert policy.why_unheeded(alert(severity=severity)) == f"severity {severity} is not actionable"


def test_an_alert_without_a_severity_means_degraded_unless_the_config_says_otherwise() -> None:
    assert Policy().spoken_health(alert()) is Health.DEGRADED
    assert Policy(severity={"": Health.FAILED}).spoken_health(alert()) is Health.FAILED
    assert Policy(severity={"": Health.HEALTHY}).spoken_health(alert()) is None


def test_thresholds_and_operators_are_always_heeded() -> None:
    for source in (Source.THRESHOLD, Source.OPERATOR):
        assert Policy().heeds(alert(source, severity="info"))


def test_a_mapping_to_healthy_asks_for_nothing() -> None:
    policy = msgspec.structs.replace(Policy(), severity={"error": Health.HEALTHY})
    assert not policy.heeds(alert(severity="Error"))

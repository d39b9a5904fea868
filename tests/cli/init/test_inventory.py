"""From metrics and series to questions, services and text: by data, without anybody to ask."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import ascii_lowercase
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from remediator.cli.init.alertmanager_route import Receiver, find_receiver
from remediator.cli.init.conventions import CONVENTIONS, IDENTITY, SeriesKind, expression
from remediator.cli.init.draft import draft_config, draft_rules
from remediator.cli.init.inventory import Inventory, take_inventory
from remediator.cli.init.questions import Metric, Question, choose_label, questions
from remediator.cli.init.survey_result import AlertmanagerFacts, QuestionResult, Survey
from remediator.clients.http_options import BasicAuth, HttpClient, TlsConfig
from remediator.config.document import Document
from remediator.model.rulebook import Rulebook
from remediator.rules.loader import make_rulebook, read_rules

NO_OTHER = "Prometheus gives it to all that it scrapes, and most series have no other that names a service"


def metric(name: str, series: int, **labels: int) -> Metric:
    made = Metric(name, series)
    made.labels.update(labels)
    return made


def metrics(*made: Metric) -> dict[str, Metric]:
    return {one.name: one for one in made}


def result_of(name: str, *series: Mapping[str, str], label: str = "service") -> QuestionResult:
    """Whom the convention of this name sees."""
    convention = next(one for one in CONVENTIONS if one.name == name)
    text = expression(convention, convention.metrics[0], label, ("code",))
    return QuestionResult(Question(name, convention, convention.metrics[0], text), series)


def inventory(*results: QuestionResult, label: str = "service") -> Inventory:
    return take_inventory(Survey(label, "as it is", results))


def rulebook_of(found: Inventory, label: str = "service") -> Rulebook:
    """The rules that are drafted, which are without any problem."""
    text = draft_rules(Survey(label, "as it is", found.results), found)
    rules, problems = read_rules([Document("services.yml", text)], service_label=label)
    assert problems == []
    return make_rulebook(rules)


# The table.


def test_the_conventions_are_sound() -> None:
    names = [convention.name for convention in CONVENTIONS]
    assert len(names) == len(set(names))
    assert set(IDENTITY) == set(SeriesKind)
    # Services are known before what may be of one of them.
    kinds = [convention.kind is SeriesKind.SERVICE for convention in CONVENTIONS]
    assert kinds == sorted(kinds, reverse=True)
    for convention in CONVENTIONS:
        assert not re.search(r"<\w+>", expression(convention, "metric", "service", ("code",))), convention.name
        if convention.degraded is not None:
            assert convention.failed.op[0] == convention.degraded.op[0]
            apart = convention.failed.bound - convention.degraded.bound
            assert apart > 0 if convention.failed.op[0] == ">" else apart < 0, convention.name


# The service label.


@pytest.mark.parametrize(
    ("known", "label", "reason"),
    [
        ((metric("http_requests_total", 10, job=10, app=10),), "app", "all 10 series of http_requests_total carry it"),
        ((metric("http_requests_total", 10, job=10, app=6),), "app", "6 of 10 series of http_requests_total carry it"),
        ((metric("http_requests_total", 10, job=10, app=5),), "job", NO_OTHER),
        # The likeliest of several.
        (
            (metric("http_requests_total", 10, app=10, service=6),),
            "service",
            "6 of 10 series of http_requests_total carry it",
        ),
        # What Prometheus says of itself does not outvote the services, however many series it has.
        (
            (metric("prometheus_http_requests_total", 99, job=99), metric("http_requests_total", 1, app=1)),
            "app",
            "all 1 series of http_requests_total carry it",
        ),
        # What serves HTTP is asked before what is scraped.
        (
            (metric("http_requests_total", 1, app=1, job=1), metric("up", 99, service=99, job=99)),
            "app",
            "all 1 series of http_requests_total carry it",
        ),
        (
            (metric("prometheus_http_requests_total", 9, job=9), metric("up", 6, app=5, job=6)),
            "app",
            "5 of 6 series of up carry it",
        ),
        ((metric("up", 5, job=5), metric("probe_success", 9, service=9)), "job", NO_OTHER),
    ],
)
def test_the_label_is_what_http_servers_carry(known: tuple[Metric, ...], label: str, reason: str) -> None:
    assert choose_label(metrics(*known)) == (label, reason)


# What is asked.


def names_of(*known: Metric) -> list[str]:
    return [question.name for question in questions(metrics(*known), "service")]


def test_only_what_is_there_is_asked() -> None:
    assert names_of() == []
    assert names_of(metric("up", 1)) == ["instances_up"]
    # One half of a fraction is not enough, and without a label of the status nobody can tell errors.
    assert names_of(metric("node_memory_MemAvailable_bytes", 1), metric("http_requests_total", 1)) == []
    assert names_of(metric("promhttp_metric_handler_requests_total", 1, code=1)) == []


def test_each_metric_of_a_convention_has_a_threshold_of_its_own() -> None:
    known = (
        metric("http_requests_total", 2, code=1, status=1),
        metric("shop_http_requests_total", 1, status=1),
        metric("http_server_requests_seconds_count", 1, status=1),
        metric("http_server_request_duration_seconds_bucket", 1),
    )
    asked = {question.name: question.expr for question in questions(metrics(*known), "app")}
    assert list(asked) == ["error_ratio", "shop_error_ratio", "micrometer_error_ratio", "otel_latency_p95"]
    assert (
        'sum by (app) (rate(http_requests_total{code=~"5.."}[5m]) or rate(http_requests_total{status=~"5.."}[5m]))'
        in asked["error_ratio"]
    )


# Services.


def test_what_has_the_name_of_a_service_is_the_service() -> None:
    found = inventory(
        result_of("instances_up", {"service": "web"}, {"service": "db"}, {}),
        result_of("replicas_unavailable", {"namespace": "a", "deployment": "web", "service": "web"}),
        result_of("container_memory", {"name": "web", "service": "web"}, {"name": "db", "service": "db"}),
        result_of("unit_failed", {"service": "db", "host": "h1"}, {"service": "cron", "host": "h1"}),
    )
    told = {service.name: (service.target, service.params, list(service.judged)) for service in found.services}
    assert told == {
        "db": ("docker", {"container": "db"}, ["up", "memory", "unit"]),
        "web": ("kubernetes", {"namespace": "a", "deployment": "web"}, ["up", "replicas", "memory"]),
    }


def test_a_unit_is_reached_on_its_machine_and_on_none_of_several() -> None:
    found = inventory(
        result_of("instances_up", *({"service": name} for name in ("here", "there", "both"))),
        result_of(
            "unit_failed",
            {"service": "here", "host": "localhost"},
            {"service": "there", "host": "web1"},
            {"service": "both", "host": "web1"},
            {"service": "both", "host": "web2"},
        ),
    )
    told = {service.name: (service.target, service.params, service.why) for service in found.services}
    source = "Node exporter's systemd collector"
    assert told == {
        "both": ("to_be_written", {}, "its unit is on several machines"),
        "here": ("systemd", {"unit": "here.service"}, source),
        "there": ("systemd", {"unit": "there.service", "host": "root@web1"}, source),
    }


def test_a_deployment_of_several_namespaces_is_nobodys_but_its_own() -> None:
    found = inventory(
        result_of("instances_up", {"service": "web"}),
        result_of("replicas_unavailable", {"namespace": "a", "deployment": "web", "service": "web"}),
        result_of("pod_memory", {"namespace": "b", "deployment": "web", "service": "web"}),
    )
    assert [(service.name, service.target) for service in found.services] == [
        ("a/web", "kubernetes"),
        ("b/web", "kubernetes"),
        ("web", "to_be_written"),
    ]
    rulebook = rulebook_of(found)
    owner = rulebook.service_for({"namespace": "b", "deployment": "web", "service": "web"})
    assert owner is not None
    assert owner.name == "b/web"


def test_the_service_label_may_be_that_of_deployments() -> None:
    seen = {"namespace": "a", "deployment": "web"}
    found = inventory(result_of("replicas_unavailable", seen, label="deployment"), label="deployment")
    owner = rulebook_of(found, "deployment").service_for(seen)
    assert owner is not None
    assert (owner.name, owner.labels["deployment"]) == ("a/web", "a/web")


def test_a_probe_is_of_its_service_but_not_of_the_job_of_its_exporter() -> None:
    seen = {"instance": "http://shop", "service": "web", "job": "blackbox"}
    for label, names in (("service", ["web"]), ("job", ["http://shop", "blackbox"])):
        up = result_of("instances_up", {"service": "web"} if label == "service" else {"job": "blackbox"}, label=label)
        found = inventory(up, result_of("probe_success", seen, label=label), label=label)
        assert [service.name for service in found.services] == names
        owner = rulebook_of(found, label).service_for(seen)
        assert owner is not None
        assert owner.name == names[0]


def test_a_question_is_answered_once() -> None:
    found = inventory(
        result_of("error_ratio", {"service": "web"}),
        result_of("response_error_ratio", {"service": "web"}),
        result_of("otel_error_ratio", {"service": "web"}, {"service": "api"}),
    )
    assert {service.name: service.judged for service in found.services} == {
        "web": {"errors": "error_ratio"},
        "api": {"errors": "otel_error_ratio"},
    }
    # Whom nobody needs is not asked.
    assert [one.question.name for one in found.results] == ["error_ratio", "otel_error_ratio"]


def test_one_address_is_one_service() -> None:
    found = inventory(
        result_of("memory_available", {"instance": "web1:9100"}),
        result_of("probe_success", {"instance": "web1:9100"}),
    )
    (service,) = found.services
    assert service.judged == {"memory": "memory_available", "probe": "probe_success"}


# Text.


@given(
    names=st.sets(st.text(min_size=1, max_size=12) | st.text(ascii_lowercase + "{}%#'\"\\:-?! ", min_size=1)),
    places=st.sets(st.tuples(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8)), max_size=3),
)
def test_whatever_names_there_are_the_rules_are_sound_and_own_their_series(
    names: set[str], places: set[tuple[str, str]]
) -> None:
    deployments = [{"namespace": space, "deployment": name, "service": name} for space, name in sorted(places)]
    found = inventory(
        result_of("instances_up", *({"service": name} for name in sorted(names))),
        result_of("replicas_unavailable", *deployments),
    )
    if not found.services:
        return
    rulebook = rulebook_of(found)
    for service in found.services:
        labels = dict(service.match) or {"service": service.name}
        owner = rulebook.service_for(labels)
        assert owner is not None
        assert owner.name == service.name
        judged = [threshold.name for threshold in rulebook.thresholds_for(owner)]
        assert judged == list(service.judged.values())
    kept = {service.name for service in found.services} | set(found.unusable)
    assert names <= kept


@pytest.mark.parametrize("word", ["yes", "No", "null", "12", "1e3", "a: b", "# a", "'", "- a", "[a", "012", "a,b", "~"])
def test_names_that_yaml_would_misread_are_quoted(word: str) -> None:
    (service,) = rulebook_of(inventory(result_of("instances_up", {"service": word}))).services
    assert service.name == word


def test_the_config_has_what_it_was_asked_with() -> None:
    client = HttpClient(
        "https://prom:9090/x",
        basic_auth=BasicAuth("ada: b", password_file="/etc/pass word"),
        tls_config=TlsConfig(ca_file="/ca.pem", insecure_skip_verify=True),
    )
    text = draft_config(Survey("app", "so it is", ()), client, HttpClient("http://am:9093"))
    read: dict[str, Any] = yaml.safe_load(text)
    assert read == {
        "global": {"service_label": "app", "external_url": "http://localhost:9797"},
        "prometheus": {
            "url": "https://prom:9090/x",
            "basic_auth": {"username": "ada: b", "password_file": "/etc/pass word"},
            "tls_config": {"ca_file": "/ca.pem", "insecure_skip_verify": True},
        },
        "rule_files": ["rules/*.yml"],
        "storage": {"url": "sqlite:///remediator.db", "retention": "90d"},
    }


# Alertmanager's configuration.


@pytest.mark.parametrize(
    ("config", "receiver"),
    [
        ("", None),
        ("[", None),
        ("[1]", None),
        ("receivers: [{name: a}, 3]", None),
        ("receivers: [{name: a, webhook_configs: [{url: 'http://h:9797/else'}]}]", None),
        ("receivers: [{name: a, webhook_configs: [{url: 'http://h:x/webhook'}]}]", None),
        ("receivers: [{name: a, webhook_configs: [{url: 'http://h:9797/webhook'}]}]", Receiver("a", False)),
        # Newer versions hide the address.
        ("receivers: [{name: remediator, webhook_configs: [{url: <secret>}]}]", Receiver("remediator", False)),
        ("receivers: [{name: remediator, email_configs: [{to: a}]}]", None),
        (
            "route: {receiver: b, routes: [{routes: [{receiver: remediator}]}]}\n"
            "receivers: [{name: b}, {name: remediator, webhook_configs: [{url: <secret>}]}]",
            Receiver("remediator", True),
        ),
    ],
)
def test_the_receiver_is_known_by_its_address_or_its_name(config: str, receiver: Receiver | None) -> None:
    assert find_receiver(config) == receiver
    text = draft_config(
        Survey("app", "so it is", ()), HttpClient("http://p"), HttpClient("http://a"), AlertmanagerFacts(config)
    )
    assert yaml.safe_load(text)["alertmanagers"][0].get("receiver") == (receiver and receiver.name)
    assert ("# No route there leads" in text) == (receiver is not None and not receiver.routed)

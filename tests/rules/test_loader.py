"""Good rule files become the rules they say."""

from pathlib import Path
from typing import Any

import pytest

from remediator.errors import ConfigError
from remediator.model.action import ActionSpec, HttpSpec
from remediator.model.health import Comparison, Health
from remediator.model.matcher import Matcher
from remediator.model.rulebook import Rulebook
from remediator.model.rules import (
    Dashboard,
    Escalate,
    Limits,
    Mode,
    OnInterrupt,
    Rate,
    Runbook,
    Service,
    Share,
    Step,
    Target,
    TargetRef,
    Threshold,
    Verify,
)
from remediator.problem import Problem, Severity
from remediator.rules.loader import load_rules, service_from_document, shipped_targets

GOOD = Path(__file__).parent / "good"
BOTH = (Health.DEGRADED, Health.FAILED)


def load(tmp_path: Path, *texts: str) -> tuple[Rulebook, list[Problem]]:
    paths = []
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.yml"
        path.write_text(text)
        paths.append(path)
    return load_rules(paths, service_label="service")


@pytest.fixture(scope="module")
def library() -> Rulebook:
    rulebook, problems = load_rules([GOOD / "library.yml"], service_label="service")
    assert problems == []
    return rulebook


def test_the_first_files_of_the_design_load_as_they_stand() -> None:
    rulebook, problems = load_rules([GOOD / "shop.yml", GOOD / "units.yml"], service_label="service")
    assert [(problem.check, problem.severity) for problem in problems] == [("unknown-dependency", Severity.WARNING)]
    assert rulebook.thresholds == (
        Threshold(
            name="error_ratio",
            expr='sum by (service) (rate(http_requests_total{code=~"5.."}[1m]))\n'
            "/ sum by (service) (rate(http_requests_total[1m]))",
            match=(Matcher("tier", "=", "web"),),
            degraded=Comparison(">=", 0.05),
            failed=Comparison(">", 0.1),
            for_=15.0,
            keep_for=30.0,
            unit="ratio",
        ),
    )
    assert rulebook.runbooks == (
        Runbook(
            name="web",
            match=(Matcher("tier", "=", "web"),),
            steps=(
                Step("restart", "restart"),
                Step(
                    "scale",
                    "scale",
                    args={"by": 1, "max": 6},
                    unless='changes(kube_deployment_spec_replicas{deployment="{{ labels.deployment }}"}[5m]) > bool 0',
                ),
                Step("rollback", "rollback", when=(Health.FAILED,), timeout=120.0),
            ),
            verify=Verify(15.0, 120.0),
            limits=Limits(600.0, (Rate(3, 3600.0), Rate(7, 86400.0)), Share(30.0, percent=True), Rate(3, 21600.0)),
            silence=600.0,
            escalate=Escalate({"severity": "page"}),
        ),
    )
    assert rulebook.targets["systemd"] == Target(
        "systemd",
        params={"unit": "{{ service.name }}.service", "host": ""},
        actions={"restart": ActionSpec(run=("systemctl", "restart", "{{ unit }}"), timeout=90.0)},
    )


def test_services(library: Rulebook) -> None:
    checkout, postgres, templated, lamp = library.services
    assert checkout == Service(
        "checkout",
        labels={
            "tier": "web",
            "team": "payments",
            "port": "8080",
            "namespace": "shop",
            "deployment": "checkout",
            "service": "checkout",
        },
        match=(Matcher("service", "=", "checkout"),),
        target=TargetRef("kubernetes", {"namespace": "shop", "deployment": "checkout"}),
        depends_on=("postgres", "shop/search"),
        dashboard=Dashboard("shop", 4),
    )
    assert postgres.target == TargetRef(
        "command",
        actions={
            "restart": ActionSpec(run=("pg_ctl", "restart", "-D", "/srv/pg")),
            "status": ActionSpec(shell="pg_ctl status -D /srv/pg | tail -n 1"),
            "diagnose": ActionSpec(run=("tail", "-n", "20", "/srv/pg/log"), timeout=5.0),
        },
    )
    assert lamp.target == TargetRef("light", {"room": "{{ labels.room }}"})
    assert templated.target == TargetRef("kubernetes")
    found = library.service_for({"namespace": "search", "deployment": "index"})
    assert found is not None
    assert found.name == found.labels["service"] == "search/index"
    assert found.labels["team"] == "search"
    assert found.depends_on == ("search/db",)


def test_steps(library: Rulebook) -> None:
    runbook = library.runbooks[0]
    assert (runbook.mode, runbook.corroborate, runbook.when) == (Mode.APPROVE, False, (Health.FAILED,))
    assert runbook.steps[1] == Step(
        name="restart again",
        action="restart",
        args={"grace": 5, "note": "for {{ labels.service }}", "deep": {"a": (1, 2.5, True, None, "text")}},
        attempts=2,
        on_interrupt=OnInterrupt.RERUN,
    )
    rollback, run, shell, http = runbook.steps[3:]
    assert rollback.if_ == 'up{job="checkout"} == bool 0'
    assert run.spec == ActionSpec(
        run=("/usr/bin/notify", "{{ service.name }}", "--reason={{ alert.name }}"), env={"HEALTH": "{{ health }}"}
    )
    assert (run.name, run.action, run.timeout) == ("run", "run", 10.0)
    assert shell.spec == ActionSpec(shell="echo {{ labels.namespace }} > /tmp/x\nsystemctl restart nginx\n")
    assert http.spec == ActionSpec(
        http=HttpSpec(
            url="http://localhost/{{ service.name }}/restart",
            method="PUT",
            headers={"X-Service": "{{ service.name }}"},
            body='{"value": {{ values.error_ratio | tojson }}}',
            expect=(200, 204),
        )
    )
    assert library.runbooks[1].limits == Limits(rate=(Rate(3, 3600.0),), blast_radius=Share(3.0))
    assert library.runbooks[1].when == BOTH


def test_targets(library: Rulebook) -> None:
    assert library.targets["light"] == Target(
        "light",
        params={"room": None, "level": "3", "host": ""},
        actions={
            "restart": ActionSpec(run=("light", "{{ room }}", "{{ level }}")),
            "circuit_break": ActionSpec(shell="light off {{ room }}"),
        },
        ssh="{{ host }}",
    )
    assert set(shipped_targets()) < set(library.targets)


def test_every_target_takes_a_host_to_reach_by_ssh(tmp_path: Path) -> None:
    rulebook, problems = load(
        tmp_path,
        "services:\n"
        "  - {name: a, target: {command: {ssh: root@web1, restart: /srv/restart}}}\n"
        "  - {name: b, target: {docker: {ssh: 'root@{{ labels.instance }}'}}}\n",
    )
    assert problems == []
    own = {"restart": ActionSpec(shell="/srv/restart")}
    assert rulebook.named["a"].target == TargetRef("command", {"ssh": "root@web1"}, own)
    assert rulebook.named["b"].target == TargetRef("docker", {"ssh": "root@{{ labels.instance }}"})


def test_a_rule_files_target_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    rulebook, problems = load(tmp_path, "targets: [{name: docker, actions: {restart: [podman, restart, x]}}]")
    assert problems == []
    assert rulebook.targets["docker"].actions == {"restart": ActionSpec(run=("podman", "restart", "x"))}


def test_the_lists_of_all_files_are_merged_in_order(tmp_path: Path) -> None:
    rulebook, _ = load(
        tmp_path,
        "services: [{name: b, depends_on: [a]}]\nrunbooks: [{name: last, steps: [run: [x]]}]\n",
        "# nothing\n",
        "services:\n  - name: a\nthresholds:\nrunbooks:\n",
    )
    assert [service.name for service in rulebook.services] == ["b", "a"]


def test_problems_come_from_all_files_in_order(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "services: [{name: a}]\ncolour: blue\n", "services: [", "services: [{name: a}]")
    found = [(Path(problem.position.file).name, problem.check) for problem in caught.value.problems]
    assert found == [("0.yml", "unknown-key"), ("1.yml", "yaml-syntax"), ("2.yml", "equal-names")]
    assert "0.yml:2:1: error: unknown key 'colour'" in str(caught.value)


def test_another_service_label(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text("services: [{name: a, labels: {service: x}}, {name: '{{ labels.pod }}'}]")
    rulebook, _ = load_rules([path], service_label="app")
    plain, templated = rulebook.services
    assert plain.match == (Matcher("app", "=", "a"),)
    assert plain.labels == {"service": "x", "app": "a"}
    assert templated.match == ()


def test_anchors_and_aliases(tmp_path: Path) -> None:
    text = """
    services:
      - {name: a, labels: &web {tier: web}, match: &match ['tier="web"']}
      - {name: b, labels: *web, match: *match}
    """
    rulebook, _ = load(tmp_path, text)
    assert rulebook.named["b"].labels == {"tier": "web", "service": "b"}


def test_a_service_added_while_running(library: Rulebook) -> None:
    service = service_from_document(
        {"name": "cache", "labels": {"tier": "web"}, "target": {"docker": {}}, "depends_on": ["postgres"]}, library
    )
    assert service == Service(
        "cache",
        labels={"tier": "web", "service": "cache"},
        match=(Matcher("service", "=", "cache"),),
        target=TargetRef("docker"),
        depends_on=("postgres",),
    )


@pytest.mark.parametrize(
    ("document", "check"),
    [
        ({"name": "x", "target": "nowhere"}, "unknown-target"),
        ({"name": "x", "target": {"light": {}}}, "missing-param"),
        ({"name": "x", "lables": {}}, "unknown-key"),
        ({"name": 3.5, "match": "a"}, "wrong-type"),
        ({"name": "\ud800"}, "yaml-syntax"),
        ([], "wrong-type"),
        ({}, "missing-key"),
        ({"name": "x\0y"}, "bad-value"),
        ({"name": "x", "depends_on": ["x"]}, "dependency-cycle"),
    ],
)
def test_a_wrong_service_added_while_running(library: Rulebook, document: Any, check: str) -> None:
    with pytest.raises(ConfigError) as caught:
        service_from_document(document, library)
    assert [problem.check for problem in caught.value.problems] == [check]


def test_a_prometheus_that_the_config_does_not_have(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(
        """\
services: [{name: shop, prometheus: us}]
thresholds: [{name: errors, match: ['service="shop"'], expr: errors, failed: '> 1', prometheus: eu}]
runbooks: [{name: all, steps: [{run: ['true'], unless: deploys, prometheus: uss}]}]
"""
    )
    with pytest.raises(ConfigError) as raised:
        load_rules([file], service_label="service", prometheis=frozenset({"us"}))
    assert [(problem.check, problem.position.line) for problem in raised.value.problems] == [
        ("unknown-prometheus", 2),
        ("unknown-prometheus", 3),
    ]
    rulebook, _ = load_rules([file], service_label="service")
    (shop,) = rulebook.services
    assert (shop.prometheus, rulebook.thresholds[0].prometheus) == ("us", "eu")

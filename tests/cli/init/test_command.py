"""`remediator init` against a real Prometheus and Alertmanager, as its user calls it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import bcrypt
import pytest
import yaml
from real.prometheus import Exposition, RealAlertmanager, RealPrometheus, free_port, in_thread, until
from real.remediator import RealRemediator

from remediator.cli import main
from remediator.cli.init.survey_result import Survey
from remediator.clients.http_options import BasicAuth
from remediator.config.settings import load_config
from remediator.model.clock import rfc3339
from remediator.model.rulebook import Rulebook
from remediator.model.rules import Mode
from remediator.rules.loader import load_rules

WRITTEN = ("remediator.yml", "rules/services.yml", "remediator-config.schema.json", "remediator-rules.schema.json")
ODD = 'it\'s: a "shop" # 1'
SHOP = r"""
http_requests_total{service="checkout",code="200"} 10
http_requests_total{service="checkout",code="500"} 10
http_requests_total{service="ledger",status="200"} 10
http_requests_total{service="no",status="200"} 10
http_requests_total{service="it's: a \"shop\" # 1",status="200"} 10
http_requests_total{service="{{ labels.x }}",status="200"} 10
http_request_duration_seconds_bucket{service="checkout",le="0.1"} 10
http_request_duration_seconds_bucket{service="checkout",le="+Inf"} 10
http_request_duration_seconds_count{service="checkout",code="200"} 10
http_server_request_duration_seconds_bucket{service="search",le="0.1"} 10
http_server_request_duration_seconds_bucket{service="search",le="+Inf"} 10
http_server_request_duration_seconds_count{service="search",http_response_status_code="200"} 10
up{service="checkout"} 1
"""
CLUSTER = r"""
kube_deployment_status_replicas_unavailable{namespace="shop",deployment="checkout"} 0
kube_deployment_spec_replicas{namespace="shop",deployment="checkout"} 2
kube_deployment_status_replicas_unavailable{namespace="shop",deployment="search"} 0
kube_deployment_spec_replicas{namespace="shop",deployment="search"} 0
kube_deployment_status_replicas_unavailable{namespace="staging",deployment="search"} 1
kube_deployment_spec_replicas{namespace="staging",deployment="search"} 1
container_memory_working_set_bytes{namespace="shop",pod="checkout-5d9c7b8f6d-x2x9z",container="app",name="k8s_app"} 50
container_spec_memory_limit_bytes{namespace="shop",pod="checkout-5d9c7b8f6d-x2x9z",container="app",name="k8s_app"} 100
container_memory_working_set_bytes{namespace="shop",pod="postgres-0",container="app",name="k8s_pg"} 50
container_spec_memory_limit_bytes{namespace="shop",pod="postgres-0",container="app",name="k8s_pg"} 100
container_memory_working_set_bytes{name="redis"} 50
container_spec_memory_limit_bytes{name="redis"} 100
container_memory_working_set_bytes{name="unlimited"} 50
container_spec_memory_limit_bytes{name="unlimited"} 0
"""
MACHINE = r"""
node_filesystem_avail_bytes{mountpoint="/",fstype="ext4"} 50
node_filesystem_size_bytes{mountpoint="/",fstype="ext4"} 100
node_filesystem_avail_bytes{mountpoint="/run",fstype="tmpfs"} 0
node_filesystem_size_bytes{mountpoint="/run",fstype="tmpfs"} 100
node_memory_MemAvailable_bytes 50
node_memory_MemTotal_bytes 100
node_systemd_unit_state{name="ledger.service",state="failed"} 0
node_systemd_unit_state{name="ledger.service",state="active"} 1
node_systemd_unit_state{name="cron.service",state="failed"} 0
"""


@dataclass
class Shop:
    """The neighbours, with everything scraped often enough for rates. `node` and `probe` are instances."""

    prometheus: RealPrometheus
    alertmanager: RealAlertmanager
    node: str
    probe: str


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        pages = [stack.enter_context(Exposition(text)) for text in (SHOP, CLUSTER, MACHINE, "probe_success 1\n")]
        jobs = ("shop", "cluster", "node", "blackbox")
        alertmanager = await stack.enter_async_context(
            RealAlertmanager(tmp_path, webhook="http://127.0.0.1:9797/webhook")
        )
        targets = {job: [page.address] for job, page in zip(jobs, pages, strict=True)}
        prometheus = await stack.enter_async_context(RealPrometheus(tmp_path, targets=targets))
        for job in jobs:
            await scraped(prometheus, job)
        yield Shop(prometheus, alertmanager, pages[2].address, pages[3].address)


async def scraped(prometheus: RealPrometheus, job: str) -> None:
    """Wait until there is enough of a job for a rate."""
    await until(in_thread(lambda: prometheus.query(f'count_over_time(up{{job="{job}", service=""}}[1m]) > 2')))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the present one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


async def remediator(*arguments: str) -> int:
    return await asyncio.to_thread(main, arguments)


def drafted() -> Rulebook:
    """The rules in the present folder, which are free of warnings."""
    config = load_config(Path("remediator.yml"))
    rulebook, warnings = load_rules(config.rule_paths(), service_label=config.global_.service_label)
    assert warnings == []
    return rulebook


async def test_a_shop_is_drafted_checked_and_served(
    shop: Shop, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = ["--prometheus", shop.prometheus.url, "--alertmanager", shop.alertmanager.url]
    assert await remediator("init", *urls) == 0
    told = capsys.readouterr().out
    assert "service label service: all 6 series of http_requests_total carry it" in told
    assert "  left out: response_error_ratio: what it sees has no label service, or is judged already\n" in told
    assert "  error_ratio: 4 of 10 services, from http_requests_total\n" in told

    rulebook = drafted()
    reached = {
        service.name: (service.target.name, service.target.params) if service.target else None
        for service in rulebook.services
    }
    assert reached == {
        "checkout": ("kubernetes", {"namespace": "shop", "deployment": "checkout"}),
        "ledger": ("systemd", {"unit": "ledger.service"}),
        "search": ("to_be_written", {}),
        "no": ("to_be_written", {}),
        ODD: ("to_be_written", {}),
        "shop/search": ("kubernetes", {"namespace": "shop", "deployment": "search"}),
        "staging/search": ("kubernetes", {"namespace": "staging", "deployment": "search"}),
        "redis": ("docker", {"container": "redis"}),
        shop.node: None,
        shop.probe: None,
    }
    judged = {
        service.name: [threshold.name for threshold in rulebook.thresholds_for(service)]
        for service in rulebook.services
    }
    assert judged == {
        "checkout": ["instances_up", "error_ratio", "latency_p95", "replicas_unavailable", "pod_memory"],
        "ledger": ["error_ratio", "unit_failed"],
        "search": ["otel_error_ratio", "otel_latency_p95"],
        "no": ["error_ratio"],
        ODD: ["error_ratio"],
        "shop/search": ["replicas_unavailable"],
        "staging/search": ["replicas_unavailable"],
        "redis": ["container_memory"],
        shop.node: ["disk_free", "memory_available"],
        shop.probe: ["probe_success"],
    }
    assert {runbook.mode for runbook in rulebook.runbooks} == {Mode.OBSERVE}
    text = Path("rules/services.yml").read_text()
    assert "# Left out, as no rule file can have its name: {{ labels.x }}" in text
    assert "target: to_be_written   # deployments of several namespaces have its name" in text
    assert load_config(Path("remediator.yml")).alertmanagers[0].receiver == "remediator"
    for name in ("remediator.yml", "rules/services.yml"):
        schema = re.match(r"# yaml-language-server: \$schema=(.*)\n", Path(name).read_text())
        assert schema is not None
        assert (Path(name).parent / schema[1]).exists()

    assert await remediator("check", "--prometheus", shop.prometheus.url) == 0
    assert capsys.readouterr().out.endswith("SUCCESS: 10 services, 12 thresholds, 2 runbooks, 1 target\n")

    daemon = RealRemediator(folder.parent / "daemon", prometheus=shop.prometheus.url, rules="")
    daemon.config_file = folder / "remediator.yml"
    async with daemon:
        # Healthy, so every threshold of every service has a value for it.
        await until(in_thread(lambda: {one["health"] for one in daemon.request("/api/v1/services")} == {"healthy"}))


async def test_a_prometheus_that_knows_only_itself(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("remediator.cli.init.command._ALERTMANAGER", f"http://127.0.0.1:{free_port()}")
    prometheus = RealPrometheus(tmp_path)
    prometheus.targets = {"prometheus": [prometheus.address]}
    async with prometheus:
        await scraped(prometheus, "prometheus")
        assert await remediator("init", "--prometheus", prometheus.url) == 1
        assert "by the label job but monitoring itself (prometheus);" in capsys.readouterr().err
        with Exposition("x 1\n") as page:
            prometheus.targets = {"prometheus": [prometheus.address], "shop": [page.address]}
            prometheus.reload()
            await scraped(prometheus, "shop")
            assert await remediator("init", "--prometheus", prometheus.url, "--directory", "new/folder") == 0
            told = capsys.readouterr().out
            assert "service label job: Prometheus gives it to all that it scrapes" in told
            assert "no Alertmanager answers at http://127.0.0.1:" in told
            assert "left out: prometheus: monitoring itself, or exporters" in told
            monkeypatch.chdir("new/folder")
            rulebook = drafted()
            (service,) = rulebook.services
            assert service.name == "shop"
            assert [threshold.name for threshold in rulebook.thresholds_for(service)] == ["instances_up"]
            assert load_config(Path("remediator.yml")).alertmanagers == ()
            assert load_config(Path("remediator.yml")).global_.external_url == "http://localhost:9797"
            assert await remediator("check", "--prometheus", prometheus.url) == 0
            assert capsys.readouterr().out.endswith("SUCCESS: 1 service, 1 threshold, 1 runbook, 1 target\n")


OPERATOR = r"""
up{service="web",namespace="shop",pod="web-1"} 1
up{service="web",namespace="staging",pod="web-1"} 1
up{service="api",namespace="shop",pod="api-1"} 1
up{service="ksm",namespace="monitoring",pod="ksm-1"} 1
kube_state_metrics_build_info{service="ksm"} 1
kube_deployment_status_replicas_unavailable{namespace="shop",deployment="web",service="ksm"} 0
kube_deployment_spec_replicas{namespace="shop",deployment="web",service="ksm"} 2
kube_deployment_status_replicas_unavailable{namespace="shop",deployment="api",service="ksm"} 0
kube_deployment_spec_replicas{namespace="shop",deployment="api",service="ksm"} 2
"""
"""What Prometheus Operator makes of a cluster: the label `service` of kube-state-metrics' series is the exporter's."""


async def test_exporters_own_nothing_and_namespaces_are_kept_apart(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Exposition(OPERATOR) as page:
        async with (
            RealAlertmanager(tmp_path) as alertmanager,
            RealPrometheus(tmp_path, targets={"cluster": [page.address]}) as prometheus,
        ):
            await scraped(prometheus, "cluster")
            urls = ["--prometheus", prometheus.url, "--alertmanager", alertmanager.url]
            assert await remediator("init", *urls, "--service-label", "service", "--external-url", "http://heal:9") == 0
            rulebook = drafted()
            assert await remediator("check", "--prometheus", prometheus.url) == 0
    assert {service.name for service in rulebook.services} == {"api", "shop/web", "staging/web"}
    reached = {service.name: service.target and service.target.params for service in rulebook.services}
    assert reached["shop/web"] == {"namespace": "shop", "deployment": "web"}
    assert reached["api"] == {"namespace": "shop", "deployment": "api"}
    of_others = {
        "alertname": "KubeDeploymentReplicasMismatch",
        "service": "ksm",
        "namespace": "shop",
        "deployment": "api",
    }
    assert rulebook.service_for(of_others) is None
    owners = [rulebook.service_for({"service": "web", "namespace": space}) for space in ("shop", "staging")]
    assert [owner.name for owner in owners if owner] == ["shop/web", "staging/web"]
    assert "exporters with series of other things: ksm." in Path("rules/services.yml").read_text()
    assert load_config(Path("remediator.yml")).global_.external_url == "http://heal:9"
    capsys.readouterr()


async def test_an_alertmanager_that_does_not_know_remediator(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Exposition("x 1\n") as page:
        async with (
            RealAlertmanager(tmp_path, route={"receiver": "team"}, receivers=[{"name": "team"}]) as alertmanager,
            RealPrometheus(tmp_path, targets={"shop": [page.address]}) as prometheus,
        ):
            ends = rfc3339(time.time() + 600)
            alertmanager.post(
                {"labels": {"alertname": "Lost"}, "endsAt": ends},
                {"labels": {"alertname": "Known", "job": "shop"}, "endsAt": ends},
            )
            await scraped(prometheus, "shop")
            urls = ["--prometheus", prometheus.url, "--alertmanager", alertmanager.url]
            assert await remediator("init", *urls, "--grafana", "http://localhost:3000/") == 0
            config = load_config(Path("remediator.yml"))
            assert [(one.url, one.receiver) for one in config.alertmanagers] == [(alertmanager.url, "")]
            assert config.grafana is not None
            assert (config.grafana.url, config.grafana.authorization.credentials_file) == (
                "http://localhost:3000",
                "grafana-token",
            )
            text = Path("remediator.yml").read_text()
            shown = capsys.readouterr().out.partition("as a comment:\n")[2].partition("\n\n")[0]
            assert [route["receiver"] for route in yaml.safe_load(shown)["route"]["routes"]] == ["remediator", "team"]
            assert indent(shown, "#   ") in text
            assert "have no label job: Lost." in Path("rules/services.yml").read_text()
            drafted()


async def test_credentials_are_taken_from_a_file_and_named_in_the_config(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashed = bcrypt.hashpw(b"s3cret", bcrypt.gensalt(4)).decode()
    web_config = {"basic_auth_users": {"ada": hashed}}
    Path("password").write_text("s3cret\n")
    Path("http.yml").write_text("basic_auth: {username: ada, password_file: password}\n")
    Path("plain.yml").write_text("basic_auth: {username: ada, password: s3cret}\n")
    with Exposition("probe_success 1\n") as page:
        async with (
            RealAlertmanager(tmp_path, web_config=web_config) as alertmanager,
            RealPrometheus(tmp_path, targets=[page.address], web_config=web_config) as prometheus,
        ):
            urls = ["--prometheus", prometheus.url, "--alertmanager", alertmanager.url]
            assert await remediator("init", *urls) == 2
            assert "refuses the credentials (HTTP 401)" in capsys.readouterr().err
            assert await remediator("init", *urls, "--http.config.file", "plain.yml") == 2
            assert "cannot copy the password in plain.yml to a config: put it in a file" in capsys.readouterr().err
            await until(in_thread(lambda: page.scrapes > 1))
            assert await remediator("init", *urls, "--http.config.file", "http.yml") == 0
            assert "s3cret" not in capsys.readouterr().out + Path("remediator.yml").read_text()
            config = load_config(Path("remediator.yml"))
            for client in (config.prometheus, *config.alertmanagers):
                assert client.basic_auth == BasicAuth("ada", password_file=str(folder / "password"))


async def test_a_prometheus_without_a_metric_that_is_known(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with AsyncExitStack() as stack:
        prometheus = await stack.enter_async_context(RealPrometheus(tmp_path))
        assert await remediator("init", "--prometheus", prometheus.url) == 2
        assert "Prometheus has no series now of any metric that is known here" in capsys.readouterr().err
        prometheus.targets = {"prometheus": [prometheus.address]}
        prometheus.reload()
        await scraped(prometheus, "prometheus")
        assert await remediator("init", "--prometheus", prometheus.url, "--service-label", "nobody") == 2
        said = capsys.readouterr().err
        assert "no series of the known metrics has the label nobody that --service-label names" in said
        assert "; the labels there are: code, handler, instance, job" in said
        page = stack.enter_context(Exposition("x 1\n"))
        prometheus.targets = {"shop": [page.address]}
        prometheus.reload()
        await scraped(prometheus, "shop")
        nowhere = f"http://127.0.0.1:{free_port()}"
        assert await remediator("init", "--prometheus", prometheus.url, "--alertmanager", nowhere) == 2
        assert f"cannot read the configuration at {nowhere}: " in capsys.readouterr().err
        assert list(folder.iterdir()) == []

        Path("file").write_text("no folder")
        monkeypatch.setattr("remediator.cli.init.command._ALERTMANAGER", nowhere)
        assert await remediator("init", "--prometheus", prometheus.url, "--directory", "file") == 2
        assert "cannot write file/rules/services.yml: Not a directory" in capsys.readouterr().err


async def test_a_prometheus_that_cannot_be_reached(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await remediator("init", "--prometheus", f"http://127.0.0.1:{free_port()}") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "remediator: cannot reach Prometheus at http://127.0.0.1:" in shown.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", WRITTEN)
def test_nothing_is_overwritten(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("rules").mkdir()
    Path(name).write_text("mine")
    assert main(["init", "--prometheus", f"http://127.0.0.1:{free_port()}"]) == 2
    assert f"remediator: cannot write {name}: already there (--force overwrites" in capsys.readouterr().err
    assert Path(name).read_text() == "mine"


async def test_unless_that_is_asked_for(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("remediator.yml").write_text("mine")
    with Exposition('up{service="a"} 1\n') as page:
        async with (
            RealAlertmanager(tmp_path) as alertmanager,
            RealPrometheus(tmp_path, targets=[page.address]) as prometheus,
        ):
            await until(in_thread(lambda: prometheus.query('up{service="a"}')))
            urls = ["--prometheus", prometheus.url, "--alertmanager", alertmanager.url]
            assert await remediator("init", *urls, "--force", "--service-label", "service") == 0
            assert "service label service: as --service-label says" in capsys.readouterr().out
            assert [service.name for service in drafted().services] == ["a"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--prometheus", "localhost"], "'localhost' is not an address such as http://localhost:9090"),
        (["--prometheus", "http://a:99999"], "'http://a:99999' is not an address"),
        (["--alertmanager", "http://ada:s3cret@a"], "credentials do not belong in an address"),
        (["--service-label", "a "], "'a ' is not a label name such as service"),
    ],
)
def test_wrong_usage(arguments: list[str], sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["init", *arguments])
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert sentence in shown
    assert "s3cret" not in shown


def test_a_prometheus_that_knows_of_no_service_is_no_failure_to_ask_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    survey = Survey("service.name", "as --service-label says", (), ())
    monkeypatch.setattr("remediator.cli.init.command._survey", lambda *_: survey)
    assert main(["init", "--directory", str(tmp_path)]) == 1
    assert "no series of the known metrics names a service by the label service.name" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

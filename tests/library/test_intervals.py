"""Every threshold of the library at common scrape intervals: what is well is never seen otherwise for as long as `for`.

All exporters of a small world that is well are scraped every 15, 30 and 60 s; one scrape is lost, exporters are away for
three minutes, something does not answer once, a machine starts anew, a rollout goes through. promtool computes what the thresholds see every 15 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
from library import matrix
from real.prometheus import part

from remediator.model.health import Health
from remediator.simulation.ruletest.promtool_values import evaluate

STEP = 15.0
UNTIL = 2400.0
AWAY = 1200
"""From when on something is lost, in seconds."""

Value = Callable[[int], float]


class Scraped(NamedTuple):
    """A series, whose exporter it is, and its value by the second."""

    series: str
    exporter: str
    value: Value


Story = Callable[[Scraped, int, int], float | None]
"""What a series says at a time, from AWAY on, at this interval: none for what it always says, no number for nothing."""


def always(value: float) -> Value:
    return lambda _: value


def each_second(rate: float) -> Value:
    return lambda at: rate * at


def ksm(metric: str, labels: str, value: Value | float = 1) -> Scraped:
    of = f'{metric}{{job="kube-state-metrics", instance="10.42.0.7:8080", {labels}}}'
    return Scraped(of, "ksm", value if callable(value) else always(value))


def node(metric: str, labels: str, value: Value | float) -> Scraped:
    of = f'{metric}{{job="node", instance="web1:9100"{labels}}}'
    return Scraped(of, "node", value if callable(value) else always(value))


def one(metric: str, job: str, instance: str, value: Value | float = 1, extra: str = "") -> Scraped:
    of = f'{metric}{{job="{job}", instance="{instance}"{extra}}}'
    return Scraped(of, job, value if callable(value) else always(value))


_DISK = ', device="/dev/sda1", fstype="ext4", mountpoint="/"'
_POD = 'namespace="shop", pod="web-5d4f7c9b8d-x2x4z"'
_CERTIFICATE = ', namespace="cert-manager", exported_namespace="shop", name="tls"'
_QUEUE = ', vhost="/", queue="mails"'
_WEB = ', tier="web", service="shop"'

WELL: list[Scraped] = [
    node("node_filesystem_avail_bytes", _DISK, lambda at: 50e9 - 1e3 * at),
    node("node_filesystem_size_bytes", _DISK, 100e9),
    node("node_filesystem_readonly", _DISK, 0),
    node("node_filesystem_files_free", _DISK, 5e6),
    node("node_filesystem_files", _DISK, 6e6),
    node("node_memory_MemAvailable_bytes", "", 4e9),
    node("node_memory_MemTotal_bytes", "", 8e9),
    node("node_timex_sync_status", "", 1),
    node("node_timex_maxerror_seconds", "", 0.1),
    one("velero_backup_last_status", "velero", "10.42.0.9:8085", 1, ', schedule="nightly"'),
    node("node_systemd_unit_state", ', name="nginx.service", state="failed", type="notify"', 0),
    node("node_systemd_unit_state", ', name="backup.service", state="failed", type="oneshot"', 0),
    ksm("kube_deployment_status_replicas_unavailable", 'namespace="shop", deployment="web"', 0),
    ksm("kube_deployment_spec_replicas", 'namespace="shop", deployment="web"', 3),
    ksm("kube_pod_container_status_restarts_total", f'{_POD}, container="app"', 2),
    ksm("kube_pod_container_status_last_terminated_reason", f'{_POD}, container="app", reason="OOMKilled"'),
    ksm("kube_pod_owner", f'{_POD}, owner_kind="ReplicaSet", owner_name="web-5d4f7c9b8d"'),
    ksm("kube_replicaset_owner", 'namespace="shop", replicaset="web-5d4f7c9b8d", owner_kind="Deployment", owner_name="web"'),
    ksm("kube_statefulset_status_replicas_ready", 'namespace="shop", statefulset="db"', 3),
    ksm("kube_statefulset_replicas", 'namespace="shop", statefulset="db"', 3),
    ksm("kube_daemonset_status_number_ready", 'namespace="ops", daemonset="agent"', 3),
    ksm("kube_daemonset_status_desired_number_scheduled", 'namespace="ops", daemonset="agent"', 3),
    ksm("kube_horizontalpodautoscaler_status_desired_replicas", 'namespace="shop", horizontalpodautoscaler="web"', 3),
    ksm("kube_horizontalpodautoscaler_spec_max_replicas", 'namespace="shop", horizontalpodautoscaler="web"', 9),
    ksm("kube_horizontalpodautoscaler_spec_min_replicas", 'namespace="shop", horizontalpodautoscaler="web"', 2),
    ksm("kube_node_status_condition", 'node="node1", condition="DiskPressure", status="true"', 0),
    ksm("kube_cronjob_info", 'namespace="shop", cronjob="nightly"'),
    ksm("gotk_resource_info", 'customresource_kind="Kustomization", exported_namespace="flux-system", name="apps", ready="True"'),
    one("container_last_seen", "cadvisor", "web1:8080", each_second(1), ', id="/docker/1", name="shop"'),
    one("container_memory_working_set_bytes", "cadvisor", "web1:8080", 1e8, ', id="/docker/1", name="shop"'),
    one("container_spec_memory_limit_bytes", "cadvisor", "web1:8080", 1e9, ', id="/docker/1", name="shop"'),
    one("probe_success", "blackbox", "https://shop.example/"),
    one("probe_duration_seconds", "blackbox", "https://shop.example/", 0.2),
    one("probe_ssl_earliest_cert_expiry", "blackbox", "https://shop.example/", 1e7),
    one("redis_up", "redis", "cache1:9121"),
    one("pg_up", "postgres", "db1:9187"),
    one("nginx_up", "nginx", "web1:9113"),
    one("zk_up", "zookeeper", "mon1:9141", 1, ', zk_host="zk1:2181"'),
    one("rabbitmq_queue_messages_ready", "rabbitmq", "mq1:15692", 10, _QUEUE),
    one("rabbitmq_queue_consumers", "rabbitmq", "mq1:15692", 2, _QUEUE),
    one("kafka_consumergroup_lag", "kafka", "k1:9308", 5, ', consumergroup="orders", topic="orders", partition="0"'),
    one("certmanager_certificate_expiration_timestamp_seconds", "cert-manager", "10.42.0.9:9402", 1e7, _CERTIFICATE),
    one("certmanager_certificate_ready_status", "cert-manager", "10.42.0.9:9402", 0, f'{_CERTIFICATE}, condition="False"'),
    one("argocd_app_info", "argocd", "10.42.0.8:8082", 1, ', name="shop", sync_status="Synced"'),
    one("http_requests_total", "shop", "web1:8000", each_second(5), f'{_WEB}, code="200"'),
    one("http_requests_total", "shop", "web1:8000", 7, f'{_WEB}, code="500"'),
    one("http_request_duration_seconds_bucket", "shop", "web1:8000", each_second(5), f'{_WEB}, le="0.1"'),
    one("http_request_duration_seconds_bucket", "shop", "web1:8000", each_second(5), f'{_WEB}, le="+Inf"'),
    *(
        one("up", job, instance, 1, _WEB if job == "shop" else "")
        for job, instance in [
            ("node", "web1:9100"),
            ("cadvisor", "web1:8080"),
            ("redis", "cache1:9121"),
            ("nginx", "web1:9113"),
            ("etcd", "e1:2379"),
            ("shop", "web1:8000"),
        ]
    ),
]  # fmt: skip

# A web service that cannot be scraped is away itself; its `up` is not an exporter's word.
OWN = {"web_up"}


def all_well(_: Scraped, at: int, interval: int) -> float | None:
    return None


def lost(scraped: Scraped, at: int, interval: int) -> float | None:
    """One scrape of each exporter is lost."""
    return math.nan if at < AWAY + interval else None


def away(scraped: Scraped, at: int, interval: int) -> float | None:
    """The exporters are away for three minutes."""
    return math.nan if at < AWAY + 180 else None


def one_failure(scraped: Scraped, at: int, interval: int) -> float | None:
    """What exporters and probes look at does not answer once."""
    is_up = "_up{" in scraped.series or scraped.series.startswith("probe_success{")
    return 0.0 if is_up and at < AWAY + interval else None


def reboot(scraped: Scraped, at: int, interval: int) -> float | None:
    """A machine is away for two minutes, and what runs there comes up after its exporter."""
    if 'instance="web1:' not in scraped.series:
        return None
    if at < AWAY + 120:
        return math.nan
    if scraped.series.startswith("nginx_up{") and at < AWAY + 150:
        return 0.0
    return float(at - AWAY) if scraped.value(100) != scraped.value(0) and "_total" in scraped.series else None


_ROLLED = {
    "kube_deployment_status_replicas_unavailable{": (1.0, 240),
    "kube_statefulset_status_replicas_ready{": (2.0, 480),
    "kube_daemonset_status_number_ready{": (2.0, 600),
    "kube_horizontalpodautoscaler_status_desired_replicas{": (9.0, 600),
    "gotk_resource_info{": (math.nan, 300),
    "rabbitmq_queue_consumers{": (0.0, 60),
}


def rollout(scraped: Scraped, at: int, interval: int) -> float | None:
    """New versions come, one pod after the other."""
    for name, (value, lasts) in _ROLLED.items():
        if scraped.series.startswith(name):
            return value if at < AWAY + lasts else None
    return None


def notation(scraped: Scraped, interval: int, story: Story) -> str:
    """The values in promtool's notation; what is no number was not scraped, and `up` is 0 then."""
    is_up, words = scraped.series.startswith("up{"), list[str]()
    for at in range(0, int(UNTIL) + 1, interval):
        value = story(scraped, at, interval) if at >= AWAY else None
        if value is not None and math.isnan(value):
            gone = not words or words[-1] in ("stale", "_")
            words.append("0" if is_up else "_" if gone else "stale")
        else:
            words.append(repr(float(scraped.value(at) if value is None else value)))
    return " ".join(words)


def longest_breaches(world: list[tuple[str, str]], interval: int) -> dict[str, float]:
    """For each threshold the longest time that any of its series is not healthy, in seconds; those with a value only."""
    rules = matrix.rulebook()
    answers = evaluate({one.expr.strip() for one in rules.thresholds}, world, interval, STEP, UNTIL)
    longest: dict[str, float] = {}
    for threshold in rules.thresholds:
        for labels, values in answers[threshold.expr.strip()].items():
            service = rules.service_for(dict(labels))
            if service is None or threshold not in rules.thresholds_for(service):
                continue
            lasts, most = 0.0, 0.0
            for value in values:
                bad = value is not None and threshold.judge(value) is not Health.HEALTHY
                lasts = lasts + STEP if bad else 0.0
                most = max(most, lasts)
            longest[threshold.name] = max(longest.get(threshold.name, 0.0), most)
    return longest


@pytest.mark.parametrize("interval", [15, 30, 60])
@pytest.mark.parametrize("story", [all_well, lost, away, one_failure, reboot, rollout])
def test_what_is_well_is_never_seen_otherwise_for_long(interval: int, story: Story) -> None:
    part("promtool", "prometheus")
    longest = longest_breaches([(one.series, notation(one, interval, story)) for one in WELL], interval)
    thresholds = {one.name: one for one in matrix.rulebook().thresholds}
    assert set(longest) == set(thresholds)
    own = OWN if story in (away, reboot) else set()
    acted = {name: lasts for name, lasts in longest.items() if lasts and lasts >= (thresholds[name].for_ or STEP)}
    assert {name: lasts for name, lasts in acted.items() if name not in own} == {}

"""The ready rule files: checked without a warning, their tests are as they say, and they go together.

The labels of alerts are those that kube-prometheus, its Helm chart, the mixins of node exporter and Kubernetes, and
samber/awesome-prometheus-alerts give them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from real.prometheus import part
from real.systemd import RealSystemd

from remediator.cli import main
from remediator.model.health import Health
from remediator.model.rulebook import Rulebook, merged_labels
from remediator.model.rules import Mode
from remediator.rules.loader import load_rules
from remediator.template.compile import LabelView, TemplateKind, compile_template

LIBRARY = Path(__file__).parents[2] / "rules"
FILES = sorted(LIBRARY.glob("*.yml"))

# What scraping adds, where an alert's expression keeps it.
KSM = {
    "container": "kube-state-metrics",
    "endpoint": "http",
    "instance": "10.42.0.7:8080",
    "job": "kube-state-metrics",
    "namespace": "monitoring",
    "pod": "kps-kube-state-metrics-5d4f7c9b8d-x2x4z",
    "service": "kps-kube-state-metrics",
    "prometheus": "monitoring/kps-prometheus",
}
NODE = {"job": "node", "instance": "web1:9100"}
NODE_IN_KUBERNETES = {
    "container": "kube-rbac-proxy",
    "endpoint": "https",
    "instance": "worker-1",
    "job": "node-exporter",
    "namespace": "monitoring",
    "pod": "node-exporter-x2x4z",
    "service": "node-exporter",
}
ROOT_DISK = {"device": "/dev/sda1", "fstype": "ext4", "mountpoint": "/"}
POD = {"namespace": "shop", "pod": "web-5d4f7c9b8d-x2x4z", "container": "app"}
PROBE = {"job": "blackbox", "instance": "https://shop.example/health"}
CADVISOR = {"job": "cadvisor", "instance": "web1:8080", "id": "/docker/1", "name": "shop", "image": "shop:1"}
WEB_IN_KUBERNETES = {"job": "shop", "tier": "web", "service": "checkout", "instance": "10.42.0.9:8000", "namespace": "shop", "pod": "checkout-0"}  # fmt: skip
ARGO = {"job": "argocd", "name": "shop", "project": "default", "sync_status": "OutOfSync"}
FLUX = KSM | {"exported_namespace": "flux-system", "name": "apps", "ready": "False"}
HPA = {"namespace": "shop", "horizontalpodautoscaler": "web"}

Row = tuple[str, dict[str, str], str, str]

# An alert by its name and labels; the file whose it is, with the service; the runbook that is for it when that has failed.
ALERTS: list[Row] = [
    ("KubePodCrashLooping", KSM | POD | {"reason": "CrashLoopBackOff"}, "kubernetes: shop/web", "kubernetes-bad-version"),
    ("KubePodNotReady", {"namespace": "shop", "pod": POD["pod"]}, "kubernetes: shop/web", "kubernetes-unavailable"),
    ("KubePodNotReady", {"namespace": "shop", "pod": "db-0"}, "kubernetes: shop/statefulset/db", "kubernetes-statefulset"),
    ("KubeContainerWaiting", KSM | POD, "kubernetes: shop/web", "kubernetes-unavailable"),
    ("KubeDeploymentReplicasMismatch", KSM | {"namespace": "shop", "deployment": "web"}, "kubernetes: shop/web", "kubernetes-unavailable"),
    ("KubeDeploymentRolloutStuck", KSM | {"namespace": "shop", "deployment": "web"}, "kubernetes: shop/web", "kubernetes-bad-version"),
    ("KubeStatefulSetReplicasMismatch", KSM | {"namespace": "shop", "statefulset": "db"}, "kubernetes: shop/statefulset/db", "kubernetes-statefulset"),
    ("KubeDaemonSetRolloutStuck", KSM | {"namespace": "ops", "daemonset": "agent"}, "kubernetes: ops/daemonset/agent", "kubernetes-daemonset"),
    ("KubeHpaMaxedOut", KSM | HPA, "kubernetes: shop/autoscaler/web", "kubernetes-autoscaler"),
    ("KubernetesHpaScaleMaximum", KSM | HPA, "kubernetes: shop/autoscaler/web", "kubernetes-autoscaler"),
    ("KubernetesHpaScaleCapability", KSM | HPA, "kubernetes: shop/autoscaler/web", "kubernetes-autoscaler"),
    ("KubernetesPodCrashLooping", KSM | POD, "kubernetes: shop/web", "kubernetes-bad-version"),
    ("KubernetesPodNotHealthy", {"namespace": "shop", "pod": POD["pod"]}, "kubernetes: shop/web", "kubernetes-unavailable"),
    ("KubernetesContainerOomKiller", KSM | POD, "kubernetes: shop/web", "kubernetes-bad-version"),
    ("KubernetesDeploymentReplicasMismatch", KSM | {"namespace": "shop", "deployment": "web"}, "kubernetes: shop/web", "kubernetes-unavailable"),
    ("KubernetesStatefulsetDown", KSM | {"namespace": "shop", "statefulset": "db"}, "kubernetes: shop/statefulset/db", "kubernetes-statefulset"),
    ("KubeJobFailed", KSM | {"namespace": "shop", "job_name": "nightly-29391234", "condition": "true"}, "cron: cron job shop/nightly", "cronjob-rerun"),
    ("KubernetesJobFailed", {"namespace": "shop", "job_name": "nightly-29391234"}, "cron: cron job shop/nightly", "cronjob-rerun"),
    ("KubernetesCronjobFailing", KSM | {"namespace": "shop", "cronjob": "nightly"}, "cron: cron job shop/nightly", "cronjob-rerun"),
    ("KubeNodePressure", KSM | {"node": "node1", "condition": "DiskPressure"}, "nodes: node node1", "node-cordon"),
    ("KubernetesDiskPressure", KSM | {"node": "node1", "condition": "DiskPressure"}, "nodes: node node1", "node-cordon"),
    ("KubernetesMemoryPressure", KSM | {"node": "node1", "condition": "MemoryPressure"}, "nodes: node node1", "node-cordon"),
    ("NodeFilesystemAlmostOutOfSpace", NODE | ROOT_DISK, "nodes: disk / of web1:9100", "disk-cleanup"),
    ("NodeFilesystemAlmostOutOfSpace", NODE_IN_KUBERNETES | ROOT_DISK, "nodes: disk / of worker-1", "disk-cleanup"),
    ("NodeFilesystemSpaceFillingUp", NODE | ROOT_DISK, "nodes: disk / of web1:9100", "disk-cleanup"),
    ("HostOutOfDiskSpace", NODE | ROOT_DISK, "nodes: disk / of web1:9100", "disk-cleanup"),
    ("HostOutOfInodes", NODE | ROOT_DISK, "nodes: disk / of web1:9100", "disk-cleanup"),
    ("NodeFilesystemAlmostOutOfFiles", NODE | ROOT_DISK, "nodes: disk / of web1:9100", "disk-cleanup"),
    ("KubernetesNodeMemoryPressure", KSM | {"node": "node1", "condition": "MemoryPressure"}, "nodes: node node1", "node-cordon"),
    ("KubernetesNodeDiskPressure", KSM | {"node": "node1", "condition": "DiskPressure"}, "nodes: node node1", "node-cordon"),
    ("NodeMemoryHighUtilization", NODE, "nodes: memory of web1:9100", "memory-restart"),
    ("NodeMemoryHighUtilization", NODE_IN_KUBERNETES, "nodes: memory of worker-1", "memory-restart"),
    ("HostOutOfMemory", NODE, "nodes: memory of web1:9100", "memory-restart"),
    ("NodeSystemdServiceFailed", NODE | {"name": "nginx.service", "state": "failed", "type": "notify"}, "systemd: nginx.service on web1:9100", "systemd-unit"),
    ("HostSystemdServiceCrashed", NODE | {"name": "postgresql@15-main.service", "state": "failed", "type": "forking"}, "systemd: postgresql@15-main.service on web1:9100", ""),
    ("NodeSystemdServiceFailed", NODE | {"name": "ceph-mds@a.service", "state": "failed", "type": "simple"}, "systemd: ceph-mds@a.service on web1:9100", "systemd-start"),
    ("NodeSystemdServiceFailed", NODE | {"name": "ceph-osd@3.service", "state": "failed", "type": "simple"}, "systemd: ceph-osd@3.service on web1:9100", ""),
    ("NodeSystemdServiceFailed", NODE | {"name": "etcd.service", "state": "failed", "type": "notify"}, "systemd: etcd.service on web1:9100", ""),
    ("HostSystemdServiceCrashed", NODE | {"name": "nginx.service", "state": "failed", "type": "simple"}, "systemd: nginx.service on web1:9100", "systemd-unit"),
    ("NodeSystemdServiceFailed", NODE | {"name": "backup.service", "state": "failed", "type": "oneshot"}, "cron: job backup.service on web1:9100", "job-rerun"),
    ("HostSystemdServiceCrashed", NODE | {"name": "backup.service", "state": "failed", "type": "oneshot"}, "cron: job backup.service on web1:9100", "job-rerun"),
    ("ContainerKilled", CADVISOR, "containers: container shop on web1:8080", "container-killed"),
    ("ContainerHighMemoryUsage", {"instance": "web1:8080", "name": "shop"}, "containers: container shop on web1:8080", "container-memory"),
    ("RedisDown", {"job": "redis", "instance": "cache1:9121"}, "databases: redis on cache1:9121", "cache-down"),
    ("MemcachedDown", {"job": "memcached", "instance": "cache1:9150"}, "databases: memcached on cache1:9150", "cache-down"),
    ("PostgresqlDown", {"job": "postgres-exporter", "instance": "db1:9187"}, "databases: postgresql on db1:9187", "database-down"),
    ("MysqlDown", {"job": "mysqld", "instance": "db1:9104"}, "databases: mysql on db1:9104", "database-down"),
    ("MongodbDown", {"job": "mongodb", "instance": "db1:9216"}, "databases: mongodb on db1:9216", "database-down"),
    ("RedisOutOfConfiguredMaxmemory", {"job": "redis", "instance": "cache1:9121"}, "databases: redis on cache1:9121", ""),
    ("PostgresqlTooManyConnections", {"job": "postgres", "instance": "db1:9187"}, "databases: postgresql on db1:9187", ""),
    ("RabbitmqTooManyMessagesInQueue", {"queue": "mails"}, "queues: queue mails", "queue-backlog"),
    ("RabbitmqTooManyReadyMessages", {"queue": "mails"}, "queues: queue mails", "queue-backlog"),
    ("RabbitmqNoQueueConsumer", {"job": "rabbitmq", "instance": "mq1:15692", "vhost": "/", "queue": "mails"}, "queues: queue mails", "queue-without-consumers"),
    ("RabbitmqSlowQueueConsuming", {"queue": "mails"}, "queues: queue mails", "queue-backlog"),
    ("RabbitmqNoConsumer", {"job": "rabbitmq", "queue": "mails"}, "queues: queue mails", "queue-without-consumers"),
    ("RabbitmqTooManyConsumers", {"job": "rabbitmq", "queue": "mails"}, "queues: queue mails", ""),
    ("KafkaConsumersGroup", {"consumergroup": "orders"}, "queues: consumer group orders", "queue-backlog"),
    ("KafkaConsumerGroupLag", {"consumergroup": "orders"}, "queues: consumer group orders", "queue-backlog"),
    ("RedisDown", {"job": "redis", "instance": "redis://cache1:6379"}, "databases: redis on redis://cache1:6379", "cache-down"),
    ("KafkaConsumerGroupLagIncreasing", {"topic": "orders", "consumergroup": "orders"}, "queues: consumer group orders", "queue-backlog"),
    ("KafkaLagIsTooHigh", {"job": "integrations/kafka", "kafka_cluster": "a", "topic": "orders", "consumergroup": "orders"}, "queues: consumer group orders", "queue-backlog"),
    ("KafkaLagKeepsIncreasing", {"job": "integrations/kafka", "kafka_cluster": "a", "topic": "orders", "consumergroup": "orders"}, "queues: consumer group orders", "queue-backlog"),
    ("NodeFilesystemFilesFillingUp", NODE | ROOT_DISK, "nodes: disk / of web1:9100", "disk-cleanup"),
    ("CephNodeRootFilesystemFull", NODE | ROOT_DISK, "nodes: disk / of web1:9100", "disk-cleanup"),
    ("CertManagerCertificateExpiringSoon", {"namespace": "cert-manager", "exported_namespace": "shop", "name": "tls"}, "certificates: certificate shop/tls", "managed-certificate-renew"),
    ("CertManagerCertificateNotReady", {"namespace": "cert-manager", "exported_namespace": "shop", "name": "tls", "condition": "False"}, "certificates: certificate shop/tls", "managed-certificate-renew"),
    ("ArgocdServiceNotSynced", ARGO | {"namespace": "argocd"}, "gitops: application shop", "application-sync"),
    ("ArgoCdAppOutOfSync", ARGO | {"dest_server": "https://kubernetes.default.svc"}, "gitops: application shop", "application-sync"),
    ("ArgoAppOutOfSync", ARGO, "gitops: application shop", "application-sync"),
    ("ArgoCdAppUnhealthy", ARGO | {"health_status": "Degraded"}, "", ""),
    ("FluxKustomizationFailure", FLUX | {"customresource_kind": "Kustomization"}, "gitops: flux kustomization flux-system/apps", "flux-reconcile"),
    ("FluxHelmReleaseFailure", FLUX | {"customresource_kind": "HelmRelease"}, "gitops: flux helm release flux-system/apps", "flux-reconcile"),
    ("FluxSourceIssue", FLUX | {"customresource_kind": "GitRepository"}, "gitops: flux git repository flux-system/apps", "flux-reconcile"),
    ("FluxSourceIssue", FLUX | {"customresource_kind": "Bucket"}, "", ""),
    ("BlackboxProbeLowUptime", PROBE, "", ""),
    ("RedisMasterLinkDown", {"job": "redis", "instance": "cache1:9121"}, "databases: redis on cache1:9121", ""),
    ("BlackboxProbeFailed", {"job": "blackbox", "instance": "https://api.pay.com/status"}, "blackbox: public https://api.pay.com/status", "blackbox-public-address"),
    ("BlackboxProbeFailed", PROBE, "blackbox: https://shop.example/health", "blackbox-address"),
    ("BlackboxProbeHttpFailure", PROBE, "blackbox: https://shop.example/health", "blackbox-address"),
    ("BlackboxSslCertificateWillExpireSoon", PROBE, "certificates: certificate of https://shop.example/health", "certificate-renew"),
    ("BlackboxSslCertificateWillExpireVerySoon", PROBE, "certificates: certificate of https://shop.example/health", "certificate-renew"),
    ("BlackboxSslCertificateExpired", PROBE, "certificates: certificate of https://shop.example/health", "certificate-renew"),
    ("CertManagerCertExpirySoon", {"namespace": "cert-manager", "exported_namespace": "shop", "name": "tls"}, "certificates: certificate shop/tls", "managed-certificate-renew"),
    ("CertManagerCertNotReady", {"namespace": "cert-manager", "exported_namespace": "shop", "name": "tls", "condition": "True"}, "certificates: certificate shop/tls", "managed-certificate-renew"),
    ("TargetDown", {"job": "shop", "tier": "web", "service": "checkout", "instance": "web1:8000"}, "web: checkout on web1:8000", "web-instance"),
    ("ApacheDown", {"job": "apache", "instance": "web1:9117"}, "programs: apache on web1:9117", "program-restart"),
    ("NginxDown", {"job": "nginx", "instance": "web1:9113"}, "programs: nginx on web1:9113", "program-restart"),
    ("HaproxyDown", {"job": "haproxy", "instance": "lb1:9101"}, "programs: haproxy on lb1:9101", "program-restart"),
    ("VarnishDown", {"job": "varnish", "instance": "web1:9131"}, "programs: varnish on web1:9131", "program-restart"),
    ("SquidDown", {"job": "squid", "instance": "proxy1:9301"}, "programs: squid on proxy1:9301", "program-restart"),
    ("PostfixDown", {"job": "postfix", "instance": "mx1:9154"}, "programs: postfix on mx1:9154", "program-restart"),
    ("DovecotDown", {"job": "dovecot", "instance": "mx1:9166"}, "programs: dovecot on mx1:9166", "program-restart"),
    ("UnboundDown", {"job": "unbound", "instance": "ns1:9167"}, "programs: unbound on ns1:9167", "program-restart"),
    ("KeepalivedDown", {"job": "keepalived", "instance": "lb1:9165"}, "programs: keepalived on lb1:9165", "program-start"),
    ("FreeswitchDown", {"job": "freeswitch", "instance": "pbx1:9282"}, "programs: freeswitch on pbx1:9282", "program-start"),
    ("CouchdbNodeDown", {"job": "couchdb", "instance": "db1:9984"}, "programs: couchdb on db1:9984", "program-start"),
    ("SqlServerDown", {"job": "mssql", "instance": "db1:4000"}, "programs: mssql on db1:4000", "program-start"),
    ("ElasticsearchDown", {"job": "elasticsearch", "instance": "es1:9114"}, "programs: elasticsearch on es1:9114", "program-start"),
    ("RabbitmqDown", {"job": "rabbitmq", "instance": "mq1:9419"}, "programs: rabbitmq on mq1:9419", "program-quorum"),
    ("ZookeeperDown", {"job": "zookeeper", "instance": "mon1:9141", "zk_host": "zk1:2181"}, "programs: zookeeper on zk1:2181", "program-start"),
    ("ConsulUp", {"job": "consul", "instance": "c1:9107"}, "programs: consul on c1:9107", "program-quorum"),
    ("ConsulExporterQueryFailure", {"job": "consul", "instance": "c1:9107"}, "programs: consul on c1:9107", "program-quorum"),
    ("ClickhouseNodeDown", {"job": "clickhouse", "instance": "db1:9363"}, "programs: clickhouse at db1:9363", "program-start"),
    ("CephMgrPrometheusModuleInactive", {"job": "ceph", "instance": "ceph1:9283", "cluster": "a"}, "programs: ceph-mgr at ceph1:9283", "program-start"),
    ("OpentelemetryCollectorDown", {"job": "otel-collector", "instance": "mon1:8888"}, "programs: otel-collector at mon1:8888", "program-restart"),
    ("KubeletInstanceUnreachable", {"job": "kubelet", "instance": "10.0.0.4:10250", "node": "node1", "namespace": "kube-system", "service": "kubelet"}, "programs: kubelet at 10.0.0.4:10250", "program-restart"),
    ("HostClockNotSynchronising", NODE, "programs: clock of web1:9100", "program-restart"),
    ("NodeClockNotSynchronising", NODE, "programs: clock of web1:9100", "program-restart"),
    ("VeleroBackupFailure", {"job": "integrations/velero", "instance": "velero1:8085", "schedule": "nightly"}, "backups: backup nightly", "backup-rerun"),
    ("VeleroBackupFailure", {"job": "integrations/velero", "instance": "velero1:8085"}, "", ""),
    ("TargetDown", {"job": "etcd", "instance": "e1:2379"}, "programs: etcd at e1:2379", "program-quorum"),
    ("InstanceDown", {"job": "vault", "instance": "v1:8200"}, "programs: vault at v1:8200", "program-start"),
    ("PrometheusTargetMissing", NODE, "programs: exporter node at web1:9100", "program-restart"),
    ("PrometheusTargetMissingWithWarmupTime", {"job": "docker", "instance": "web1:9323"}, "programs: docker at web1:9323", "program-start"),
    # The exporter is away: of the database behind it nothing is said.
    ("TargetDown", {"job": "redis", "instance": "cache1:9121"}, "programs: exporter redis at cache1:9121", "program-restart"),
    # Without an instance it is any of a job's; pods, this machine and exporters' own names are left alone.
    ("TargetDown", {"job": "etcd", "namespace": "kube-system", "service": "etcd"}, "", ""),
    ("NginxDown", {"job": "nginx", "instance": "10.42.0.9:9113", "namespace": "shop", "pod": "web-0"}, "", ""),
    ("NginxDown", {"job": "nginx", "instance": "localhost:9113"}, "", ""),
    ("NginxDown", {"job": "nginx", "instance": "nginx-exporter:9113"}, "", ""),
    ("HaproxyServerDown", {"job": "haproxy", "instance": "lb1:9101", "backend": "web", "server": "web1"}, "", ""),
    ("KubeSchedulerInstanceUnreachable", {"job": "kube-scheduler", "instance": "10.0.0.4:10259", "namespace": "kube-system", "pod": "kube-scheduler-node1"}, "", ""),
    ("EtcdInsufficientMembers", {"job": "etcd"}, "", ""),
    # Nobody's: of what could be healed here, these name nothing.
    ("Watchdog", {"prometheus": "monitoring/kps-prometheus", "severity": "none"}, "", ""),
    ("KubeJobFailed", KSM | {"namespace": "shop", "job_name": "migrate"}, "", ""),
    ("KubePodCrashLooping", KSM | {"namespace": "ops", "pod": "agent-x2x4z"}, "", ""),
    # Without honor_labels, namespace and pod are kube-state-metrics' own.
    ("KubePodCrashLooping", KSM | {"exported_namespace": "shop", "exported_pod": POD["pod"], "exported_container": "app"}, "", ""),
    ("KubeDeploymentReplicasMismatch", KSM | {"exported_namespace": "shop", "deployment": "web"}, "", ""),
    ("KubeHpaMaxedOut", KSM | {"exported_namespace": "shop", "horizontalpodautoscaler": "web"}, "", ""),
    ("KubeJobFailed", KSM | {"exported_namespace": "shop", "job_name": "nightly-29391234"}, "", ""),
    # What no threshold here speaks of, or no step here helps with.
    ("KubernetesDeploymentGenerationMismatch", KSM | {"namespace": "shop", "deployment": "web"}, "", ""),
    ("KubeStatefulSetGenerationMismatch", KSM | {"namespace": "shop", "statefulset": "db"}, "", ""),
    ("KubernetesDaemonsetMisscheduled", KSM | {"namespace": "ops", "daemonset": "agent"}, "", ""),
    ("KubernetesHpaUnderutilized", HPA, "", ""),
    ("KubernetesHpaMetricsUnavailability", KSM | HPA | {"condition": "ScalingActive"}, "", ""),
    ("KubernetesCronjobTooLong", KSM | {"namespace": "shop", "cronjob": "nightly"}, "", ""),
    ("KubernetesCronjobSuspended", KSM | {"namespace": "shop", "cronjob": "nightly"}, "", ""),
    ("KubeNodeNotReady", KSM | {"node": "node1", "condition": "Ready"}, "", ""),
    ("KubeNodeReadinessFlapping", {"node": "node1"}, "", ""),
    ("KubernetesNodeNetworkUnavailable", KSM | {"node": "node1", "condition": "NetworkUnavailable"}, "", ""),
    ("HostMemoryIsUnderutilized", NODE, "", ""),
    ("HostFilesystemDeviceError", NODE | ROOT_DISK, "", ""),
    ("NodeSystemdServiceCrashlooping", NODE | {"name": "nginx.service"}, "", ""),
    # Where Kubernetes, Swarm or a network of containers says what the address means.
    ("RedisDown", {"job": "redis", "instance": "10.42.0.7:9121", "namespace": "shop", "pod": "cache-0", "container": "exporter"}, "", ""),
    ("TargetDown", WEB_IN_KUBERNETES, "", ""),
    ("ContainerKilled", CADVISOR | {"name": "shop_web.1.x8k2m0q9w7e5r3t1y6u4i2o0p"}, "", ""),
    ("ContainerKilled", CADVISOR | {"instance": "cadvisor:8080"}, "", ""),
    ("BlackboxProbeFailed", {"job": "blackbox", "instance": "http://web.shop.svc:8080/health"}, "", ""),
    ("NodeClockSkewDetected", NODE_IN_KUBERNETES, "", ""),
    ("KubeletPlegDurationHigh", {"node": "node1", "instance": "10.0.0.4:10250", "quantile": "0.99"}, "", ""),
    ("RabbitmqNodeDown", {}, "", ""),
    ("RabbitmqDeadLetterQueueFillingUp", {"job": "rabbitmq", "queue": "my-dead-letter-queue"}, "", ""),
    ("KafkaConsumerLag", {"cluster": "a", "group": "orders", "topic": "orders", "partition": "0"}, "", ""),
    ("ContainerAbsent", {}, "", ""),
    ("BlackboxConfigurationReloadFailure", {"job": "blackbox", "instance": "blackbox-exporter:9115"}, "", ""),
]  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_ready_rule_file_is_checked_tested_and_asks_first(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part("promtool", "prometheus")
    assert main(["check", str(file)]) == 0
    assert "warning" not in capsys.readouterr().out
    assert main(["test", str(LIBRARY / "tests" / file.name)]) == 0, capsys.readouterr().out
    assert {runbook.mode for runbook in rulebook(file).runbooks} == {Mode.APPROVE}
    assert "\n# When not to use it:" in file.read_text()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_runbook_is_seen_to_run_and_to_be_held(file: Path) -> None:
    """Not what is in the tests, which the tests themselves show, but that something is."""
    tests = yaml.safe_load((LIBRARY / "tests" / file.name).read_text())["tests"]
    expected = [expect for test in tests for expect in test["expect"]]
    assert any(expect.get("ran") for expect in expected)
    assert any(expect.get("held") == "approval" for expect in expected)
    assert any(expect.get("ran") == [] for expect in expected)
    assert any("promql" in test for test in tests)


def test_all_of_them_load_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *map(str, FILES)]) == 0
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_one_does_alone_it_does_beside_the_others(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part("promtool", "prometheus")
    text = (LIBRARY / "tests" / file.name).read_text()
    assert text.count(f"[../{file.name}]") == 1
    together = tmp_path / "together.yml"
    together.write_text(text.replace(f"[../{file.name}]", f"['{LIBRARY}/*.yml']"))
    assert main(["test", str(together)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(("name", "labels", "owner", "runbook"), ALERTS, ids=[row[0] for row in ALERTS])
def test_a_well_known_alert_finds_its_service_and_runbook(
    name: str, labels: dict[str, str], owner: str, runbook: str
) -> None:
    """With all files loaded, and with the one alone; no other file takes it for its own, so their order is no matter."""
    labels = {"severity": "warning", **labels, "alertname": name}
    claims = {file.stem: found for file in FILES if (found := found_by(rulebook(file), labels))}
    stem, _, service = owner.partition(": ")
    assert claims == ({stem: (service, runbook)} if owner else {})
    assert found_by(rulebook(*FILES), labels) == ((service, runbook) if owner else None)


PROGRAMS = yaml.safe_load((LIBRARY / "programs.yml").read_text())["services"]
CARE = {"restart": "program-restart", "start": "program-start", "quorum": "program-quorum"}


@pytest.mark.parametrize("entry", PROGRAMS, ids=lambda entry: entry["name"].partition(" {{")[0])
def test_every_program_of_the_table_is_reached_by_its_metric_or_its_port(entry: dict[str, Any]) -> None:
    """No other entry, and no other file, is before it."""
    given, name = entry["labels"], entry["name"]
    ports = next((re.findall(r"[0-9]+", one) for one in entry["match"] if one.startswith("instance=~")), ["9999"])
    for port in ports:
        labels = {"job": given["program"].removesuffix("-exporter"), "instance": f"web1:{port}"}
        if "zk_host" in name:
            labels["zk_host"] = "zk1:2181"
        labels["alertname"] = {"up": "TargetDown", "node_timex_sync_status": "NodeClockNotSynchronising"}.get(
            given["metric"], given["metric"]
        )
        if given["program"] == "solr":
            labels["base_url"] = "http://solr1:8983/solr"
        owner = name
        for label in ("instance", "zk_host", "base_url"):
            owner = owner.replace(f"{{{{ labels.{label} }}}}", labels.get(label, ""))
        assert found_by(rulebook(*FILES), labels) == (owner, CARE[given["care"]])
        # That a scrape fails is no word about what another exporter watches.
        if given["metric"] not in ("up", "node_timex_sync_status"):
            away = rulebook(*FILES).service_for({**labels, "alertname": "TargetDown"})
            assert away is None or away.name != owner


def test_at_least_forty_programs_are_in_the_table() -> None:
    watched = {entry["labels"]["program"] for entry in PROGRAMS if not entry["name"].startswith("exporter ")}
    assert len(watched) >= 40


WEB = {"tier": "web", "service": "shop", "instance": "web1:8000"}
QUEUE = {"namespace": "mq", "statefulset": "rabbit", "queue": "mails"}
# Labels that two files could take for their own, with the file whose they are.
CONTESTED = [
    (WEB | {"job": "shop"}, "web"),
    (WEB | {"job": "redis-web"}, "databases"),
    (WEB | {"job": "redis-web", "alertname": "RedisDown"}, "databases"),
    (WEB | PROBE, "blackbox"),
    (WEB | PROBE | {"alertname": "BlackboxSslCertificateExpired"}, "certificates"),
    (WEB | NODE, "nodes"),
    (WEB | NODE | ROOT_DISK, "nodes"),
    (WEB | NODE | {"name": "nginx.service", "type": "notify"}, "systemd"),
    (WEB | NODE | {"name": "backup.service", "type": "oneshot"}, "cron"),
    (WEB | CADVISOR, "containers"),
    (WEB | {"job": "docker", "name": "shop"}, "containers"),
    (WEB | {"exported_namespace": "shop", "name": "tls"}, "certificates"),
    (WEB | {"pod": "shop-0"}, ""),
    (WEB | {"queue": "mails"}, "queues"),
    (WEB | {"namespace": "shop", "deployment": "web"}, "kubernetes"),
    (QUEUE, "queues"),
    (QUEUE | {"alertname": "RabbitmqNoConsumer"}, "queues"),
    ({"namespace": "mq", "deployment": "readers", "consumergroup": "orders"}, "queues"),
    ({"namespace": "ops", "daemonset": "agent", "node": "node1"}, "kubernetes"),
    ({"job": "redis", "instance": "cache1:9121", "name": "redis.service", "type": "notify"}, "systemd"),
    ({"job": "redis", "instance": "10.42.0.7:9121", "namespace": "shop", "deployment": "cache"}, "kubernetes"),
    # A database in Kubernetes is for people: it is neither started over ssh nor restarted for what an exporter says.
    ({"alertname": "PostgresqlDown", "job": "postgres", "instance": "10.42.0.7:9187", "namespace": "shop", "statefulset": "db"}, ""),
]  # fmt: skip


def claimants(labels: dict[str, str]) -> list[str]:
    return [file.stem for file in FILES if rulebook(file).service_for(labels)]


@pytest.mark.parametrize(("labels", "owner"), CONTESTED)
def test_what_two_files_could_claim_is_one_files(labels: dict[str, str], owner: str) -> None:
    assert claimants(labels) == ([owner] if owner else [])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_the_tests_of_a_file_have_is_claimed_by_one_file_at_most(file: Path) -> None:
    tests = yaml.safe_load((LIBRARY / "tests" / file.name).read_text())["tests"]
    seen = [
        dict(re.findall(r'(\w+)="([^"]*)"', series["series"]))
        for test in tests
        for series in test.get("promql", {}).get("series", [])
    ]
    seen += [alert["labels"] | {"alertname": alert["alertname"]} for test in tests for alert in test.get("alerts", [])]
    assert seen
    assert [labels for labels in seen if len(claimants(labels)) > 1] == []


def test_the_clusters_of_debians_postgresql_are_started_but_those_that_people_start(tmp_path: Path) -> None:
    """Units as those of postgresql-common: the service runs nothing, and wants the clusters that start by themselves."""
    start = rulebook(LIBRARY / "databases.yml").targets["postgresql"].actions["start"].shell
    assert start is not None
    units = {
        "postgresql.service": "[Unit]\nWants=postgresql@15-main.service\n"
        "[Service]\nType=oneshot\nExecStart=/bin/true\nRemainAfterExit=on\n",
        "postgresql@.service": "[Unit]\nPartOf=postgresql.service\nBefore=postgresql.service\n"
        "[Service]\nExecStart=/bin/sleep infinity\n",
    }
    with RealSystemd(tmp_path, units) as systemd:

        def state(cluster: str) -> str:
            return systemd.inside("systemctl", "is-active", f"postgresql@{cluster}.service")

        systemd.inside("systemctl", "start", "postgresql.service", "postgresql@14-old.service")
        systemd.inside("systemctl", "kill", "--signal=KILL", "postgresql@14-old.service")
        # Until systemd itself would not start it again.
        for _ in range(8):
            systemd.inside("systemctl", "kill", "--signal=KILL", "postgresql@15-main.service")
            until(lambda: state("15-main") == "failed")
            systemd.inside("systemctl", "start", "postgresql.service")
        assert (state("15-main"), state("14-old")) == ("failed", "failed")
        systemd.inside("sh", "-c", start)
        assert (state("15-main"), state("14-old")) == ("active", "inactive")
        running = systemd.inside("systemctl", "show", "--property=MainPID", "postgresql@15-main.service")
        systemd.inside("sh", "-c", start)
        assert systemd.inside("systemctl", "show", "--property=MainPID", "postgresql@15-main.service") == running


def test_a_program_is_restarted_by_the_unit_that_the_machine_has_and_that_starts_by_itself(tmp_path: Path) -> None:
    restart = rulebook(LIBRARY / "programs.yml").targets["program"].actions["restart"].shell
    assert restart is not None
    run = "[Service]\nExecStart=/bin/sleep infinity\n"
    units = {
        "httpd.service": run,
        "theirs.service": run + "[Install]\nWantedBy=multi-user.target\n",
    }
    with RealSystemd(tmp_path, units) as systemd:

        def restarted(unit: str, other: str, check: str = "true") -> str:
            values = {"unit": unit, "other": other, "container": "none", "check": check}
            text = compile_template(restart, TemplateKind.SHELL).render(values)
            systemd.inside("sh", "-c", f"{text} || true")
            return systemd.inside("systemctl", "is-active", "httpd.service", "theirs.service")

        # Its first start has enabled every unit.
        systemd.inside("systemctl", "disable", "theirs.service")
        assert restarted("theirs.service", "theirs.service").split() == ["inactive", "inactive"]
        assert restarted("apache2.service", "httpd.service", "false").split() == ["inactive", "inactive"]
        assert restarted("apache2.service", "httpd.service").split() == ["active", "inactive"]
        running = systemd.inside("systemctl", "show", "--property=MainPID", "httpd.service")
        restarted("httpd.service", "httpd.service", "false")
        assert systemd.inside("systemctl", "show", "--property=MainPID", "httpd.service") == running


def until(true: Callable[[], bool], within: float = 120.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_every_alert_that_a_file_names_is_tried() -> None:
    tried = {(owner.partition(":")[0], name) for name, _, owner, _ in ALERTS}
    for file in FILES:
        head = " ".join(line.lstrip("# ") for line in file.read_text().partition("\nservices:")[0].splitlines())
        said = head.partition("For ")[2].partition(" Needs ")[0]
        named = {(file.stem, name) for name in re.findall(r"\b(?:[A-Z][a-z0-9]+){2,}\b", said)}
        assert named <= tried
        assert named or file.stem == "web"


def test_the_guide_names_every_file() -> None:
    assert re.findall(r"^\| \[(\S+)\]", (LIBRARY / "README.md").read_text(), re.MULTILINE) == [f.name for f in FILES]


@cache
def rulebook(*files: Path) -> Rulebook:
    return load_rules(files, service_label="service")[0]


def found_by(rules: Rulebook, labels: dict[str, str]) -> tuple[str, str] | None:
    """The service that owns an alert, and its runbook when it has failed."""
    service = rules.service_for(labels)
    if service is None:
        return None
    runbooks = rules.runbooks_for(merged_labels(service, labels))
    return service.name, next((runbook.name for runbook in runbooks if Health.FAILED in runbook.when), "")


HOSTS = [
    ("nodes", NODE | ROOT_DISK, "root@web1"),
    ("nodes", NODE | ROOT_DISK | {"instance": "[2001:db8::7]:9100"}, "root@2001:db8::7"),
    ("systemd", NODE | {"name": "nginx.service", "type": "notify", "instance": "http://web1:9100"}, "root@web1"),
    ("databases", {"job": "redis", "instance": "redis://ada:x@cache1:6379"}, "root@cache1"),
    ("databases", {"job": "postgres", "instance": "postgresql://db1:5432/shop"}, "root@db1"),
    ("blackbox", {"job": "blackbox", "instance": "http://[fd00::7]:8080/health"}, "root@fd00::7"),
    ("containers", CADVISOR, "ssh://root@web1"),
    ("containers", CADVISOR | {"instance": "[2001:db8::7]:8080"}, "ssh://root@[2001:db8::7]"),
    # What names no host is nobody's, rather than that of a part of it.
    ("databases", {"job": "mongodb", "instance": "mongodb://a:27017,b:27017"}, None),
    ("databases", {"job": "redis", "instance": "unix:///run/redis.sock"}, None),
]


@pytest.mark.parametrize(("file", "labels", "host"), HOSTS)
def test_the_machine_is_the_host_of_the_address(file: str, labels: dict[str, str], host: str | None) -> None:
    rules = rulebook(LIBRARY / f"{file}.yml")
    if host is None:
        assert rules.service_for(labels) is None
        assert "names no host" in rules.refusal_for(labels)
        return
    service = rules.service_for(labels)
    assert service is not None
    assert service.target is not None
    context = {"labels": LabelView(merged_labels(service, labels))}
    assert compile_template(service.target.params["host"], TemplateKind.TEXT).render(context) == host

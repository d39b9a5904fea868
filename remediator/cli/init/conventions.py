"""A table of what widely used metrics mean: what their series describe, and which values are trouble.

The names are those of the Prometheus client libraries' HTTP middlewares, Micrometer, OpenTelemetry's semantic
conventions for HTTP servers, kube-state-metrics, cAdvisor, node exporter and blackbox exporter.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from remediator.model.health import Comparison
from remediator.rules.promql_words import written_label

SERVICE_LABELS = ("service", "service_name", "app", "app_kubernetes_io_name", "application", "job")
"""Labels that may name a service, the likeliest first. Prometheus adds `job` to every series that it scrapes."""
STATUS_LABELS = ("code", "status", "status_code", "http_response_status_code", "http_status_code")
"""Labels that hold the status of an HTTP response."""


class SeriesKind(StrEnum):
    """What a series describes, which decides how it names its service."""

    SERVICE = "service"
    DEPLOYMENT = "deployment"
    CONTAINER = "container"
    MACHINE = "machine"
    PROBE = "probe"
    UNIT = "unit"


IDENTITY: dict[SeriesKind, tuple[str, ...]] = {
    SeriesKind.SERVICE: ("<service>",),
    SeriesKind.DEPLOYMENT: ("namespace", "deployment"),
    SeriesKind.CONTAINER: ("name",),
    SeriesKind.MACHINE: ("instance",),
    SeriesKind.PROBE: ("instance",),
    # A machine has many units. A unit that has a service's name belongs to it; other units make no service.
    SeriesKind.UNIT: (),
}
"""The labels that identify one thing of each kind. Their values name the service."""


@dataclass(frozen=True)
class Convention:
    """One question about a service that a metric answers.

    `metrics` are regular expressions of metric names, and each must exist. Each name that matches the first one
    is `<metric>` in `expr`. Other marks in `expr` are `<service>`, the service label, and `<errors>`, the rate of the
    metric's series with a 5xx status. With `<errors>`, metrics without a status label are skipped.
    Only the first convention that answers a service's question is used for it. `for_` is in seconds.
    """

    name: str
    question: str
    kind: SeriesKind
    source: str
    metrics: tuple[str, ...]
    expr: str
    degraded: Comparison | None
    failed: Comparison
    for_: float
    unit: str
    meaning: str


# Without traffic the value is 0: NaN would hide the rest of the service's health.
_ERROR_RATIO = """\
(
  sum by (<service>) (<errors>)
  or 0 * sum by (<service>) (rate(<metric>[5m]))
)
/ clamp_min(sum by (<service>) (rate(<metric>[5m])), 0.1)
"""
_LATENCY = """\
histogram_quantile(0.95, sum by (<service>, le) (rate(<metric>[5m]))) >= 0
or 0 * sum by (<service>) (rate(<metric>{le="+Inf"}[5m]))
"""
_ERRORS_MEANING = "responses with a status of 5xx, of all; with less than a request in 10 s, errors count less"
_POD = "([a-z0-9.-]+)-[a-z0-9]{6,10}-[a-z0-9]{5}"
"""Pod name of a deployment: the deployment's name, a hash of its template, five letters."""
_DISKLESS = "tmpfs|ramfs|overlay|squashfs|iso9660|erofs"


def _of_histogram(source: str, errors: str, latency: str, metric: str) -> tuple[Convention, Convention]:
    """The conventions of a histogram of HTTP response times that has a status label."""
    return (
        Convention(
            name=errors,
            question="errors",
            kind=SeriesKind.SERVICE,
            source=f"The HTTP server's histogram ({source})",
            metrics=(f"{metric}_count",),
            expr=_ERROR_RATIO,
            degraded=Comparison(">=", 0.05),
            failed=Comparison(">", 0.1),
            for_=60,
            unit="ratio",
            meaning=_ERRORS_MEANING,
        ),
        Convention(
            name=latency,
            question="latency",
            kind=SeriesKind.SERVICE,
            source=f"The HTTP server's histogram ({source})",
            metrics=(f"{metric}_bucket",),
            expr=_LATENCY,
            degraded=Comparison(">", 1),
            failed=Comparison(">", 5),
            for_=120,
            unit="seconds",
            meaning="the time within which 95% of the requests are answered",
        ),
    )


CONVENTIONS = (
    Convention(
        name="instances_up",
        question="up",
        kind=SeriesKind.SERVICE,
        source="Prometheus' own scrapes",
        metrics=("up",),
        expr="avg by (<service>) (<metric>)\n",
        degraded=Comparison("<", 1),
        failed=Comparison("<", 0.5),
        for_=60,
        unit="ratio",
        meaning="the share of a service's instances that answer scrapes",
    ),
    Convention(
        name="error_ratio",
        question="errors",
        kind=SeriesKind.SERVICE,
        source="The HTTP server's counter",
        metrics=("(.+_)?http_requests_total",),
        expr=_ERROR_RATIO,
        degraded=Comparison(">=", 0.05),
        failed=Comparison(">", 0.1),
        for_=60,
        unit="ratio",
        meaning=_ERRORS_MEANING,
    ),
    *_of_histogram("client libraries", "response_error_ratio", "latency_p95", "(.+_)?http_request_duration_seconds"),
    *_of_histogram("Micrometer", "micrometer_error_ratio", "micrometer_latency_p95", "http_server_requests_seconds"),
    *_of_histogram("OpenTelemetry", "otel_error_ratio", "otel_latency_p95", "http_server_request_duration_seconds"),
    Convention(
        name="replicas_unavailable",
        question="replicas",
        kind=SeriesKind.DEPLOYMENT,
        source="kube-state-metrics",
        metrics=("kube_deployment_status_replicas_unavailable", "kube_deployment_spec_replicas"),
        expr="""\
label_replace(
  max by (namespace, deployment) (<metric>)
  / clamp_min(max by (namespace, deployment) (kube_deployment_spec_replicas), 1),
  "<service>", "$1", "deployment", "(.+)"
)
""",
        degraded=Comparison(">", 0),
        failed=Comparison(">=", 0.5),
        for_=300,
        unit="ratio",
        meaning="the share of a deployment's replicas that are missing; 5m is longer than an ordinary rollout takes",
    ),
    Convention(
        name="pod_memory",
        question="memory",
        kind=SeriesKind.DEPLOYMENT,
        source="cAdvisor",
        metrics=("container_memory_working_set_bytes", "container_spec_memory_limit_bytes"),
        expr=f"""\
max by (namespace, deployment, <service>) (
  label_replace(
    label_replace(
      <metric>{{container!="", pod=~"{_POD}"}}
      / (container_spec_memory_limit_bytes{{container!="", pod=~"{_POD}"}} > 0),
      "deployment", "$1", "pod", "{_POD}"
    ),
    "<service>", "$1", "pod", "{_POD}"
  )
)
""",
        degraded=Comparison(">", 0.9),
        failed=Comparison(">", 0.97),
        for_=300,
        unit="ratio",
        meaning="the working set of a deployment's fullest container, of its memory limit: at 1 the kernel ends it",
    ),
    Convention(
        name="container_memory",
        question="memory",
        kind=SeriesKind.CONTAINER,
        source="cAdvisor",
        metrics=("container_memory_working_set_bytes", "container_spec_memory_limit_bytes"),
        expr="""\
label_replace(
  max by (name) (
    <metric>{name!="", pod=""}
    / (container_spec_memory_limit_bytes{name!="", pod=""} > 0)
  ),
  "<service>", "$1", "name", "(.+)"
)
""",
        degraded=Comparison(">", 0.9),
        failed=Comparison(">", 0.97),
        for_=300,
        unit="ratio",
        meaning="the working set of a container, of its memory limit: at 1 the kernel ends it",
    ),
    Convention(
        name="unit_failed",
        question="unit",
        kind=SeriesKind.UNIT,
        source="Node exporter's systemd collector",
        metrics=("node_systemd_unit_state",),
        expr="""\
max by (<service>, host) (
  label_replace(
    label_replace(
      <metric>{state="failed", name=~".+[.]service"},
      "host", "$1", "instance", "(.+?)(:[0-9]+)?"
    ),
    "<service>", "$1", "name", "(.+)[.]service"
  )
)
""",
        degraded=None,
        failed=Comparison(">", 0),
        for_=60,
        unit="",
        meaning="1 while systemd calls the service's unit failed",
    ),
    Convention(
        name="disk_free",
        question="disk",
        kind=SeriesKind.MACHINE,
        source="Node exporter",
        metrics=("node_filesystem_avail_bytes", "node_filesystem_size_bytes"),
        expr=f"""\
min by (instance, mountpoint) (
  <metric>{{fstype!~"{_DISKLESS}"}}
  / (node_filesystem_size_bytes{{fstype!~"{_DISKLESS}"}} > 0)
)
""",
        degraded=Comparison("<", 0.1),
        failed=Comparison("<", 0.03),
        for_=300,
        unit="ratio",
        meaning="the share of a machine's fullest file system that is free",
    ),
    Convention(
        name="memory_available",
        question="memory",
        kind=SeriesKind.MACHINE,
        source="Node exporter",
        metrics=("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"),
        expr="""\
min by (instance) (<metric> / node_memory_MemTotal_bytes)
""",
        degraded=Comparison("<", 0.1),
        failed=Comparison("<", 0.03),
        for_=300,
        unit="ratio",
        meaning="the share of a machine's memory that programs can still have",
    ),
    Convention(
        name="probe_success",
        question="probe",
        kind=SeriesKind.PROBE,
        source="Blackbox exporter",
        metrics=("probe_success",),
        expr="min by (instance, <service>) (<metric>)\n",
        degraded=None,
        failed=Comparison("<", 1),
        for_=60,
        unit="",
        meaning="1 while the probe of an address succeeds",
    ),
)


def expression(
    convention: Convention, metric: str, label: str, statuses: tuple[str, ...] = (), *, namespaced: bool = False
) -> str:
    """The convention's PromQL for a metric, a service label and the metric's status labels. Ends with a line break.

    With `namespaced` services of one name in several namespaces are kept apart.
    """
    errors = " or ".join(f'rate({metric}{{{status}=~"5.."}}[5m])' for status in statuses)
    written = written_label(label)
    # As an argument it stands in quotes whatever it is.
    quoted = written if written.startswith('"') else f'"{label}"'
    marks = {'"<service>"': quoted, "<service>": written, "<metric>": metric, "<errors>": errors}
    text = convention.expr
    if namespaced:
        text = text.replace("by (<service>", "by (namespace, <service>")
    for mark, value in marks.items():
        text = text.replace(mark, value)
    return text

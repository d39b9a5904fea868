"""Every metric that remediator exports about itself, with name, help, labels and buckets.

Names and units follow Prometheus' conventions. Label values are bounded: gates, outcomes and verdicts are enumerations;
services, runbooks, thresholds and actions come from rule files. Each `Metrics` has its own registry, so that a process
can hold several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from remediator import __version__

# `_created` series would double the number of series in the text format, and `resets()` tells the same.
disable_created_metrics()  # type: ignore[no-untyped-call]

_QUERY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STEP = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_RECOVERY = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0)
_CYCLE = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class StateSet(Collector):
    """A gauge that is 1 for the present state of each thing and 0 for the others. It is computed at each scrape.

    It writes its own lines, because prometheus_client needs most of a second for 10,000 things of five states.
    """

    def __init__(self, name: str, text: str, thing: str, state: str) -> None:
        self.name, self.text, self.labels = name, text, (thing, state)
        self._states: tuple[str, ...] = ()
        self._source: Callable[[], Iterable[tuple[str, str]]] = tuple

    def follow(self, states: Iterable[str], source: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """Export what `source` returns at each scrape: the name of every thing, once, with its state."""
        self._states = tuple(states)
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """The metric for prometheus_client's registry."""
        family = GaugeMetricFamily(self.name, self.text, labels=self.labels)
        for thing, current in self._source():
            for state in self._states:
                family.add_metric((thing, state), float(state == current))
        yield family

    def render(self) -> str:
        """The metric in the text exposition format."""
        thing, state = self.labels
        sample = f'{self.name}{{{state}="%s",{thing}="\0"}} %s\n'
        around = {
            current: "".join(sample % (name, float(name == current)) for name in self._states).split("\0")
            for current in self._states
        }
        lines = [_escaped(name).join(around[current]) for name, current in self._source()]
        return f"# HELP {self.name} {self.text}\n# TYPE {self.name} gauge\n" + "".join(lines)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class Metrics:
    """The metrics of one running remediator. Each part updates what it measures, and `notify.metrics` counts the journal."""

    def __init__(self) -> None:
        self._quick = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"remediator_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"remediator_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"remediator_{name}", text, labels, registry=registry, buckets=buckets)

        self.build_info = gauge("build_info", "A constant 1, labelled with the version.", "version")
        self.build_info.labels(__version__).set(1)

        self.leads = gauge("leads", "Whether this process leads: decides, runs commands and tells.")
        self.leader = gauge("leader_info", "A constant 1, labelled with the name of the process that leads.", "leader")
        self.terms = counter("terms_total", "Times this process has begun to lead.")
        self.clock_skew = gauge(
            "clock_skew_seconds", "By how much the clock gone by is ahead of the machine's; it catches up slowly."
        )

        self.notifications = counter(
            "notifications_total",
            "Webhook requests by result: accepted, unavailable, or why they were rejected.",
            "result",
        )
        self.alerts = counter(
            "alerts_total",
            "Alerts by what first became of them, counted when that is committed: by the leader, or at once by the process"
            " that took them in where nothing is to be decided.",
            "disposition",
        )
        self.accepted = counter(
            "alerts_accepted_total",
            "Alerts taken in, counted by the process that did when they are committed, before anything is decided.",
        )
        self.undecided = gauge(
            "alerts_undecided",
            "Alerts in the store that have been undecided for longer than a minute, as the leader finds each minute.",
        )
        self.unseen_alerts = counter(
            "unseen_alerts_total",
            "Alerts that only say that their sender cannot see, by the reason it gives.",
            "reason",
        )
        self.truncated = counter("truncated_alerts_total", "Alerts that senders left out of notifications.")
        self.unreadable = counter(
            "unreadable_alerts_total", "Alerts of notifications that could not be read, while others could."
        )

        self.queries = counter("queries_total", "PromQL queries by what came of them.", "result")
        self.query_duration = histogram("query_duration_seconds", "How long PromQL queries took.", _QUERY)
        self.evaluations = counter(
            "evaluations_total", "Evaluations of a threshold by what was seen.", "threshold", "sight"
        )
        self.evaluation_duration = histogram(
            "evaluation_duration_seconds", "How long one round of evaluating thresholds took.", _QUERY
        )
        self.services_left_out = gauge(
            "templated_services_left_out", "Templated services that series name and that there is no room for."
        )
        self.service_health = StateSet(
            "remediator_service_health", "1 for the health a service has, 0 for the others.", "service", "health"
        )

        self.cycle_duration = histogram("cycle_duration_seconds", "How long one cycle of decisions took.", _CYCLE)
        self.incidents_open = gauge("incidents_open", "Incidents that are open now.")
        self.holds = counter("holds_total", "Times a gate began to hold an incident or an alert.", "gate")
        self.steps = counter("steps_total", "Step runs by outcome.", "runbook", "action", "outcome")
        self.step_duration = histogram("step_duration_seconds", "How long step runs took.", _STEP, "action")
        self.heals = counter(
            "heals_total",
            "Incidents closed, by verdict; action is the last one run, or none.",
            "service",
            "runbook",
            "action",
            "verdict",
        )
        self.recovery_duration = histogram(
            "recovery_duration_seconds", "From opening to closing of incidents that recovered.", _RECOVERY, "runbook"
        )

        self.alertmanager_requests = counter(
            "alertmanager_requests_total", "Requests to Alertmanager by what for and result.", "operation", "result"
        )
        self.reconciled = counter(
            "reconciled_alerts_total", "Alerts taken in by comparison, as no notification had told of it.", "status"
        )
        self.unpaged_alerts = gauge(
            "unpaged_alerts", "Firing alerts that no receiver of Alertmanager but remediator's gets."
        )
        self.pages_firing = gauge("pages_firing", "Alerts to people that fire in Alertmanager now.")

        self.announcer_lag = gauge(
            "announcer_lag_entries", "Journal entries an announcer has not told yet.", "announcer"
        )
        self.announcer_failures = counter("announcer_failures_total", "Failed attempts to announce.", "announcer")
        self.announcer_dropped = counter(
            "announcer_dropped_total", "Journal entries an announcer gave up, as repeating cannot help.", "announcer"
        )
        self.reload_successful = gauge(
            "config_last_reload_successful", "Whether the last load of config and rules succeeded."
        )
        self.reload_timestamp = gauge(
            "config_last_reload_success_timestamp_seconds", "When config and rules were last loaded successfully."
        )

        self.registry = CollectorRegistry()
        self.registry.register(self._quick)
        self.registry.register(self.service_health)

    def leader_seen(self, name: str) -> None:
        """Record the name of the process that leads."""
        self.leader.clear()
        self.leader.labels(name).set(1)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """The answer to a scrape and its content type. `accept` is the request's header.

        With 10,000 services this takes 30 ms, where prometheus_client's own encoding of the registry takes 700 ms.
        """
        encode, content_type = choose_encoder(accept)
        body = encode(self._quick)
        end = b"# EOF\n" if body.endswith(b"# EOF\n") else b""
        states = self.service_health.render().encode(errors="replace")
        return body.removesuffix(end) + states + end, content_type

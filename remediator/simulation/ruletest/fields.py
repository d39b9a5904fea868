"""The keys of test files, as typed structs. `loader` reads them.

Editors show the docstrings and descriptions of this module. Times count from the beginning of a test.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from remediator.config.maintenance import MaintenanceDoc
from remediator.config.scalars import Scalar, one_of
from remediator.config.settings import ConfigLimits, Global
from remediator.model.field_types import SCALAR_OR_LIST, Duration, JudgedHealth, Name, PositiveDuration, PositiveInteger
from remediator.model.health import Health
from remediator.model.incident import Verdict
from remediator.model.matcher import Matcher
from remediator.simulation.virtual_loop import START


class Act(StrEnum):
    """What somebody does, or what happens to remediator itself."""

    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"
    DENY = "deny"
    DISMISS = "dismiss"
    HEAL = "heal"
    CRASH = "crash"
    START = "start"
    SILENCE = "silence"
    EXPIRE = "expire"
    PROMETHEUS_DOWN = "prometheus_down"
    PROMETHEUS_UP = "prometheus_up"


class Unclosed(StrEnum):
    """What is said of a service's last incident that is no verdict: it is open, or there was none."""

    OPEN = "open"
    NONE = "none"


Ending = Annotated[str, one_of(*Verdict, *Unclosed)]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


Number = Annotated[float, Scalar("a number", _number, text=False, schema={"type": "number"})]


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time such as 2024-02-29T22:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


Moment = Annotated[
    float, Scalar("a time", _moment, remedy="write it as in RFC 3339, with its zone", schema={"type": "string"})
]


class ValuesDoc(msgspec.Struct, frozen=True):
    """What a query answers over time, for one series: `_` and `stale` mean that its answer does not hold the series."""

    hints: ClassVar[dict[str, str]] = {"series": "write threshold: (or expr:) and service: (or labels:)"}
    values: Annotated[str, Meta(description="In promtool's notation: '0+0.02x10 _x3 stale'. The last value stays.")]
    threshold: Annotated[Name | None, Meta(description="The threshold whose expression it is.")] = None
    expr: Annotated[
        str | None, Meta(description="Or the expression as it stands in the rule file: of a guard, or of a count.")
    ] = None
    service: Annotated[str, Meta(description="The service; short for the service label among the labels.")] = ""
    labels: Annotated[dict[Name, str], Meta(description="The labels of the series.")] = {}
    interval: Annotated[PositiveDuration | None, Meta(description="From one value to the next.")] = None


class SeriesDoc(msgspec.Struct, frozen=True):
    """A series as Prometheus scrapes it."""

    series: Annotated[str, Meta(description='Such as \'up{job="shop", instance="a"}\'.')]
    values: Annotated[str, Meta(description="In promtool's notation.")]


class PromqlDoc(msgspec.Struct, frozen=True):
    """Series from which the real PromQL engine computes what the thresholds' expressions answer; needs promtool."""

    series: Annotated[tuple[SeriesDoc, ...], Meta(description="The series, as Prometheus scrapes them.")]
    interval: Annotated[PositiveDuration | None, Meta(description="From one value to the next.")] = None


class AlertDoc(msgspec.Struct, frozen=True):
    """An alert from Alertmanager."""

    hints: ClassVar[dict[str, str]] = {"at": "write fires: and resolves:", "name": "write alertname:"}
    alertname: Annotated[Name, Meta(description="The alert's name.")]
    fires: Annotated[Duration, Meta(description="When it arrives.")] = 0.0
    resolves: Annotated[Duration | None, Meta(description="When it is resolved; it goes on firing otherwise.")] = None
    service: Annotated[str, Meta(description="The service; short for the service label among the labels.")] = ""
    labels: Annotated[dict[Name, str], Meta(description="Its further labels.")] = {}
    annotations: Annotated[dict[Name, str], Meta(description="Its annotations.")] = {}


class ActDoc(msgspec.Struct, frozen=True):
    """Something done by an operator, or happening to remediator or Prometheus."""

    at: Annotated[Duration, Meta(description="When.")]
    do: Annotated[Act, Meta(description="What.")]
    service: Annotated[str, Meta(description="Which service.")] = ""
    match: Annotated[
        tuple[Matcher, ...], Meta(description="Which services to pause, or alerts to silence in Alertmanager.")
    ] = ()
    for_: Annotated[PositiveDuration, Meta(description="How long, for pause and silence.")] = 3600.0
    force: Annotated[bool, Meta(description="For heal: override cooldown, breaker and mode.")] = False
    author: Annotated[str, Meta(description="Who does it.")] = "an operator"
    comment: Annotated[str, Meta(description="Why.")] = ""


class CommandDoc(msgspec.Struct, frozen=True):
    """What a command does. Of several that fit, the first counts that is not used up; one that none fits takes a second,
    exits with 0 and changes nothing."""

    call: Annotated[str, Meta(description="The command as one would type it; * stands for anything.")]
    exit_code: Annotated[
        int, Meta(description="How it exits, or minus the signal that ends it; for http the status of the answer.")
    ] = 0
    output: Annotated[str, Meta(description="What it prints.")] = ""
    takes: Annotated[Duration, Meta(description="How long it runs.")] = 1.0
    hangs: Annotated[bool, Meta(description="It never ends by itself.")] = False
    times: Annotated[
        PositiveInteger | None, Meta(description="For how many calls; for all that come unless given.")
    ] = None
    then: Annotated[tuple[ValuesDoc, ...], Meta(description="What queries answer from its end on.")] = ()


class AnnotationDoc(msgspec.Struct, frozen=True):
    """An annotation in Grafana."""

    text: Annotated[str, Meta(description="Its text, without markup; * stands for anything.")] = "*"
    tags: Annotated[tuple[str, ...], Meta(description="Tags that are among its own.")] = ()


class ExpectDoc(msgspec.Struct, frozen=True):
    """The expected state at a time. Keys that are not given are not compared."""

    hints: ClassVar[dict[str, str]] = {"gate": "write held:", "alerts": "write pages:, for alerts to people"}
    at: Annotated[Duration, Meta(description="When.")]
    service: Annotated[str, Meta(description="Of which service; the only one of the test unless given.")] = ""
    health: Annotated[Health | None, Meta(description="Its health.")] = None
    held: Annotated[Name | None, Meta(description="The gate that holds it, or none.")] = None
    decision: Annotated[str | None, Meta(description="The sentence of the decision; * stands for anything.")] = None
    ran: Annotated[
        tuple[str | tuple[str, ...], ...] | None,
        Meta(
            description="The commands of all services since the expectation before that says so: each as one would type"
            " it, or as a list of its arguments."
        ),
    ] = None
    verdict: Annotated[
        Ending | None, Meta(description="How its last incident ended; or open, or none if it had none.")
    ] = None
    annotation: Annotated[AnnotationDoc | None, Meta(description="An annotation there is of the service.")] = None
    metrics: Annotated[
        dict[str, Number],
        Meta(description="remediator's own metrics: 'name{label=\"value\"}' and the sum of what fits."),
    ] = {}
    pages: Annotated[
        tuple[str, ...] | None, SCALAR_OR_LIST, Meta(description="The alerts to people that fire, by alertname.")
    ] = None


class RuleTestDoc(msgspec.Struct, frozen=True):
    """One story, and what is expected of it."""

    name: Annotated[Name, Meta(description="What it shows, in a few words.")]
    expect: Annotated[tuple[ExpectDoc, ...], Meta(description="How things are to be, and when.")]
    interval: Annotated[
        PositiveDuration | None, Meta(description="From one value to the next; the file's own unless given.")
    ] = None
    starts: Annotated[Moment, Meta(description="When it begins, for maintenance windows: 2024-02-29T22:00:00Z.")] = (
        START
    )
    values: Annotated[tuple[ValuesDoc, ...], Meta(description="What queries answer.")] = ()
    promql: Annotated[
        PromqlDoc | None, Meta(description="Series from which queries are answered by the real PromQL.")
    ] = None
    alerts: Annotated[tuple[AlertDoc, ...], Meta(description="Alerts from Alertmanager.")] = ()
    acts: Annotated[tuple[ActDoc, ...], Meta(description="What people do, and what breaks.")] = ()
    commands: Annotated[tuple[CommandDoc, ...], Meta(description="What commands do.")] = ()


class RuleTestsDoc(msgspec.Struct, frozen=True):
    """A test file of remediator's rules. `global`, `limits`, `severity` and `maintenance` are as in the config."""

    hints: ClassVar[dict[str, str]] = {"evaluation_interval": "write it under global:"}
    rule_files: Annotated[
        tuple[str, ...], SCALAR_OR_LIST, Meta(description="The rule files, beside this file; * and ? fit.")
    ]
    tests: Annotated[tuple[RuleTestDoc, ...], Meta(description="The stories, each by itself.")]
    interval: Annotated[PositiveDuration, Meta(description="From one value to the next.")] = 60.0
    global_: Global = Global()
    limits: ConfigLimits = ConfigLimits()
    maintenance: Annotated[tuple[MaintenanceDoc, ...], Meta(description="Times at which services are left alone.")] = ()
    severity: Annotated[
        dict[str, JudgedHealth],
        Meta(description="What an alert's severity says of a service that no threshold judges."),
    ] = {}

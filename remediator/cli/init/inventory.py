"""Makes services of series: their names, their thresholds, and how they may be reached. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from remediator.cli.init.conventions import IDENTITY, SeriesKind
from remediator.cli.init.survey_result import QuestionResult, Survey
from remediator.template.compile import templated

TO_BE_WRITTEN = "to_be_written"
"""The target of services for which no series tells how to reach them."""
_LONGEST = 200
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


@dataclass
class DraftedService:
    """A service of the draft. Without `match` it owns what has its name in the service label.

    `judged` maps each question to the threshold that answers it. `target` is empty where a command hardly helps.
    `why` names the source of the target.
    """

    name: str
    kind: SeriesKind
    match: Mapping[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    judged: dict[str, str] = field(default_factory=dict)
    target: str = ""
    params: dict[str, str] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class Inventory:
    """The services, those with `match` first; the question results that judge any of them; names that are unusable."""

    services: tuple[DraftedService, ...]
    results: tuple[QuestionResult, ...]
    unusable: tuple[str, ...] = ()
    monitors: tuple[str, ...] = ()
    """Services that are left out: monitoring itself, and exporters."""


def take_inventory(survey: Survey) -> Inventory:
    """Services of what was seen. What is seen of a thing with the name of a service is seen of that service."""
    named: dict[tuple[str, str], DraftedService] = {}
    others: dict[str, DraftedService] = {}
    names, unusable, monitors = set[str](), set[str](), set[str]()
    split = _split(survey)
    ambiguous = _ambiguous(survey)
    for result in survey.results:
        convention = result.question.convention
        kind = convention.kind
        for labels in result.series:
            identity = _identity(labels, kind, survey.label)
            name = "/".join(identity.values())
            if kind is SeriesKind.SERVICE and name in survey.monitors:
                monitors.add(name)
                continue
            if (IDENTITY[kind] and not identity) or not all(map(_usable, identity.values())):
                unusable |= {name} if name else set()
                continue
            alias, namespace = _alias(labels, kind, survey.label), labels.get("namespace", "")
            service = named.get((namespace, alias)) or (named.get(("", alias)) if alias not in split else None)
            if service is not None and kind is SeriesKind.DEPLOYMENT and service.name in ambiguous:
                service.why = "deployments of several namespaces have its name"
                service = None
            if service is None and kind is SeriesKind.SERVICE:
                if not _usable(namespace or "-"):
                    unusable.add(f"{namespace}/{name}")
                    continue
                service = DraftedService(name, kind, target=TO_BE_WRITTEN)
                if name in split:
                    service.name = f"{namespace}/{name}" if namespace else name
                    service.match = {"namespace": namespace, survey.label: name}
                if service.name in names:
                    unusable.add(service.name)
                    continue
                names.add(service.name)
                named[namespace, name] = service
            elif service is None and name and name not in names:
                other = others.setdefault(name, DraftedService(name, kind, identity))
                service = other if other.match == identity else None
            if service is None:
                continue
            service.judged.setdefault(convention.question, result.question.name)
            _reach(service, kind, labels, convention.source)
    services = (
        *sorted(others.values(), key=lambda service: (service.kind, service.name)),
        *sorted(named.values(), key=lambda service: service.name),
    )
    judging = {name for service in services for name in service.judged.values()}
    kept = tuple(result for result in survey.results if result.question.name in judging)
    return Inventory(services, kept, tuple(sorted(unusable)), tuple(sorted(monitors)))


def _split(survey: Survey) -> frozenset[str]:
    """Values of the service label that are of services in several namespaces."""
    namespaces: dict[str, set[str]] = defaultdict(set)
    for result in survey.results:
        if result.question.convention.kind is SeriesKind.SERVICE:
            for labels in result.series:
                namespaces[labels.get(survey.label, "")].add(labels.get("namespace", ""))
    return frozenset(name for name, found in namespaces.items() if len(found) > 1)


def _alias(labels: Mapping[str, str], kind: SeriesKind, label: str) -> str:
    """The service that a series names. A probe's job is the exporter's, not that of the probed address."""
    return "" if kind is SeriesKind.PROBE and label == "job" else labels.get(label, "")


def _identity(labels: Mapping[str, str], kind: SeriesKind, label: str) -> dict[str, str]:
    """The labels that identify this thing; empty if one is missing."""
    names = [label if name == "<service>" else name for name in IDENTITY[kind]]
    return {name: labels[name] for name in names} if all(labels.get(name) for name in names) else {}


def _ambiguous(survey: Survey) -> frozenset[str]:
    """Names that deployments in several namespaces have. Which one is the service's is unknown."""
    namespaces: dict[str, set[str]] = defaultdict(set)
    for result in survey.results:
        if result.question.convention.kind is SeriesKind.DEPLOYMENT:
            for labels in result.series:
                namespaces[labels.get(survey.label, "")].add(labels.get("namespace", ""))
    return frozenset(name for name, found in namespaces.items() if len(found) > 1)


def _usable(name: str) -> bool:
    """Whether a rule file can have this as a name: printable, without surrounding blanks, and no template."""
    return 0 < len(name) <= _LONGEST and name == name.strip() and name.isprintable() and not templated(name)


def _reach(service: DraftedService, kind: SeriesKind, labels: Mapping[str, str], source: str) -> None:
    """Set the service's target from a series. The first source wins; only a deployment overrides others."""
    if kind is SeriesKind.DEPLOYMENT and service.target != "kubernetes":
        at = {"namespace": labels["namespace"], "deployment": labels["deployment"]}
        # Guards and alerts refer to a deployment by these labels.
        service.labels.update(at)
        service.target, service.params, service.why = "kubernetes", at, source
    elif kind is SeriesKind.UNIT and service.target == "systemd":
        service.target, service.params, service.why = TO_BE_WRITTEN, {}, "its unit is on several machines"
    elif kind is SeriesKind.UNIT and not service.why and _usable(labels.get("host", "")):
        at = {"unit": f"{service.name}.service"}
        if labels["host"] not in _LOCAL:
            at["host"] = f"root@{labels['host']}"
        service.target, service.params, service.why = "systemd", at, source
    elif kind is SeriesKind.CONTAINER and not service.why:
        service.target, service.params, service.why = "docker", {"container": labels["name"]}, source

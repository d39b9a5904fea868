"""The config file: its keys, their defaults, and loading it.

File names in it are relative to its folder, as in Prometheus' own config; `${…}` is not expanded.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from remediator.config.document import Document, open_document
from remediator.config.maintenance import MaintenanceDoc
from remediator.config.scalars import Scalar
from remediator.config.schema import read_document
from remediator.config.servers import AlertmanagerClient, PrometheusServer, Server, Url, beside, beside_client
from remediator.config.struct_schema import Violation
from remediator.errors import ConfigError
from remediator.model.field_types import SCALAR_OR_LIST, Duration, JudgedHealth, PositiveDuration, PositiveInteger
from remediator.model.health import Health
from remediator.model.rules import Rate, Share
from remediator.model.time_interval import (
    Maintenance,
)
from remediator.problem import Position, Problem, Severity

_SQLITE = "sqlite:///"
_POSTGRESQL = ("postgresql://", "postgres://")
_BOTH = "contradiction"
_SHORTEST_LEASE = 2.0
DEFAULT_SEVERITY = {
    **dict.fromkeys(("critical", "page", "error", "emergency", "fatal"), Health.FAILED),
    **dict.fromkeys(("warning", "minor", "degraded"), Health.DEGRADED),
}
"""The health that an alert's `severity` means for a service that no threshold judges, in any case of letters."""


def label_name(text: str) -> str:
    """A label name, which may have any characters since Prometheus 3. ValueError with a sentence when it is none."""
    if not text or text != text.strip() or not text.isprintable() or "{{" in text:
        raise ValueError(f"{text!r} is not a label name")
    return text


def _storage_url(text: str) -> str:
    if text.startswith(_POSTGRESQL):
        return _postgresql_url(text)
    if not text.startswith(_SQLITE) or not text.removeprefix(_SQLITE).strip("/"):
        raise ValueError("this is neither an SQLite file nor a PostgreSQL database")
    return text


def _postgresql_url(text: str) -> str:
    # Where it is not needed it is not loaded: that takes a tenth of a second.
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        given = conninfo_to_dict(text)
    except psycopg.Error as error:
        # Where it quotes the address, it quotes the password.
        reason = str(error).strip() if text not in str(error) else "it is no address"
        raise ValueError(f"libpq cannot read this: {reason}") from None
    if not given.get("dbname"):
        raise ValueError("this names no database")
    return text


_StorageUrl = Annotated[
    str, Scalar("an address", _storage_url, remedy="write sqlite:///FILE or postgresql://USER@HOST:PORT/DATABASE")
]
_LabelName = Annotated[str, Scalar("a label name", label_name, remedy="write a name such as service, or service.name")]


class Global(msgspec.Struct, frozen=True):
    """How remediator works as a whole."""

    evaluation_interval: Annotated[
        Duration, Meta(description="How often thresholds are evaluated. 0s: only when an alert arrives.")
    ] = 5.0
    auto_heal: Annotated[bool, Meta(description="false: decide and tell, but run nothing.")] = True
    service_label: Annotated[_LabelName, Meta(description="The label that names the service.")] = "service"
    query_timeout: Annotated[PositiveDuration, Meta(description="How long one PromQL query may take.")] = 5.0
    stale_after: Annotated[PositiveDuration, Meta(description="A health seen longer ago than this is unknown.")] = 30.0
    repeat_within: Annotated[
        Duration,
        Meta(
            description="Alerts that cannot be compared with an Alertmanager's (Grafana's, or without alertmanagers:) are over"
            " when they have not been repeated for this long: twice the sender's repeat_interval. 0s: never."
        ),
    ] = 8 * 3600.0
    settle: Annotated[
        Duration,
        Meta(description="How long to look on before acting: after the start, an outage of Prometheus, or a panic."),
    ] = 10.0
    external_url: Annotated[Url, Meta(description="The address at which people reach remediator, for links to it.")] = (
        ""
    )

    def violations(self) -> Iterator[Violation]:
        """What cannot be meant."""
        if self.stale_after <= self.evaluation_interval:
            yield Violation(
                ("stale_after",),
                "contradiction",
                "stale_after is not longer than evaluation_interval: every health would be unknown between two looks",
                "write a stale_after of several times evaluation_interval",
            )


class Storage(msgspec.Struct, frozen=True):
    """Where incidents, alerts and the journal are kept, and for how long."""

    url: Annotated[
        _StorageUrl,
        Meta(
            description="sqlite:///FILE, relative to this file's folder; or postgresql://USER@HOST:PORT/DATABASE,"
            " with parameters as libpq takes them, which several processes may share."
        ),
    ] = f"{_SQLITE}remediator.db"
    password_file: Annotated[str, Meta(description="A file with the password for PostgreSQL.")] = ""
    lease_ttl: Annotated[
        PositiveDuration,
        Meta(description="On PostgreSQL: how long after the leader has died another one leads, at the latest."),
    ] = 15.0
    retention: Annotated[PositiveDuration, Meta(description="How long to keep what has ended.")] = 90 * 86400.0

    @property
    def shared(self) -> bool:
        """Whether several processes may use it."""
        return self.url.startswith(_POSTGRESQL)

    @property
    def path(self) -> str:
        """The file of the SQLite database."""
        return self.url.removeprefix(_SQLITE)

    def violations(self) -> Iterator[Violation]:
        """What cannot be meant."""
        if self.lease_ttl < _SHORTEST_LEASE:
            message = f"a lease of less than {_SHORTEST_LEASE:g}s would be lost at every hitch of the network"
            yield Violation(("lease_ttl",), "bad-value", message, "give it 15s")


class ConfigLimits(msgspec.Struct, frozen=True):
    """Limits over all runbooks together."""

    concurrent: Annotated[PositiveInteger, Meta(description="How many commands may run at once.")] = 4
    rate: Annotated[tuple[Rate, ...], SCALAR_OR_LIST, Meta(description="How many commands in which time: 30/1h.")] = (
        Rate(30, 3600.0),
    )
    panic: Annotated[
        Share, Meta(description="When so many services turn bad at once, it is not them: hold everything.")
    ] = Share(50.0, percent=True)


def severity_key(severity: str) -> str:
    """A severity as it is looked up: without blanks around it, in small letters."""
    return severity.strip().lower()


class Config(msgspec.Struct, frozen=True):
    """The config file of remediator."""

    hints: ClassVar[dict[str, str]] = {
        "alertmanager": "write alertmanagers:, a list",
        "alerting": "write alertmanagers:, a list of {url: …}",
        "services": "this looks like a rule file: name it under rule_files:",
        "runbooks": "this looks like a rule file: name it under rule_files:",
        "thresholds": "this looks like a rule file: name it under rule_files:",
    }
    prometheus: Annotated[
        PrometheusServer | tuple[PrometheusServer, ...],
        Meta(description="Where PromQL is asked: one, or a list of several with names, the first being the default."),
    ]
    global_: Annotated[Global, Meta(description="How remediator works as a whole.")] = Global()
    alertmanagers: Annotated[
        tuple[AlertmanagerClient, ...], Meta(description="Alertmanagers; several are one cluster.")
    ] = ()
    grafana: Annotated[Server | None, Meta(description="Where annotations go; none are made without it.")] = None
    rule_files: Annotated[tuple[str, ...], Meta(description="Rule files, with * and ?.")] = ()
    storage: Storage = Storage()
    limits: ConfigLimits = ConfigLimits()
    maintenance: Annotated[tuple[MaintenanceDoc, ...], Meta(description="Times at which services are left alone.")] = ()
    severity: Annotated[
        dict[str, JudgedHealth],
        Meta(description="What an alert's severity says of a service that no threshold judges."),
    ] = {}

    def violations(self) -> Iterator[Violation]:
        """What cannot be meant."""
        if not self.sources:
            yield Violation(("prometheus",), "missing-key", "there is no Prometheus here", "add {url: …}")
        for index, source in enumerate(self.sources if len(self.sources) > 1 else ()):
            if not source.name:
                message = "one of several Prometheis needs a name, which thresholds and services can give"
                yield Violation(("prometheus", index), "missing-key", message, "add name:")
            elif source.name in [other.name for other in self.sources[:index]]:
                message = f"there is another Prometheus of the name {source.name}"
                yield Violation(("prometheus", index, "name"), "equal-names", message, "give one of them another name")
        names = [window.name for window in self.maintenance]
        for index, name in enumerate(names):
            if name in names[:index]:
                message = f"there is another maintenance window of the name {name}"
                yield Violation(("maintenance", index, "name"), "equal-names", message, "give one of them another name")
        told: dict[str, str] = {}
        for severity, health in self.severity.items():
            other = told.setdefault(severity_key(severity), severity)
            if self.severity[other] is not health:
                message = f"{other} and {severity} are the same severity: the case of letters does not count"
                yield Violation(("severity", severity), "contradiction", message, "keep one of them")

    @property
    def sources(self) -> tuple[PrometheusServer, ...]:
        """The Prometheis. The first is the default."""
        return self.prometheus if isinstance(self.prometheus, tuple) else (self.prometheus,)

    @property
    def source_names(self) -> frozenset[str]:
        """The names of the Prometheis that have one."""
        return frozenset(source.name for source in self.sources if source.name)

    def severities(self) -> dict[str, Health]:
        """What each severity means: the config's own words, and those that it does not name."""
        return {**DEFAULT_SEVERITY, **{severity_key(name): health for name, health in self.severity.items()}}

    def windows(self) -> tuple[Maintenance, ...]:
        """The maintenance windows."""
        return tuple(window.made() for window in self.maintenance)

    def rule_paths(self) -> list[Path]:
        """The rule files that exist now, each once, and the named ones that do not. A pattern may match none."""
        return list(dict.fromkeys(path for pattern in self.rule_files for path in rule_files(pattern)))


def rule_files(pattern: str) -> list[Path]:
    """The files that a pattern fits, by name. A name without * ? [ fits itself, whether there is such a file or not."""
    return [Path(name) for name in sorted(glob.glob(pattern))] if glob.has_magic(pattern) else [Path(pattern)]


def load_config(path: Path) -> Config:
    """The config in a file. ConfigError with every problem in it."""
    document = open_document(path)
    config = read_config(document, path.parent)
    if config is None or any(problem.severity is Severity.ERROR for problem in document.problems):
        raise ConfigError(document.sorted_problems())
    return config


def read_config(document: Document, folder: Path) -> Config | None:
    """As much of a config as could be read, or None; problems are noted in the document."""
    if document.root is None:
        if not document.problems:
            remedy = "write at least prometheus: {url: 'http://localhost:9090'}"
            document.problems.append(Problem(Position(document.file, 1, 1), "missing-key", "the file is empty", remedy))
        return None
    config = read_document(document, Config)
    if config is None:
        return None
    return replace(
        config,
        prometheus=_beside_sources(config.prometheus, folder),
        alertmanagers=tuple(beside_client(client, folder) for client in config.alertmanagers),
        grafana=None if config.grafana is None else beside_client(config.grafana, folder),
        rule_files=tuple(beside(folder, pattern) for pattern in config.rule_files),
        storage=_beside_storage(config.storage, folder),
    )


def _beside_sources(
    given: PrometheusServer | tuple[PrometheusServer, ...], folder: Path
) -> PrometheusServer | tuple[PrometheusServer, ...]:
    if isinstance(given, tuple):
        return tuple(beside_client(source, folder) for source in given)
    return beside_client(given, folder)


def _beside_storage(storage: Storage, folder: Path) -> Storage:
    if storage.shared:
        return replace(storage, password_file=beside(folder, storage.password_file))
    return replace(storage, url=f"{_SQLITE}{folder / storage.path}")

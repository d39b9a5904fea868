"""What the engine needs of the evaluation of thresholds: a protocol, which `Evaluator` satisfies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

from remediator.decision.assessment import PrometheusStatus
from remediator.engine.broadcast import Broadcast
from remediator.model.health import Judgement
from remediator.model.rules import Service


class Evaluated(NamedTuple):
    """The services of one or several evaluations that are to be decided on again."""

    changed: Collection[str]
    """Those whose judgement is different from before."""
    requested: Collection[str]
    """Those for which an evaluation was requested, whatever it saw."""


class Evaluations(Protocol):
    """The health of services by their thresholds, which is evaluated at intervals and on request."""

    @property
    def evaluated(self) -> Broadcast:
        """Notified when there is something for `take_evaluated`."""
        ...

    @property
    def evaluated_at(self) -> float:
        """When the last evaluation that is complete began."""
        ...

    @property
    def statuses(self) -> Mapping[str, PrometheusStatus]:
        """Whether each Prometheus answers, and since when, by its name."""
        ...

    def source_of(self, service: Service) -> str:
        """The name of the Prometheus that sees a service."""
        ...

    def status_for(self, service: Service) -> PrometheusStatus:
        """How those see a service that are asked about it."""
        ...

    @property
    def found_services(self) -> Mapping[str, Service]:
        """The services that templated entries made from series, by name."""
        ...

    def judgement(self, service: Service, now: float) -> Judgement:
        """What the thresholds say of a service."""
        ...

    def evaluate(self, names: Collection[str] = ()) -> None:
        """Request an evaluation now. Once it is complete, `take_evaluated` returns these names."""
        ...

    def take_evaluated(self) -> Evaluated:
        """The services to decide on again since the last call."""
        ...

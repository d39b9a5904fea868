"""All rules at once: which service owns an alert or series, and which thresholds and runbooks are for a service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from remediator.errors import RefusedError, TemplateError
from remediator.model.matcher import Labels, matches_all
from remediator.model.rules import Mode, Plan, Runbook, Service, Target, Threshold
from remediator.template.compile import TemplateKind, compile_template
from remediator.template.filters import LabelView

MOST_TEMPLATED = 200_000
"""How many templated services are kept at a time. Their names come from outside, and each costs memory."""


class Rulebook:
    """All rules, with look-ups. A reload makes a new one."""

    def __init__(
        self,
        services: Iterable[Service] = (),
        thresholds: Iterable[Threshold] = (),
        runbooks: Iterable[Runbook] = (),
        targets: Iterable[Target] = (),
        service_label: str = "service",
    ) -> None:
        self.services = tuple(services)
        self.thresholds = tuple(thresholds)
        self.runbooks = tuple(runbooks)
        self._runbooks = {runbook.name: runbook for runbook in self.runbooks}
        self.targets = {target.name: target for target in targets}
        self.service_label = service_label
        self.named = {service.name: service for service in self.services if not service.templated}
        self._index: dict[tuple[str, str], list[int]] = {}
        self._unindexed: list[int] = []
        for order, service in enumerate(self.services):
            equality = next((m for m in service.match if m.op == "=" and m.value), None)
            if equality is None:
                self._unindexed.append(order)
            else:
                self._index.setdefault((equality.name, equality.value), []).append(order)
        self._thresholds: dict[str, tuple[Threshold, ...]] = {}

    def service_for(self, labels: Labels) -> Service | None:
        """The service that owns an alert or series with these labels: the first in file order whose matchers hold. Labels
        come from outside: what no service can be named by is nobody's, and `refusal_for` says why."""
        try:
            return self._owner(labels)
        except (RefusedError, TemplateError):
            return None

    def refusal_for(self, labels: Labels) -> str:
        """Why no service can be named by these labels, though the matchers of one hold; empty where that is not so."""
        try:
            self._owner(labels)
        except (RefusedError, TemplateError) as error:
            return f"cannot name its service: {error}"
        return ""

    def _owner(self, labels: Labels) -> Service | None:
        """The same as `service_for`; an error where its name cannot be made."""
        orders = list(self._unindexed)
        for label in labels.items():
            found = self._index.get(label)
            if found:
                orders += found
        if len(orders) > 1:
            orders.sort()
        for order in orders:
            service = self.services[order]
            if matches_all(service.match, labels):
                if not service.templated:
                    return service
                concrete = self._instantiate(service, labels)
                if concrete is not None:
                    return concrete
        return None

    def with_services(self, services: Iterable[Service]) -> Rulebook:
        """These rules with further services. They come after those of the files and never replace them."""
        added = [service for service in services if service.name not in self.named]
        return Rulebook(
            (*self.services, *added), self.thresholds, self.runbooks, self.targets.values(), self.service_label
        )

    def thresholds_for(self, service: Service) -> tuple[Threshold, ...]:
        """The thresholds that judge a service, in file order."""
        found = self._thresholds.get(service.name)
        if found is None:
            found = tuple(t for t in self.thresholds if matches_all(t.match, service.labels))
            if len(self._thresholds) > len(self.named) + MOST_TEMPLATED:
                # Names that were forgotten since: what is still there is found again.
                self._thresholds.clear()
            self._thresholds[service.name] = found
        return found

    def runbook(self, name: str) -> Runbook | None:
        """The runbook of this name."""
        return self._runbooks.get(name)

    @property
    def only_observes(self) -> bool:
        """Whether there are runbooks, and all of them observe."""
        return bool(self.runbooks) and all(runbook.mode is Mode.OBSERVE for runbook in self.runbooks)

    def runbooks_for(self, labels: Labels) -> Iterator[Runbook]:
        """The runbooks for these labels, in file order."""
        return (runbook for runbook in self.runbooks if matches_all(runbook.match, labels))

    def plan(self, service: Service, runbook: Runbook) -> Plan:
        """The rules that an incident of this service and runbook stores."""
        return Plan(service, runbook, self.targets.get(service.target.name) if service.target else None)

    def _instantiate(self, service: Service, labels: Labels) -> Service | None:
        """The plain service that a templated one makes of these labels. None when a label that its name uses is empty."""
        template = compile_template(service.name, TemplateKind.TEXT)
        used = {name: labels.get(name, "") for name in template.labels}
        if not all(used.values()):
            return None
        context = {"labels": LabelView(used)}
        name = template.render(context)
        given = {
            key: compile_template(value, TemplateKind.TEXT).render(context) for key, value in service.labels.items()
        }
        depends_on = tuple(compile_template(text, TemplateKind.TEXT).render(context) for text in service.depends_on)
        return msgspec.structs.replace(
            service, name=name, labels={**used, **given, self.service_label: name}, depends_on=depends_on
        )


def merged_labels(service: Service, alert_labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that runbooks match on and templates see: the alert's, overridden by the service's own.

    The service's labels come from the author of the rules, so they take precedence over what arrives from outside.
    """
    return {**alert_labels, **service.labels}

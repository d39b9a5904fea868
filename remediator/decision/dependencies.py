"""Root causes: what below a service is in trouble and has nothing in trouble below itself. Pure."""

from __future__ import annotations

from collections.abc import Callable

from remediator.decision.case import Dependency
from remediator.model.rules import Service


def root_causes(
    service: Service, find: Callable[[str], Service | None], look: Callable[[Service], Dependency | None]
) -> tuple[Dependency, ...]:
    """What a service depends on, directly or not, that is to be healed before it, or was healed a while ago.

    `find` gives the service of a name, None when there is none; `look` says what is to be said of one by itself: in
    trouble or not to be seen, healed at some time, or None. Dependencies may form diamonds, long chains, and, where
    names are templates, circles.
    """
    roots: dict[str, Dependency] = {}
    order = _depth_first(service, find)
    troubled: dict[str, bool] = {}
    # What is below comes first, so that it is known of all below whether they are in trouble.
    for below in order:
        if any(troubled.get(name, False) for name in below.depends_on):
            troubled[below.name] = True
            continue
        said = look(below)
        troubled[below.name] = said is not None and said.healed_at is None
        if said is not None:
            roots[below.name] = said
    return tuple(roots.values())


def _depth_first(service: Service, find: Callable[[str], Service | None]) -> list[Service]:
    """Everything below a service, each once and after all that is below itself. A stack of its own: chains may be longer
    than Python's."""
    order: list[Service] = []
    seen = {service.name}
    trail = [(service, iter(service.depends_on))]
    while trail:
        above, names = trail[-1]
        name = next(names, None)
        if name is None:
            trail.pop()
            order.append(above)
        elif name not in seen:
            seen.add(name)
            below = find(name)
            if below is not None:
                trail.append((below, iter(below.depends_on)))
    return order[:-1]
